package main

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestWhatIsSaidInTheFirstHours: what a newcomer reads, command by command.
func TestWhatIsSaidInTheFirstHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	version, flag := w.ends(nil, "", "version"), w.ends(nil, "", "--version")
	if flag.code != 0 || flag.stdout != version.stdout || flag.stdout == "" {
		t.Errorf("--version says %q, version %q", flag.stdout, version.stdout)
	}
	before := w.ends(nil, "", "status")
	if before.code != 2 || !strings.Contains(before.stderr, "try: wal2vec init, as the role that sets it up\n") || !regexp.MustCompile(`(?m)^model +-$`).MatchString(before.stdout) {
		t.Errorf("before init, status ends with %d: %s%s", before.code, before.stdout, before.stderr)
	}
	json := w.ends(nil, "", "status", "-o", "json")
	if json.code != 2 || !strings.Contains(json.stdout, `"dimension": null`) || !strings.Contains(json.stdout, `"phase": "not_initialised"`) {
		t.Errorf("before init, status ends with %d: %s", json.code, json.stdout)
	}

	dsn := strings.Replace(w.db.DSN, "sslmode=disable", "sslmode=prefer", 1)
	stranger := regexp.MustCompile(`//[^@/]*@`).ReplaceAllString(dsn, "//nobody_here:x@")
	if dsn == w.db.DSN || stranger == dsn {
		t.Fatalf("the test servers' connection strings have another form: %s", w.db.DSN)
	}
	for _, command := range []string{"status", "doctor"} {
		got := w.ends([]string{"WAL2VEC_SOURCE_DSN=" + stranger}, "", command)
		if said := got.stdout + got.stderr; strings.Contains(said, "TLS") || !strings.Contains(said, "nobody_here") || got.code == 0 {
			t.Errorf("%s of a role that there is none of ends with %d: %s", command, got.code, said)
		}
	}

	const warning = "max_slot_wal_keep_size is -1"
	for round, command := range [][]string{{"init"}, {"init"}, {"init", "--resync"}} {
		got := w.ends(nil, "", command...)
		if warned := strings.Contains(got.stderr, warning); got.code != 0 || warned != (round == 0) {
			t.Errorf("%v, time %d, ends with %d, warned: %v", command, round+1, got.code, warned)
		}
	}
	w.run("backfill")
	w.write(1)
	ended := w.ends(nil, "", "stream", "--until-current")
	if line := lineWith(ended.stderr, "stream ended"); !regexp.MustCompile(`"took":"[0-9.]+m?s"`).MatchString(line) || !strings.Contains(line, `"lsn":"`) {
		t.Errorf("a stream ends with %s", line)
	}
	if strings.Contains(ended.stderr, "tokens_per_second") {
		t.Errorf("the self-test is taken for a measurement: %s", ended.stderr)
	}
	w.db.Exec(t, "DROP PUBLICATION wal2vec_"+w.db.Name)
	if line := lineWith(w.ends(nil, "", "stream", "--until-current").stderr, "stream ended"); line == "" || strings.Contains(line, "lsn") {
		t.Errorf("a stream that had no session ends with %s", line)
	}
}

func lineWith(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return ""
}

// TestAServerThatAnswersIsNotLookedForElsewhere: the advice is that of the answer.
func TestAServerThatAnswersIsNotLookedForElsewhere(t *testing.T) {
	t.Parallel()
	f := func(code, try string) {
		t.Helper()
		err := connect.Unconnected(&pgconn.PgError{Severity: "FATAL", Code: code, Message: "no"}, "sink")
		if got := fault.Try(err); !strings.Contains(got, try) || strings.Contains(got, "sslmode") {
			t.Errorf("%s: try %q, want %q", code, got, try)
		}
	}
	f("53100", "disk is full")
	f("53300", "max_connections")
	f("57P03", "wait until the sink's server is up")
	f("XX000", "log of the sink's server")
	if got := fault.Try(connect.Unconnected(errors.New("refused"), "sink")); !strings.Contains(got, "sslmode") {
		t.Errorf("no server answered: try %q", got)
	}
}

// TestAViewIsKeptByAPipelineOfAnOlderVersion: its row has the view's name, which the settings do
// not say.
func TestAViewIsKeptByAPipelineOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.run("init")
	w.run("backfill")
	for i, entry := range w.env {
		if strings.HasPrefix(entry, "WAL2VEC_SINK_VIEW=") {
			w.env[i] = "WAL2VEC_TEST_NONE="
		}
	}
	if said := w.run("init"); !strings.Contains(said, "-> analytics_features.product_embeddings ") {
		t.Errorf("init says %s", said)
	}
	if n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM analytics_features.product_embeddings"); n != 5 {
		t.Errorf("the view has %d rows", n)
	}
	if said := w.run("teardown", "--yes"); !strings.Contains(said, "view analytics_features.product_embeddings,") {
		t.Errorf("teardown says %s", said)
	}
	if !strings.Contains(w.run("init"), "-> analytics_features."+w.db.Name+" ") {
		t.Error("a new pipeline's view is not named after it")
	}
}
