package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// The guide docs/operations.md is run: each of its sections that has fenced blocks has a scenario,
// which brings a world into the state that the section speaks of and types the section's blocks, as
// they stand there and in their order.

// section is a part of the guide under a heading of its own.
type section struct {
	title  string
	text   string // blocks included
	blocks []block
}

// block is what stands between two fences.
type block struct {
	line int    // of its first line
	kind string // sh, yaml, ini, hba, "sql source", "sql sink" or "sql standby"
	text string
}

const guidePath, guideHead = "operations.md", "Operations" // the second is its title

func readGuide(t *testing.T) []*section {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", guidePath))
	if err != nil {
		t.Fatal(err)
	}
	current := &section{}
	sections := []*section{current}
	var open *block
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		kind, fence := strings.CutPrefix(line, "```")
		heading, isHeading := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		isHeading = isHeading && strings.HasPrefix(line, "#")
		switch {
		case fence && open == nil:
			open = &block{line: number + 1, kind: strings.TrimSpace(kind)}
		case fence:
			current.blocks = append(current.blocks, *open)
			open = nil
		case open != nil:
			open.text += line
		case isHeading:
			current = &section{title: strings.TrimSpace(heading)}
			sections = append(sections, current)
		}
		current.text += line
	}
	if open != nil {
		t.Fatalf("the block at line %d has no end", open.line)
	}
	return sections
}

// reader follows a section of the guide in a world.
type reader struct {
	*world
	section *section
	next    int
	standby *pgtest.DB
	streams []*process
}

// types the next block and returns what its commands printed, but for those of a stream, which runs
// on.
func (r *reader) types() string {
	r.t.Helper()
	if r.next == len(r.section.blocks) {
		r.t.Fatalf("section %q has no block %d", r.section.title, r.next+1)
	}
	b := r.section.blocks[r.next]
	r.next++
	switch b.kind {
	case "sh":
		var printed strings.Builder
		for _, line := range commandLines(b.text) {
			printed.WriteString(r.shell(line))
		}
		return printed.String()
	case "yaml":
		r.configure(b.text)
		return ""
	case "sql source":
		return r.psql(r.db, b.text)
	case "sql sink":
		return r.psql(r.sink, b.text)
	case "ini": // services writes it for each command
		return ""
	case "hba":
		r.db.Host.Rules(r.t, r.asHere(b.text))
		return ""
	case "sql standby":
		return r.psql(r.standby, b.text)
	default:
		r.t.Fatalf("%s:%d: nothing is known of blocks of %q", guidePath, b.line, b.kind)
		return ""
	}
}

// commandLines are the commands of a block, with lines that end in a backslash joined.
func commandLines(text string) []string {
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

var saidExitCode = regexp.MustCompile(`# exit code ([0-9]+)`)

// shell runs a line as a shell does, in the folder of the world. A stream that is to end by itself
// says with which exit code.
func (r *reader) shell(line string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "bash", "-c", line)
	cmd.Dir = r.dir
	cmd.Env = append(slices.Clip(r.env), "PATH="+filepath.Dir(r.binary)+":"+filepath.Dir(r.db.Host.Program("psql"))+":"+os.Getenv("PATH"), "PGSERVICEFILE="+r.services())
	code := saidExitCode.FindStringSubmatch(line)
	if code == nil && strings.HasPrefix(line, "wal2vec stream") && !strings.Contains(line, "--until-current") {
		cmd.Args[2] = "exec " + line
		stream := r.launch(cmd)
		pgtest.Eventually(r.t, processTimeout, func() (bool, string) {
			stream.mustRun()
			return stream.output.contains("streaming"), "it does not stream"
		})
		r.streams = append(r.streams, stream)
		return ""
	}
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	err := cmd.Run()
	want := 0
	if code != nil {
		want, _ = strconv.Atoi(code[1]) // they are digits
	}
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
		r.t.Fatalf("%s ended with %v, the guide says exit code %d:\n%s", line, err, want, &printed)
	}
	r.t.Logf("$ %s\n%s", line, &printed)
	return printed.String()
}

// services writes the service file of the guide's head, with the databases of the world in the
// places of those of the example, and returns its path.
func (r *reader) services() string {
	r.t.Helper()
	sections := readGuide(r.t)
	head := sections[slices.IndexFunc(sections, func(s *section) bool { return s.title == guideHead })]
	source, sink, two := strings.Cut(head.blocks[0].text, "[sink]")
	if !two {
		r.t.Fatalf("%s:%d: no service of the sink", guidePath, head.blocks[0].line)
	}
	here := func(example string, db *pgtest.DB) string {
		c, err := pgx.ParseConfig(db.DSN)
		if err != nil {
			r.t.Fatal(err)
		}
		return strings.NewReplacer("=db\n", fmt.Sprintf("=%s\nport=%d\n", c.Host, c.Port), "=shop\n", "="+c.Database+"\n", "=postgres\n", "="+c.User+"\n",
			"=PASSWORD\n", "="+c.Password+"\n", "=verify-full\n", "=disable\n").Replace(example)
	}
	path := filepath.Join(r.dir, "services.conf")
	if err := os.WriteFile(path, []byte(here(source, r.db)+"[sink]"+here(sink, r.sink)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// TestTheGuidesServicesFindTheServersOwnNames, and act as the role that logs in, whatever the owner
// of the database sets: psql asks by names without a schema where it completes a word.
func TestTheGuidesServicesFindTheServersOwnNames(t *testing.T) {
	w := newWorld(t, 0)
	r := &reader{world: w}
	owner, _ := w.db.Role(t, "")
	w.db.Exec(t, "CREATE SCHEMA evil; ALTER DATABASE "+w.db.Name+" SET search_path = evil, pg_catalog; ALTER DATABASE "+w.db.Name+" SET role = "+owner)
	t.Cleanup(func() { w.db.Exec(t, "RESET ROLE; ALTER DATABASE "+w.db.Name+" RESET role") })
	for _, service := range []string{"source", "sink"} {
		if printed := r.shell(`psql -X -A -t -c 'SHOW search_path' service=` + service); strings.TrimSpace(printed) != "pg_catalog" {
			t.Errorf("service %s has the search path %q", service, printed)
		}
		if printed := r.shell(`psql -X -A -t -c 'SELECT current_user = session_user' service=` + service); strings.TrimSpace(printed) != "t" {
			t.Errorf("service %s acts as another role than the one that logged in: %s", service, printed)
		}
	}
	var elsewhere, acts string
	if err := w.db.Conn(t).QueryRow(t.Context(), "SELECT current_setting('search_path'), current_user::text").Scan(&elsewhere, &acts); err != nil ||
		!strings.Contains(elsewhere, "evil") || acts != owner {
		t.Errorf("elsewhere it is %q, as %s, %v: the test shows nothing", elsewhere, acts, err)
	}
}

// mustRun fails when the process has ended.
func (p *process) mustRun() {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		p.t.Fatalf("%v ended with %v:\n%s", p.cmd.Args, err, p.output)
	default:
	}
}

// psql runs a block as somebody who pastes it.
func (r *reader) psql(db *pgtest.DB, statements string) string {
	r.t.Helper()
	cmd := db.Command(r.t, "psql", "-X", "-v", "ON_ERROR_STOP=1")
	cmd.Stdin = strings.NewReader(statements)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("psql ended with %v:\n%s\n%s", err, statements, out)
	}
	r.t.Logf("%s\n%s", statements, out)
	return string(out)
}

// configure writes the file that the guide's commands name.
func (r *reader) configure(settings string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "wal2vec.yaml"), []byte(settings), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// stops ends every stream that was started, as SIGTERM does.
func (r *reader) stops() {
	r.t.Helper()
	for _, stream := range r.streams {
		stream.stop()
	}
	r.streams = nil
}

// stream is the one that was started last.
func (r *reader) stream() *process {
	r.t.Helper()
	if len(r.streams) == 0 {
		r.t.Fatalf("section %q has started no stream yet", r.section.title)
	}
	return r.streams[len(r.streams)-1]
}

// says fails unless what was printed has these words.
func (r *reader) says(printed string, words ...string) {
	r.t.Helper()
	for _, word := range words {
		if !strings.Contains(printed, word) {
			r.t.Errorf("section %q: no %q in\n%s", r.section.title, word, printed)
		}
	}
}

// TestTheOperationsGuide runs it.
func TestTheOperationsGuide(t *testing.T) {
	t.Parallel()
	sections := readGuide(t)
	titles := make(map[string]bool)
	for _, s := range sections {
		if titles[s.title] {
			t.Errorf("two sections are called %q", s.title)
		}
		titles[s.title] = true
		if len(s.blocks) == 0 {
			continue
		}
		scenario, known := guideScenarios[s.title]
		if !known {
			t.Errorf("section %q has commands and no scenario", s.title)
			continue
		}
		t.Run(s.title, func(t *testing.T) {
			t.Parallel()
			r := &reader{section: s}
			scenario(t, r)
			if r.next != len(s.blocks) {
				t.Errorf("%s:%d: the scenario did not type this block", guidePath, s.blocks[r.next].line)
			}
		})
	}
	for title := range guideScenarios {
		if !titles[title] {
			t.Errorf("there is a scenario and no section %q", title)
		}
	}
}

var (
	inlineCode = regexp.MustCompile("`([^`\n]+)`")
	settingLed = regexp.MustCompile(`^(?:source|sink|encoder|stream|backfill|http|log)\.[a-z_]+`)
	metricName = regexp.MustCompile(`\bwal2vec_[a-z_]+`)
	linkTarget = regexp.MustCompile(`\]\(([^)]*)\)`)
	notInSlugs = regexp.MustCompile(`[^a-z0-9 -]`)
)

// TestTheGuidesLinksLeadSomewhere, to a file beside it or to one of its own headings.
func TestTheGuidesLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	sections := readGuide(t)
	slugs := make(map[string]bool)
	for _, s := range sections {
		slugs["#"+strings.ReplaceAll(notInSlugs.ReplaceAllString(strings.ToLower(s.title), ""), " ", "-")] = true
	}
	for _, s := range sections {
		for _, match := range linkTarget.FindAllStringSubmatch(s.text, -1) {
			path, _, _ := strings.Cut(match[1], "#")
			if _, err := os.Stat(filepath.Join("..", "..", "docs", path)); err != nil || path == "" && !slugs[match[1]] {
				t.Errorf("section %q: the link to %s leads nowhere", s.title, match[1])
			}
		}
	}
}

// TestWhatTheGuideNamesExists: commands and their flags, settings, metrics.
func TestWhatTheGuideNamesExists(t *testing.T) {
	t.Parallel()
	settings := make(map[string]bool)
	for _, s := range config.Settings() {
		settings[s.Path] = true
	}
	var known []byte // metrics, and the roles that look like them
	for _, path := range []string{"docs/status.md", "deploy/roles.sql"} {
		content, err := os.ReadFile(filepath.Join("..", "..", path))
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, content...)
	}
	for _, s := range readGuide(t) {
		for _, match := range inlineCode.FindAllStringSubmatch(s.text, -1) {
			code := match[1]
			if line, command := strings.CutPrefix(code, "wal2vec "); command {
				if err := parses(t, line); err != nil {
					t.Errorf("section %q: %s: %v", s.title, code, err)
				}
			}
			if name := settingLed.FindString(code); name != "" && !settings[name] {
				t.Errorf("section %q: no setting %s", s.title, name)
			}
			for _, name := range metricName.FindAllString(code, -1) {
				name = strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count")
				if !bytes.Contains(known, []byte("`"+name+"`")) && !bytes.Contains(known, []byte("'"+name+"'")) {
					t.Errorf("section %q: there is no metric or role %s", s.title, name)
				}
			}
		}
	}
}

// parses has the command line's own parser read a line, without running it.
func parses(t *testing.T, line string) error {
	t.Helper()
	split, err := exec.CommandContext(t.Context(), "bash", "-c", `printf '%s\n' `+line).Output()
	if err != nil {
		return fmt.Errorf("splitting it: %w", err)
	}
	root := newRoot(&program{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard})
	cmd, rest, err := root.Find(strings.Split(strings.TrimSuffix(string(split), "\n"), "\n"))
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	words := cmd.Flags().Args()
	switch {
	case len(words) == 0: // those that a command needs are left out in a sentence
		return nil
	case cmd.HasSubCommands():
		return fmt.Errorf("%s has no command %s", cmd.CommandPath(), words[0])
	default:
		return cmd.ValidateArgs(words)
	}
}

// calling is what makes a block of the guide find operators, types or functions: a query, or a
// call.
var calling = regexp.MustCompile(`(?m)^SELECT |\w\(`)

// TestTheGuidesQueriesFindNothingOfAnother: the owner of a database sets the path by which its
// sessions find operators and types.
func TestTheGuidesQueriesFindNothingOfAnother(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", guidePath))
	if err != nil {
		t.Fatal(err)
	}
	queries := 0
	for _, part := range strings.Split(string(page), "```sql ")[1:] {
		_, text, _ := strings.Cut(part, "\n")
		text, _, _ = strings.Cut(text, "```")
		if !calling.MatchString(text) {
			continue
		}
		queries++
		if !strings.HasPrefix(text, "SET search_path = pg_catalog;\n") {
			t.Errorf("the block sets no search path first:\n%s", text)
		}
	}
	if queries < 10 {
		t.Errorf("%d queries were found", queries)
	}
}
