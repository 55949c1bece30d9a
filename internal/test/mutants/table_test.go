package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryMutantIsStillInTheSource keeps the table from rotting: make mutants takes long and runs
// seldom.
func TestEveryMutantIsStillInTheSource(t *testing.T) {
	t.Parallel()
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, rule := range table() {
		if rule.name == "" || rule.says == "" || len(rule.mutants) == 0 {
			t.Errorf("rule %q lacks something", rule.name)
		}
		for _, m := range rule.mutants {
			if names[m.name] || m.name == "" {
				t.Errorf("two mutants are called %q", m.name)
			}
			names[m.name] = true
			if _, err := m.apply(root); err != nil {
				t.Error(err)
			}
			for _, e := range m.edits {
				if codeOf(e.file, e.old).bare != e.old {
					t.Errorf("mutant %q looks for a comment:\n%s", m.name, e.old)
				}
			}
			if len(m.fails) == 0 {
				t.Errorf("mutant %q has no test", m.name)
			}
			for folder, tests := range m.packages() {
				for _, test := range tests {
					if err := checkTest(root, folder, test); err != nil {
						t.Errorf("mutant %q: %v", m.name, err)
					}
				}
			}
		}
	}
}

// TestEveryRuleHasAMutant: R1 to R16 of ARCHITECTURE.md and the order of work that the proof rests
// on.
func TestEveryRuleHasAMutant(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	for _, rule := range table() {
		known[rule.name] = true
	}
	for name := range strings.FieldsSeq("Gate Order Versions Ledger Feedback R1 R2 R3 R4 R5 R6 R7 R8 R9 R10 R11 R12 R13 R14 R15 R16") {
		if !known[name] {
			t.Errorf("rule %s has no mutant", name)
		}
	}
}

func TestJudgingWhatTheTestsPrint(t *testing.T) {
	t.Parallel()
	f := func(m mutant, output string, passed bool, want outcome) {
		t.Helper()
		if got := judge(m, []string{"TestA", "TestB/sub"}, output, passed); got.outcome != want {
			t.Errorf("%q: got %q (%s), want %q", output, got.outcome, got.detail, want)
		}
	}
	const a, b = "--- FAIL: TestA (0.1s)\n", "    --- FAIL: TestB/sub (0.0s)\n"
	f(mutant{}, a+b+"FAIL\n", false, "")
	f(mutant{}, a+"FAIL\n", false, survived)
	f(mutant{}, "ok", true, survived)
	f(mutant{}, "panic: test timed out after 2m0s\n", false, "")
	f(mutant{}, "fatal error: all goroutines are asleep - deadlock!\n", false, "")
	f(mutant{}, "FAIL\tsink [build failed]\n", false, broken)
	f(mutant{}, "ok \t[no tests to run]\n", true, broken)
	f(mutant{}, a+"ERROR: syntax error (SQLSTATE 42601)\n"+b, false, broken)
	f(mutant{equivalent: "why"}, "ok", true, "")
	f(mutant{equivalent: "why"}, a, false, broken)
}

func TestPatternsSelectWholeTestsUnlessAllAreSubtests(t *testing.T) {
	t.Parallel()
	f := func(want string, names ...string) {
		t.Helper()
		if got := pattern(names); got != want {
			t.Errorf("%v: got %s, want %s", names, got, want)
		}
	}
	f("^(TestA)$", "TestA")
	f("^(TestA|TestB)$", "TestB", "TestA", "TestB/x")
	f("^(TestA)$/^(x|y)$", "TestA/x", "TestA/y")
}

func TestAnEditMustFindItsTextOnce(t *testing.T) {
	t.Parallel()
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	f := func(want string, edits ...edit) {
		t.Helper()
		_, err := mutant{edits: edits}.apply(root)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("changes nothing")
	f("0 times", edit{"go.mod", "no such text", ""})
	f("times", edit{"go.mod", "github.com", ""})
	f("no such file", edit{"absent.go", "x", ""})
}

// checkTest fails when the package holds no test of that name.
func checkTest(root, folder, name string) error {
	test, _, _ := strings.Cut(name, "/")
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		return fmt.Errorf("looking for the tests of %s: %w", folder, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("looking for the tests of %s: %w", folder, err)
		}
		if strings.Contains(string(content), "\nfunc "+test+"(t *testing.T) {") {
			return nil
		}
	}
	return fmt.Errorf("package %s has no test %s", folder, test)
}
