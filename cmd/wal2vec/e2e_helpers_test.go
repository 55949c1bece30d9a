package main

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// ended is a command that ran to its end.
type ended struct {
	code           int
	stdout, stderr string
}

// ends runs a command to its end, however that is.
func (w *world) ends(extra []string, stdin string, args ...string) ended {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), processTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.binary, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = w.dir, slices.Concat(w.env, extra), strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	e := ended{stdout: stdout.String(), stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.Exited():
		e.code = exit.ExitCode()
	default:
		w.t.Fatalf("%v: %v\n%s%s", args, err, e.stdout, e.stderr)
	}
	return e
}

// refusal is a command that must end with an error that a person can act on.
type refusal struct {
	name string
	// env comes on top of the world's.
	env  []string
	args []string
	code int
	// says are words of the error's line: the object, and what is wrong with it. try are words of
	// the advice; "" wants no advice.
	says []string
	try  string
	// before makes the world in which it is wrong, after takes that back. Both are SQL and may be
	// empty.
	before, after string
}

// refuses runs a refusal: its exit code, one line that says what is wrong, at most one that says
// what to do, nothing else printed, no password, and nothing of it left in the databases.
func (w *world) refuses(t *testing.T, r refusal) {
	t.Helper()
	w.t = t
	if r.before != "" {
		w.db.Exec(t, r.before)
	}
	if r.after != "" {
		defer w.db.Exec(t, r.after)
	}
	before := w.footprint()
	got := w.ends(r.env, "", r.args...)
	if left := w.footprint(); !slices.Equal(before, left) {
		t.Errorf("%v changed the databases:\nbefore %s\nafter  %s", r.args, before, left)
	}
	t.Logf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	if got.code != r.code {
		t.Errorf("exit code %d, want %d", got.code, r.code)
	}
	if got.stdout != "" {
		t.Errorf("there is a result: %s", got.stdout)
	}
	lines := strings.Split(strings.TrimSpace(withoutLog(got.stderr)), "\n")
	line, found := strings.CutPrefix(lines[0], "error: ")
	if !found {
		t.Errorf("the first line is no error: %q", lines[0])
	}
	for _, word := range r.says {
		if !strings.Contains(line, word) {
			t.Errorf("the error does not say %q", word)
		}
	}
	if strings.Contains(line, "; ;") || strings.ContainsAny(line, "\t") {
		t.Errorf("the error is no single line by nature: %q", line)
	}
	advice := ""
	if len(lines) > 1 {
		if advice, found = strings.CutPrefix(lines[1], "try: "); !found || len(lines) > 2 {
			t.Errorf("more than an error and an advice: %q", lines[1:])
		}
	}
	if r.try == "" && advice != "" || !strings.Contains(advice, r.try) {
		t.Errorf("the advice is %q, want %q", advice, r.try)
	}
	w.keepsSecrets(t, got.stdout+got.stderr)
}

// hunter is the password of connection strings that tests make up.
const hunter = "hunter2"

// keepsSecrets fails when an output holds a password.
func (w *world) keepsSecrets(t *testing.T, output string) {
	t.Helper()
	secrets := []string{hunter, "secret of"}
	if w.db != nil {
		secrets = append(secrets, passwordOf(t, w.db.DSN))
	}
	for _, secret := range secrets {
		if strings.Contains(output, secret) {
			t.Errorf("the output holds a password (%s)", secret)
		}
	}
}

func passwordOf(t *testing.T, dsn string) string {
	t.Helper()
	parsed, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := parsed.User.Password()
	return password
}

// withoutLog drops the lines of the log, which are JSON where there is no terminal.
func withoutLog(stderr string) string {
	var rest []string
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "{") {
			rest = append(rest, line)
		}
	}
	return strings.Join(rest, "")
}

// footprintQuery lists everything that init might make, with its rights and who may use it.
const footprintQuery = `SELECT 'schema ' || nspname || ' ' || coalesce(nspacl, acldefault('n', nspowner))::text FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
UNION ALL SELECT c.relkind::text || ' ' || n.nspname || '.' || c.relname || coalesce(' ' || c.relacl::text, '') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL SELECT 'publication ' || p.pubname || coalesce(' of ' || r.prrelid::regclass::text, '') FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid
UNION ALL SELECT 'extension ' || extname FROM pg_extension
UNION ALL SELECT 'default ' || defaclacl::text FROM pg_default_acl
UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database()
ORDER BY 1`

func (w *world) footprint() []string {
	w.t.Helper()
	if w.db == nil {
		return nil
	}
	return pgtest.Column[string](w.t, w.db, footprintQuery)
}

// newProgram is a world without a database.
func newProgram(t *testing.T) *world {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	parts, err := pgtest.Parts()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, binary: path, dir: t.TempDir()}
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "PG") && !strings.HasPrefix(entry, "ML_") {
			w.env = append(w.env, entry)
		}
	}
	w.env = append(w.env, "WAL2VEC_HOME="+parts, "WAL2VEC_HTTP_LISTEN=off", "WAL2VEC_ENCODER_THREADS=1")
	return w
}

// set returns the environment that sets these settings: "source.table", "shop.product".
func set(settings map[string]string) []string {
	var env []string
	for _, path := range slices.Sorted(maps.Keys(settings)) {
		name := "WAL2VEC_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
		env = append(env, name+"="+settings[path])
	}
	return env
}
