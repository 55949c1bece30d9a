package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// outcome is what became of a mutant.
type outcome string

const (
	caught     outcome = "caught"
	equivalent outcome = "equivalent"
	survived   outcome = "SURVIVED"
	broken     outcome = "BROKEN" // it is not in the source or does not compile, or the tests fail without it
)

// result is one mutant's outcome.
type result struct {
	outcome outcome
	took    time.Duration
	// detail says what is wrong; empty when nothing is.
	detail string
}

// runner runs go test in a checkout.
type runner struct {
	root    string
	verbose func(format string, args ...any)
}

const (
	// testTimeout ends tests that a mutant makes hang; the tests themselves wait 30 s at most for
	// an event.
	testTimeout = 2 * time.Minute
	// baselineTimeout is for all the tests of a package together.
	baselineTimeout = 15 * time.Minute
	// killDelay is how long the go command may take to end its tests.
	killDelay = 10 * time.Second
)

// baseline runs the tests of all mutants on the program as it is: they must pass, or their failures
// prove nothing.
func (r *runner) baseline(ctx context.Context, mutants []mutant) error {
	var tests []string
	for _, m := range mutants {
		tests = append(tests, m.fails...)
	}
	all := byPackage(tests)
	var failed []error
	for _, folder := range slices.Sorted(maps.Keys(all)) {
		var whole []string // a subtest more costs less than a second pattern
		for _, name := range all[folder] {
			test, _, _ := strings.Cut(name, "/")
			whole = append(whole, test)
		}
		if output, err := r.test(ctx, folder, pattern(whole), "", baselineTimeout); err != nil {
			failed = append(failed, fmt.Errorf("the tests of %s fail without a mutant: %w\n%s", folder, err, output))
		}
	}
	return errors.Join(failed...)
}

// try runs a mutant's tests.
func (r *runner) try(ctx context.Context, m mutant) result {
	begun := time.Now()
	out := r.run(ctx, m)
	out.took = time.Since(begun)
	return out
}

func (r *runner) run(ctx context.Context, m mutant) result {
	changed, err := m.apply(r.root)
	if err != nil {
		return result{outcome: broken, detail: err.Error()}
	}
	folder, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return result{outcome: broken, detail: err.Error()}
	}
	defer os.RemoveAll(folder)
	overlay, err := writeOverlay(folder, r.root, changed)
	if err != nil {
		return result{outcome: broken, detail: err.Error()}
	}
	packages := m.packages()
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		output, err := r.test(ctx, name, pattern(packages[name]), overlay, testTimeout)
		r.verbose("%s: %s\n%s", m.name, name, output)
		if ctx.Err() != nil {
			return result{outcome: broken, detail: "interrupted"}
		}
		if out := judge(m, packages[name], output, err == nil); out.detail != "" {
			return out
		}
	}
	if m.equivalent != "" {
		return result{outcome: equivalent}
	}
	return result{outcome: caught}
}

// writeOverlay puts the changed files and the overlay that names them into a folder.
func writeOverlay(folder, root string, changed map[string]string) (string, error) {
	replace := make(map[string]string, len(changed))
	for name, content := range changed {
		path := filepath.Join(folder, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return "", fmt.Errorf("writing a changed file: %w", err)
		}
		replace[filepath.Join(root, name)] = path
	}
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("writing the overlay: %w", err)
	}
	path := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return "", fmt.Errorf("writing the overlay: %w", err)
	}
	return path, nil
}

// test runs tests of one package. The overlay goes through the environment, so that what the tests
// build has it too.
func (r *runner) test(ctx context.Context, folder, pattern, overlay string, timeout time.Duration) (string, error) {
	args := []string{"test", "-count=1", "-vet=off", "-timeout=" + timeout.String(), "-run=" + pattern, "./" + folder}
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // folders and names of this repository
	cmd.Dir = r.root
	cmd.Env = os.Environ()
	if overlay != "" {
		cmd.Env = append(cmd.Env, strings.TrimSpace("GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay))
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killDelay
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// unreadable are the server's words for a statement that makes no sense: a syntax error, an unknown
// name, a parameter too many. A test that fails for that proves nothing.
var unreadable = regexp.MustCompile(`\(SQLSTATE (42[^5]..|08P01)\)`)

// judge reads what go test printed. Its result has a detail when the mutant is not what the table
// says.
func judge(m mutant, tests []string, output string, passed bool) result {
	switch {
	case strings.Contains(output, "[build failed]"), strings.Contains(output, "[setup failed]"):
		return result{outcome: broken, detail: "it does not compile:\n" + output}
	case unreadable.MatchString(output):
		return result{outcome: broken, detail: "the server cannot read its statement:\n" + output}
	case strings.Contains(output, "no tests to run"):
		return result{outcome: broken, detail: "none of its tests is there: " + strings.Join(tests, ", ")}
	case m.equivalent != "" && !passed:
		return result{outcome: broken, detail: "it is said to be equivalent, and a test fails:\n" + output}
	case m.equivalent != "" || !passed && ended(output):
		return result{}
	}
	var passing []string
	for _, name := range tests {
		if passed || !strings.Contains(output, "--- FAIL: "+name+" (") {
			passing = append(passing, name)
		}
	}
	if len(passing) > 0 {
		return result{outcome: survived, detail: "not noticed by " + strings.Join(passing, ", ")}
	}
	return result{}
}

// ended reports whether the tests came to no end of their own: a mutant may make them hang, or
// crash.
func ended(output string) bool {
	for _, sign := range []string{"\npanic: ", "\nfatal error: ", "panic: test timed out"} {
		if strings.Contains("\n"+output, sign) {
			return true
		}
	}
	return false
}
