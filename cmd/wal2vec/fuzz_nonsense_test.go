package main

import (
	"bytes"
	"context"
	"flag"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

var update = flag.Bool("update", false, "write golden files")

// recordedCommands is what a real source and sink, one database, answered to the commands. -update
// writes it again.
const recordedCommands = "testdata/recorded.json"

// reading are the commands that read the sink and end by themselves. What a stream reads before it
// starts is fuzzed in package sink.
var reading = [][]string{
	{"status"},
	{"status", "-o", "json"},
	{"search", "a warm jacket"},
	{"search", "a warm jacket", "-o", "json", "-k", "10", "--columns", "name"},
	{"dead-letter", "list"},
	{"dead-letter", "list", "-o", "json"},
	{"generation", "list"},
	{"generation", "list", "-o", "json"},
	{"doctor"},
	{"audit", "--sample", "5", "--reencode", "2"},
}

// hashEncoder is the model's checkpoint with vectors from a hash: no model runs.
var hashEncoder = sync.OnceValues(func() (*engine.Engine, error) {
	parts, err := pgtest.Parts()
	if err != nil {
		return nil, err
	}
	if err := os.Setenv("WAL2VEC_HOME", parts); err != nil {
		return nil, err
	}
	found, err := connect.FindParts()
	if err != nil {
		return nil, err
	}
	checkpoint, err := engine.OpenCheckpoint(found, config.Default())
	if err != nil {
		return nil, err
	}
	return engine.Fake(checkpoint), nil
})

// nonsensePipeline is the pipeline of the recording: its tables are named after it.
const nonsensePipeline = "of_nonsense"

// runAgainst runs a command in this process on two servers.
func runAgainst(ctx context.Context, tb testing.TB, source, sink *pgtest.Nonsense, args ...string) (code int, said string) {
	tb.Helper()
	dsn := func(server *pgtest.Nonsense) string {
		return "postgres://postgres@" + server.Listen(tb) + "/recorded?sslmode=disable"
	}
	return runOn(ctx, tb, append(args, "--source", dsn(source), "--sink", dsn(sink))...)
}

// runOn runs a command in this process.
func runOn(ctx context.Context, tb testing.TB, args ...string) (code int, said string) {
	tb.Helper()
	shared, err := hashEncoder()
	if err != nil {
		tb.Fatal(err)
	}
	output := &lockedBuffer{}
	p := &program{stdin: strings.NewReader(""), stdout: output, stderr: output, shared: shared}
	root := newRoot(p) //nolint:contextcheck // ExecuteContext hands it to every command
	root.SetArgs(append(args, "--pipeline", nonsensePipeline, "--log-level", "error", "--set", "http.listen=off"))
	return p.report(root.ExecuteContext(ctx)), output.String()
}

// TestTheRecordedAnswersAreThoseOfARealDatabase plays the recording to every command. With -update
// it records.
func TestTheRecordedAnswersAreThoseOfARealDatabase(t *testing.T) {
	if *update {
		recordCommands(t)
	}
	recording := pgtest.ReadRecording(t, recordedCommands)
	for _, args := range reading {
		code, said := runAgainst(t.Context(), t, pgtest.NewNonsense(recording, nil), pgtest.NewNonsense(recording, nil), args...)
		// An audit asks about other rows each time, and the recording answers about those of the
		// first.
		if code != 0 && code != 3 && args[0] != "audit" {
			t.Errorf("%v ended with %d: %s; when the queries have changed: go test ./cmd/wal2vec -run RecordedAnswers -update", args, code, said)
		}
	}
}

func recordCommands(t *testing.T) {
	w := newWorld(t, 30)
	w.env = append(w.env, "WAL2VEC_PIPELINE="+nonsensePipeline, wholeWeights)
	w.run("init")
	w.run("backfill")
	w.run("stream", "--until-current")
	var recorder pgtest.Recorder
	dsn, err := url.Parse(w.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	dsn.Host = recorder.Proxy(t, dsn.Host)
	for _, args := range reading {
		if code, said := runOn(t.Context(), t, append(args, "--source", dsn.String())...); code != 0 && code != 3 {
			t.Errorf("%v ended with %d: %s", args, code, said)
		}
	}
	recorder.Write(t, recordedCommands)
}

// FuzzCommandsOnASinkOfNonsense runs a command on a sink that answers what the fuzzer likes: it
// ends with one of the exit codes, in bounded memory and time, and no statement, to the source
// neither, holds a text of the sink's as a part of its own.
func FuzzCommandsOnASinkOfNonsense(f *testing.F) {
	recording := pgtest.ReadRecording(f, recordedCommands)
	for i := range reading {
		for spoilt := range 12 {
			script := bytes.Repeat([]byte{0}, 5*(spoilt%7)+2)
			f.Add(uint8(i), append(script, byte(128+2*spoilt), byte(i), byte(spoilt), byte(128+spoilt), byte(spoilt), byte(i)))
		}
	}
	// One of these gives the pipeline a job of which nothing else is known.
	const number, jobID, seven = 128 + 12, 14, 4
	for honest := range 16 {
		f.Add(uint8(0), append(bytes.Repeat([]byte{0}, honest), number, jobID, seven))
	}
	f.Fuzz(func(t *testing.T, which uint8, script []byte) {
		args := reading[int(which)%len(reading)]
		server := pgtest.NewNonsense(recording, script)
		source := pgtest.NewNonsense(recording, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		code, said := runAgainst(ctx, t, source, server, args...)
		runtime.ReadMemStats(&after)
		const most = 512 << 20
		if used := after.TotalAlloc - before.TotalAlloc; used > most {
			t.Errorf("%v allocated %d bytes: %.500s", args, used, said)
		}
		if ctx.Err() != nil || code < 0 || code > 7 {
			t.Errorf("%v ended with %d, %v: %.500s", args, code, ctx.Err(), said)
		}
		for _, statement := range append(server.Wait(), source.Wait()...) {
			t.Errorf("%v sent a text of the sink's as SQL: %q", args, statement)
		}
	})
}
