package main

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// poisonWord is what the hash encoder of the program under test refuses; see substitute_on.go.
const poisonWord = "unencodable"

func refused(text string) bool { return strings.Contains(text, poisonWord) }

// newHashWorld is a world whose program encodes by a hash, and not at all while the returned file
// exists.
func newHashWorld(t *testing.T, n int) (w *world, down string) {
	t.Helper()
	w = newWorld(t, n)
	down = filepath.Join(t.TempDir(), "down")
	w.env = append(w.env, "FAILPOINT_ENCODER=hash", "FAILPOINT_ENCODER_DOWN="+down, "WAL2VEC_STREAM_IDLE_INTERVAL=100ms", "WAL2VEC_STREAM_RETRY_MAX=400ms")
	return w, down
}

// checkLetters compares the dead letters with the source rows whose text the encoder refuses.
func (w *world) checkLetters(rows map[string]string) {
	w.t.Helper()
	want := make(map[string]string)
	for key, text := range rows {
		if refused(text) {
			want[key] = change.HashText(text).String()
		}
	}
	got := make(map[string]string)
	for _, line := range pgtest.Column[string](w.t, w.sink, "SELECT key[1] || ' ' || encode(text_hash, 'hex') FROM wal2vec.dead_letter_"+w.db.Name) {
		key, hash, _ := strings.Cut(line, " ")
		got[key] = hash
	}
	if !maps.Equal(got, want) {
		w.t.Errorf("dead letters %v, refused are %v", got, want)
	}
}

func (w *world) deadLetters() []deadLetter {
	w.t.Helper()
	var out []deadLetter
	w.result(&out, nil, "dead-letter", "list", "-o", "json")
	return out
}

func (w *world) poison(keys string) {
	w.t.Helper()
	w.db.Exec(w.t, "UPDATE "+product+" SET description = 'an "+poisonWord+" text, row ' || product_id WHERE product_id IN ("+keys+")")
}

func (w *world) heal(keys string) {
	w.t.Helper()
	w.db.Exec(w.t, "UPDATE "+product+" SET description = 'as good as new, row ' || product_id WHERE product_id IN ("+keys+")")
}

// TestAPoisonRowIsSetAsideByTheStream: the rest of its batch is written, and another text brings it
// back.
func TestAPoisonRowIsSetAsideByTheStream(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 30)
	w.run("init")
	w.run("backfill")
	stream := w.start([]string{"WAL2VEC_HTTP_LISTEN=127.0.0.1:0"}, "stream")
	stream.waitFor("streaming")
	w.db.Exec(t, "UPDATE "+product+" SET description = CASE product_id WHEN 7 THEN 'an "+poisonWord+" text' ELSE 'edited, row ' || product_id END WHERE product_id <= 20")
	w.settle()
	w.check()
	letters := w.deadLetters()
	if len(letters) != 1 || !slices.Equal(letters[0].Key, []string{"7"}) || letters[0].Attempts != 1 || letters[0].LSN == 0 ||
		letters[0].Reason != "a text that cannot be encoded" || letters[0].Since.IsZero() {
		t.Errorf("letters %+v", letters)
	}
	if table := w.run("dead-letter", "list"); !strings.Contains(table, "a text that cannot be encoded") || !strings.Contains(table, letters[0].TextHash) {
		t.Errorf("list prints\n%s", table)
	}
	if status := w.status(); *status.DeadLetters != 1 || *status.RowsStale != 1 || *status.RowsLive != 30 {
		t.Errorf("status: %d dead letters, %d stale of %d", *status.DeadLetters, *status.RowsStale, *status.RowsLive)
	}
	if code, body := stream.get("/readyz"); code != http.StatusOK {
		t.Errorf("a dead letter is no outage, but /readyz answers %d: %s", code, body)
	}
	w.db.Exec(t, "UPDATE "+product+" SET price = price + 1 WHERE product_id = 7") // not a word of the text
	w.settle()
	if again := w.deadLetters(); len(again) != 1 || again[0].Attempts != 1 {
		t.Errorf("after an update of another column: %+v", again)
	}
	w.check()
	w.heal("7")
	w.settle()
	w.check()
	if left := w.run("dead-letter", "list"); left != "no dead letters\n" {
		t.Errorf("list prints %q", left)
	}
	stream.stop()
	if log := stream.output.String(); strings.Contains(log, poisonWord) || strings.Count(log, "set aside") != 1 {
		t.Errorf("the stream logs\n%s", log)
	}
}

// TestARetryReadsTheRowsAgain: one can be encoded now (what was wrong is repaired behind the
// program's back), one still cannot, one is gone.
func TestARetryReadsTheRowsAgain(t *testing.T) {
	t.Parallel()
	for _, streaming := range []bool{false, true} {
		t.Run(fmt.Sprintf("streaming %v", streaming), func(t *testing.T) {
			t.Parallel()
			w, _ := newHashWorld(t, 30)
			w.run("init")
			w.poison("3, 7, 11, 12")
			w.run("backfill")
			w.check()
			w.heal("3, 12")
			w.db.Exec(t, "DELETE FROM "+product+" WHERE product_id = 11")
			var stream *process
			if streaming {
				stream = w.start(nil, "stream")
				w.settle()
				// A letter that the stream knows nothing of: the model has learnt the text.
				w.db.Exec(t, "DELETE FROM wal2vec."+w.vectorTable()+" WHERE product_id IN (3, 12)")
				w.db.Exec(t, "UPDATE wal2vec.ledger_"+w.db.Name+" SET failed_at = now() WHERE product_id IN (3, 12)")
				w.db.Exec(t, "INSERT INTO wal2vec.dead_letter_"+w.db.Name+" (pipeline, key, generation, epoch, lsn, text_hash, reason) SELECT '"+w.db.Name+
					"', ARRAY[product_id::text], 1, epoch, lsn, text_hash, 'an older model' FROM wal2vec.ledger_"+w.db.Name+" WHERE product_id IN (3, 12)")
			}
			var one, rest retrySummary
			w.result(&one, nil, "dead-letter", "retry", "--key", "3", "-o", "json")
			if one.Retried != 1 || one.Encoded != 1 || one.Failed != 0 || one.Gone != 0 {
				t.Errorf("retry of one: %+v", one)
			}
			w.result(&rest, nil, "dead-letter", "retry", "--all", "-o", "json")
			want := retrySummary{Retried: 3, Encoded: 1, Failed: 1, Gone: 1}
			if streaming { // the stream has seen the delete
				want = retrySummary{Retried: 2, Encoded: 1, Failed: 1}
			}
			if rest.Seconds = 0; rest != want {
				t.Errorf("retry of all: %+v, want %+v", rest, want)
			}
			if letters := w.deadLetters(); len(letters) != 1 || letters[0].Key[0] != "7" || letters[0].Attempts != 2 {
				t.Errorf("letters %+v", letters)
			}
			open := pgtest.One[int64](t, w.db, "SELECT count(*) FROM wal2vec.backfill WHERE mode = 'retry' AND outcome IS DISTINCT FROM 'retried'")
			if open != 0 {
				t.Errorf("%d jobs of retries were not finished", open)
			}
			if streaming {
				stream.stop()
			} else {
				w.run("stream", "--until-current")
			}
			w.check()
		})
	}
}

func (w *world) vectorTable() string {
	w.t.Helper()
	return pgtest.One[string](w.t, w.sink, "SELECT vector_table FROM wal2vec.generation WHERE state = 'active'")
}

// TestDroppedLettersStayForgottenUntilABackfill: and what names no dead letter is refused.
func TestDroppedLettersStayForgottenUntilABackfill(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 30)
	w.run("init")
	w.poison("3, 7, 11")
	var summary backfillSummary
	w.result(&summary, nil, "backfill", "-o", "json")
	if summary.Failed != 3 || summary.Encoded != 27 || summary.Processed != 30 || !summary.Done {
		t.Errorf("backfill: %+v", summary)
	}
	w.check()
	if said := w.run("dead-letter", "drop", "--key", "3"); !strings.Contains(said, "dropped 1 dead letter;") {
		t.Errorf("drop says %q", said)
	}
	if letters := w.deadLetters(); len(letters) != 2 {
		t.Errorf("letters %+v", letters)
	}
	if said := w.run("dead-letter", "list", "-k", "1"); strings.Count(said, poisonReason) != 1 || !strings.Contains(said, "and more") {
		t.Errorf("list -k 1 prints\n%s", said)
	}
	if said := w.run("dead-letter", "drop", "--all", "--yes"); !strings.Contains(said, "dropped 2 dead letters") {
		t.Errorf("drop says %q", said)
	}
	if status := w.status(); *status.DeadLetters != 0 || *status.RowsStale != 3 {
		t.Errorf("status: %d dead letters, %d stale", *status.DeadLetters, *status.RowsStale)
	}
	text := w.run("backfill")
	if !strings.Contains(text, "failed (set aside)    3\n") || !strings.Contains(text, "skipped (up to date)  27\n") {
		t.Errorf("backfill prints\n%s", text)
	}
	w.check()
	for _, r := range []refusal{
		{name: "no letter", args: []string{"dead-letter", "retry", "--key", "5"}, code: 2, says: []string{"no dead letter has the key 5"}, try: "dead-letter list"},
		{name: "no letter", args: []string{"dead-letter", "drop", "--key", "5"}, code: 2, says: []string{"no dead letter has the key 5"}, try: "dead-letter list"},
		{name: "nothing named", args: []string{"dead-letter", "drop"}, code: 2, says: []string{"--key", "--all"}, try: "wal2vec dead-letter drop --all"},
		{name: "nothing named", args: []string{"dead-letter", "retry"}, code: 2, says: []string{"--key", "--all"}, try: "wal2vec dead-letter retry --all"},
		{name: "both", args: []string{"dead-letter", "retry", "--all", "--key", "3"}, code: 2, says: []string{"exclude each other"}, try: "--help"},
		{name: "all without yes", args: []string{"dead-letter", "drop", "--all"}, code: 2, says: []string{"every dead letter"}, try: "--all --yes"},
		{name: "no limit", args: []string{"dead-letter", "list", "-k", "0"}, code: 2, says: []string{"-k must be 1 or more"}, try: "-k 100"},
		{name: "no form", args: []string{"dead-letter", "list", "-o", "xml"}, code: 2, says: []string{"xml"}, try: "-o json"},
	} {
		t.Log(r.name)
		w.refuses(t, r)
	}
}

const poisonReason = "a text that cannot be encoded"

// TestAnOutageSetsNothingAside: the watermark stands still and /readyz is red, without a moment of
// green, until the encoder is back.
func TestAnOutageSetsNothingAside(t *testing.T) {
	t.Parallel()
	w, down := newHashWorld(t, 30)
	w.run("init")
	w.run("backfill")
	stream := w.start([]string{"WAL2VEC_HTTP_LISTEN=127.0.0.1:0"}, "stream")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		code, body := stream.get("/readyz")
		return code == http.StatusOK, body
	})
	if err := os.WriteFile(down, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.heal("1, 2, 3")
	end := pgtest.One[string](t, w.db, "SELECT pg_current_wal_insert_lsn()::text")
	w.poison("4")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		code, body := stream.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "the encoder is down"), body
	})
	sessions := func() int { return strings.Count(stream.output.String(), `"message":"streaming"`) }
	for first := sessions(); sessions() < first+5; { // sessions that come up and fail again
		if code, body := stream.get("/readyz"); code != http.StatusServiceUnavailable {
			t.Fatalf("/readyz answers %d in an outage: %s", code, body)
		}
	}
	if passed := pgtest.One[bool](t, w.db, "SELECT watermark >= $1::text::pg_lsn FROM wal2vec.pipeline", end); passed {
		t.Error("the watermark has passed what could not be encoded")
	}
	if letters := w.deadLetters(); len(letters) != 0 {
		t.Errorf("letters %+v", letters)
	}
	backfill := w.ends(nil, "", "backfill", "--full")
	if backfill.code != 5 || !strings.Contains(backfill.stderr, "the encoder is down") || len(w.deadLetters()) != 0 {
		t.Errorf("a backfill ended with exit code %d:\n%s", backfill.code, backfill.stderr)
	}
	if err := os.Remove(down); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		code, body := stream.get("/readyz")
		return code == http.StatusOK, body
	})
	w.settle()
	w.check()
	stream.stop()
}

// TestAKilledProgramLosesNoDeadLetter: the letter, the batch and the watermark are one commit.
func TestAKilledProgramLosesNoDeadLetter(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"sink_begun:2", "sink_written:2", "stream_committed:2"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w, _ := newHashWorld(t, 40)
			w.run("init")
			w.run("backfill")
			stream := w.start([]string{"FAILPOINT=" + point, "WAL2VEC_STREAM_IDLE_INTERVAL=10s"}, "stream")
			w.db.Exec(t, "UPDATE "+product+" SET description = CASE product_id % 5 WHEN 1 THEN 'an "+poisonWord+" text ' ELSE 'edited, row ' END || product_id")
			w.poison("10")
			w.heal("6")
			stream.mustBeKilled()
			w.run("stream", "--until-current")
			w.checkFeedback()
			w.check()
			for _, d := range w.deadLetters() {
				if d.Attempts != 1 {
					t.Errorf("letter %+v: what was not committed was counted", d)
				}
			}
		})
	}
}

// TestATextIsNeitherLoggedNorKept: not even where the encoder's own error repeats it.
func TestATextIsNeitherLoggedNorKept(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 10)
	w.run("init")
	w.run("backfill")
	w.db.Exec(t, "UPDATE "+product+" SET description = 'an unspeakable text of row ' || product_id WHERE product_id IN (3, 4)")
	stream := w.ends([]string{"WAL2VEC_LOG_LEVEL=debug"}, "", "stream", "--until-current")
	if !strings.Contains(stream.stdout, "2 texts could not be encoded") || !strings.Contains(stream.stderr, "set aside") {
		t.Errorf("the stream prints\n%s%s", stream.stdout, stream.stderr)
	}
	backfill := w.ends([]string{"WAL2VEC_LOG_LEVEL=debug"}, "", "backfill")
	list := w.run("dead-letter", "list")
	kept := pgtest.Column[string](t, w.db, "SELECT d::text FROM wal2vec.dead_letter_"+w.db.Name+" AS d")
	if len(kept) != 2 || strings.Count(list, "withheld") != 2 {
		t.Errorf("kept are %q, list prints\n%s", kept, list)
	}
	for _, text := range slices.Concat(kept, []string{stream.stdout, stream.stderr, backfill.stdout, backfill.stderr, list}) {
		if strings.Contains(text, "unspeakable") {
			t.Errorf("the text is in: %s", text)
		}
	}
}
