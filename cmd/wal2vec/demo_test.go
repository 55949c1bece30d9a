package main

import (
	"bytes"
	"context"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

func TestDemoRunsToItsSummaryAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	pgtest.UseParts(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out bytes.Buffer
	var log lockedBuffer
	code := run(ctx, []string{"demo", "--exit", "--rows", "200", "--edits", "60"}, strings.NewReader(""), &out, &log)
	if code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, out.String(), log.String())
	}
	for _, want := range []string{
		"200 products", "$ wal2vec init", "Backfill complete", "row 100 is first now", "row 100 is gone again", "0 missing, 0 of an older text, 0 too many",
		"Summary", "the vectors equal a fresh encoding", "its folder removed",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo does not say %q:\n%s", want, out.String())
		}
	}
	checkServerGone(t, out.String())
}

// checkServerGone looks at the port that the demo named.
func checkServerGone(t *testing.T, out string) {
	t.Helper()
	found := regexp.MustCompile(`port (\d+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("the demo names no port:\n%s", out)
	}
	if conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", found[1])); err == nil {
		conn.Close()
		t.Errorf("something still listens on the server's port %s", found[1])
	}
}

func TestDemoThatIsInterruptedCleansUp(t *testing.T) {
	t.Parallel()
	pgtest.UseParts(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var log lockedBuffer
	out := &trigger{at: "$ wal2vec stream", pull: cancel}
	if code := run(ctx, []string{"demo", "--rows", "20"}, strings.NewReader(""), out, &log); code == 0 {
		t.Fatalf("exit code 0 of an interrupted demo\n%s", out.String())
	}
	if !strings.Contains(log.String(), "error: the demo was interrupted") {
		t.Errorf("the demo does not say that it was interrupted:\n%s", log.String())
	}
	if strings.Contains(out.String(), "Summary") {
		t.Errorf("the demo went on after the interruption:\n%s", out.String())
	}
	checkServerGone(t, out.String())
}

// trigger pulls when a text has been written.
type trigger struct {
	bytes.Buffer
	at   string
	pull func()
}

func (w *trigger) Write(text []byte) (int, error) {
	n, err := w.Buffer.Write(text)
	if strings.Contains(w.String(), w.at) {
		w.pull()
	}
	return n, err
}

// WriteString is Write: the buffer's own would not look for the words.
func (w *trigger) WriteString(text string) (int, error) { return w.Write([]byte(text)) }

func TestDemoRefusesSizesThatShowNothing(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		var log lockedBuffer
		if code := run(t.Context(), append([]string{"demo"}, args...), strings.NewReader(""), &out, &log); code != 2 {
			t.Errorf("%v: exit code %d, want 2", args, code)
		}
		if !strings.Contains(log.String(), want) {
			t.Errorf("%v: %q does not say %q", args, log.String(), want)
		}
	}
	f("needs 10 rows", "--rows", "9")
	f("must be 0 or more", "--seconds", "-1")
	f("exclude each other", "--seconds", "1", "--edits", "1")
}
