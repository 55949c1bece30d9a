package main

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// get asks the stream's HTTP server.
func (p *process) get(path string) (status int, body string) {
	p.t.Helper()
	p.waitFor("serving /metrics")
	address := regexp.MustCompile(`"address":"([^"]+)"`).FindStringSubmatch(p.output.String())
	if address == nil {
		p.t.Fatalf("no address in the output:\n%s", p.output)
	}
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+address[1]+path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	request.Close = true // no connection stays behind the test
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

// TestStreamServesItsFigures: the same as the status command's.
func TestStreamServesItsFigures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 12)
	w.run("init")
	w.run("backfill")
	stream := w.start([]string{"WAL2VEC_HTTP_LISTEN=127.0.0.1:0", "WAL2VEC_STREAM_IDLE_INTERVAL=50ms"}, "stream")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		status, body := stream.get("/readyz")
		return status == http.StatusOK, body
	})
	if status, body := stream.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d: %s", status, body)
	}
	w.db.Exec(t, "UPDATE "+product+" SET name = 'edited' WHERE product_id < 4")
	w.settle()
	_, metrics := stream.get("/metrics")
	for _, line := range []string{`wal2vec_up{pipeline="` + w.db.Name + `"`, `wal2vec_rows{pipeline="` + w.db.Name + `",state="live"} 12`} {
		if !strings.Contains(metrics, line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	var served, printed map[string]any
	if status, body := stream.get("/status"); status != http.StatusOK || json.Unmarshal([]byte(body), &served) != nil {
		t.Errorf("/status answers %d: %s", status, body)
	}
	if data, ok := served["data"].(map[string]any); ok { // in the envelope of the API
		served = data
	}
	w.result(&printed, nil, "status", "-o", "json")
	if a, b := slices.Sorted(maps.Keys(served)), slices.Sorted(maps.Keys(printed)); !slices.Equal(a, b) {
		t.Errorf("/status has %v, the command prints %v", a, b)
	}
	for _, name := range []string{"phase", "slot", "slot_active", "rows_live", "model", "epoch"} {
		if served[name] != printed[name] {
			t.Errorf("%s is %v at /status and %v at the command", name, served[name], printed[name])
		}
	}
	stream.stop()
	w.check()
}

// TestStreamOutlivesItsConnections: sessions are cut, and another process takes over.
func TestStreamOutlivesItsConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20)
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=10ms", "WAL2VEC_STREAM_RETRY_MAX=500ms")
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	for round := range 3 {
		w.write(round + 1)
		w.db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'wal2vec/%'")
		w.db.Exec(t, "UPDATE "+product+" SET category = 'cut off' WHERE product_id = 5")
	}
	w.settle()
	w.checkFeedback()

	// It tries often, while the first moves watermark and slot all the time: between two looks of
	// its own they differ.
	next := w.start([]string{"WAL2VEC_STREAM_RETRY_MAX=20ms"}, "stream")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		return strings.Count(next.output.String(), "trying again") >= 40, next.output.String()
	})
	w.db.Exec(t, "UPDATE "+product+" SET category = 'of the first' WHERE product_id = 6")
	w.settle()
	stream.stop()
	next.waitFor(`"message":"streaming"`)
	w.db.Exec(t, "UPDATE "+product+" SET category = 'of the second' WHERE product_id = 7")
	w.settle()
	next.stop()
	w.checkFeedback()
	w.check()
}

// TestColumnsThatComeAndGo: those that are not ours are ignored, without one of ours the stream
// stops.
func TestColumnsThatComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.env = append(w.env, "WAL2VEC_STREAM_IDLE_INTERVAL=50ms")
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.follow(t, []step{
		{"new column", "ALTER TABLE " + product + " ADD COLUMN colour text; UPDATE " + product + " SET colour = 'red', name = 'new' WHERE product_id = 1", keys("1"), nil},
		{"dropped column", "ALTER TABLE " + product + " DROP COLUMN price; UPDATE " + product + " SET name = 'newer' WHERE product_id = 1", keys("1"), nil},
		{"wider type", "ALTER TABLE " + product + " ALTER COLUMN name TYPE varchar(500); UPDATE " + product + " SET name = 'newest' WHERE product_id = 1", keys("1"), nil},
	})
	w.db.Exec(t, "ALTER TABLE "+product+" RENAME COLUMN brand TO maker")
	w.db.Exec(t, "UPDATE "+product+" SET name = 'without a brand' WHERE product_id = 2")
	_ = stream.wait()
	if code := stream.cmd.ProcessState.ExitCode(); code != 2 || !stream.output.contains("column t.brand does not exist") || !stream.output.contains("put the column back") {
		t.Errorf("a stream without its column ends with exit code %d:\n%s", code, stream.output)
	}
	w.refuses(t, refusal{args: []string{"stream"}, code: 2, says: []string{`"brand"`}, try: "column"})

	// What the message advises: rows that were logged without the column are read by their key.
	w.db.Exec(t, "ALTER TABLE "+product+" RENAME COLUMN maker TO brand")
	w.run("stream", "--until-current")
	w.run("backfill")
	w.run("stream", "--until-current")
	w.checkFeedback()
	w.check()
}

// TestTemplateOfANewColumn: the log that is not read yet holds rows from before the column that a
// new generation's template reads.
func TestTemplateOfANewColumn(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 30)
	w.run("init")
	w.run("backfill")
	w.run("stream", "--until-current")
	w.db.Exec(t, "UPDATE "+product+" SET name = 'before the column' WHERE product_id = 3; DELETE FROM "+product+" WHERE product_id = 4")
	w.db.Exec(t, "ALTER TABLE "+product+" ADD COLUMN colour text DEFAULT 'red'")
	w.run("generation", "build", "--template", "{name} {colour}")
	w.db.Exec(t, "UPDATE "+product+" SET colour = 'green' WHERE product_id = 5")
	w.run("stream", "--until-current")
	w.checkGeneration(1)
	got := pgtest.Column[string](t, w.sink, "SELECT encode(text_hash, 'hex') FROM wal2vec.vectors_"+w.db.Name+"_2 ORDER BY product_id")
	var want []string
	for _, text := range pgtest.Column[string](t, w.db, "SELECT concat_ws(' ', btrim(name), colour) FROM "+product+" WHERE NOT deleted ORDER BY product_id") {
		want = append(want, change.HashText(text).String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("texts of the new column: got %v, want %v", got, want)
	}
}

// TestSwappedTableEndsTheStream: the publication follows the old table, and nothing in the log says
// so.
func TestSwappedTableEndsTheStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 30)
	w.run("init")
	w.run("backfill")
	w.env = append(w.env, refuseSwaps)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.db.Exec(t, `BEGIN; CREATE TABLE staging_marts.swap (LIKE staging_marts.dim_product INCLUDING ALL);
		INSERT INTO staging_marts.swap SELECT * FROM staging_marts.dim_product WHERE product_id > 10; UPDATE staging_marts.swap SET name = 'built anew' WHERE product_id = 11;
		ALTER TABLE staging_marts.dim_product RENAME TO backup; ALTER TABLE staging_marts.swap RENAME TO dim_product; DROP TABLE staging_marts.backup; COMMIT`)
	_ = stream.wait()
	if code := stream.cmd.ProcessState.ExitCode(); code != 6 || !stream.output.contains("dim_product was replaced") || !stream.output.contains("try: wal2vec init --resync") {
		t.Errorf("a stream whose table was swapped ends with exit code %d:\n%s", code, stream.output)
	}
	w.run("init", "--resync")
	w.run("backfill")
	w.write(1)
	w.run("stream", "--until-current")
	w.checkFeedback()
	w.check()
}
