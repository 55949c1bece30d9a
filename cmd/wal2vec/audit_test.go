package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// audits runs an audit, which must end with this exit code.
func (w *world) audits(code int, args ...string) auditReport {
	w.t.Helper()
	got := w.ends(nil, "", append([]string{"audit", "-o", "json"}, args...)...)
	if got.code != code {
		w.t.Fatalf("audit %v ended with exit code %d, want %d:\n%s%s", args, got.code, code, got.stdout, got.stderr)
	}
	var r auditReport
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		w.t.Fatalf("audit %v printed no JSON: %v\n%s", args, err, got.stdout)
	}
	w.t.Logf("audit %v: %d rows, %d keys, %d again, %d pending, %d encoded, %.2f s, %.0f rows/s",
		args, r.Rows, r.Keys, r.Again, r.Pending, r.Encoded, r.Seconds, r.PerSecond)
	return r
}

// found lists an audit's findings as "kind key".
func (r *auditReport) found() []string {
	out := make([]string, len(r.Findings))
	for i, f := range r.Findings {
		out[i] = f.Kind + " " + strings.Join(f.Key, ",")
	}
	slices.Sort(out)
	return out
}

// wants compares an audit's findings.
func (w *world) wants(r auditReport, findings ...string) {
	w.t.Helper()
	slices.Sort(findings)
	if got := r.found(); !slices.Equal(got, findings) {
		w.t.Errorf("found %q, want %q", got, findings)
	}
	if r.Found != int64(len(findings)) {
		w.t.Errorf("%d findings are counted, %d listed", r.Found, len(findings))
	}
}

// newAuditWorld is a world with n rows of which every vector is there, and chunks of some size.
func newAuditWorld(t *testing.T, n int, env ...string) *world {
	t.Helper()
	w, _ := newHashWorld(t, n)
	w.env = append(append(w.env, env...), "WAL2VEC_BACKFILL_CHUNK_KEYS=200", "WAL2VEC_STREAM_MAX_ROWS=1000", "XDG_CACHE_HOME="+t.TempDir())
	w.db.Exec(t, "UPDATE "+product+" SET description = 'an unencodable text' WHERE product_id = 100")
	w.db.Exec(t, "UPDATE "+product+" SET name = NULL, brand = '', category = NULL, description = ' ' WHERE product_id = 101")
	w.db.Exec(t, "UPDATE "+product+" SET deleted = true WHERE product_id IN (102, 103)")
	w.run("init")
	w.run("backfill")
	return w
}

// plant damages the sink behind wal2vec's back: one key for each way, of those up to 103. It
// returns the findings to come.
func (w *world) plant() []string {
	w.t.Helper()
	ledger, vectors := "wal2vec.ledger_"+w.db.Name, "wal2vec.vectors_"+w.db.Name+"_1"
	const other = `'\x000102030405060708090a0b0c0d0e0f'`
	for _, statement := range []string{
		"DELETE FROM " + vectors + " WHERE product_id = 1",
		"DELETE FROM " + vectors + " WHERE product_id = 2",
		"DELETE FROM " + ledger + " WHERE product_id IN (2, 3)",
		"UPDATE " + ledger + " SET deleted = true, text_hash = NULL WHERE product_id = 4",
		// Orphans: both rows, a vector alone, a ledger row alone, soft-deleted rows and one without
		// a text that live on.
		"INSERT INTO " + ledger + " SELECT 900001, epoch, lsn, text_hash, deleted FROM " + ledger + " WHERE product_id = 5",
		"INSERT INTO " + vectors + " SELECT 900001, text_hash, embedding FROM " + vectors + " WHERE product_id = 5",
		"INSERT INTO " + vectors + " SELECT 900002, text_hash, embedding FROM " + vectors + " WHERE product_id = 5",
		"INSERT INTO " + ledger + " SELECT 900003, epoch, lsn, text_hash, deleted FROM " + ledger + " WHERE product_id = 5",
		"UPDATE " + ledger + " SET deleted = false, text_hash = " + other + " WHERE product_id = 102",
		"INSERT INTO " + vectors + " SELECT unnest('{101, 103}'::bigint[]), text_hash, embedding FROM " + vectors + " WHERE product_id = 5",
		// Stale: both rows, the vector, the ledger's row.
		"UPDATE " + vectors + " SET text_hash = " + other + " WHERE product_id IN (11, 12)",
		"UPDATE " + ledger + " SET text_hash = " + other + " WHERE product_id IN (11, 13)",
		// Versions that no commit has brought: of an epoch to come, and of a position that no log
		// reaches; nothing else is wrong with them.
		"UPDATE " + ledger + " SET epoch = 9223372036854775807 WHERE product_id = 31",
		"UPDATE " + ledger + " SET lsn = 'FFFFFFFF/FFFFFFFF' WHERE product_id = 32",
		// Vectors that no encoder makes, and one of another text.
		"UPDATE " + vectors + " SET embedding = array_fill(0, ARRAY[384])::vector WHERE product_id = 21",
		"UPDATE " + vectors + " SET embedding = embedding * array_fill(1.01, ARRAY[384])::vector WHERE product_id = 22",
		"UPDATE " + vectors + " SET embedding = (SELECT embedding FROM " + vectors + " WHERE product_id = 5) WHERE product_id = 23",
	} {
		w.db.Exec(w.t, statement)
	}
	return []string{
		"missing 1", "missing 2", "missing 3", "missing 4", "orphan 900001", "orphan 900002", "orphan 900003", "orphan 102", "orphan 103",
		"stale_text 11", "stale_text 12", "stale_text 13", "orphan 101", "ahead 31", "ahead 32", "zero 21", "not_unit_length 22", "differs 23",
	}
}

// behindQuery asks whether the stream has to catch up: a load that it cannot carry would be tested
// instead of the audit.
const behindQuery = "SELECT pg_current_wal_insert_lsn() - watermark > 256 << 10 FROM wal2vec.pipeline"

// load writes to the source's rows above 200 until the test or stop ends it: edits, other columns,
// keys, inserts, deletes and texts that are put back, by transactions of several statements.
func (w *world) load(rows int) (stop func()) {
	w.t.Helper()
	conn := w.db.Conn(w.t)
	ctx, cancel := context.WithCancel(w.t.Context())
	var group sync.WaitGroup
	random := rand.New(rand.NewPCG(1, 2))
	group.Go(func() {
		ticker := time.NewTicker(10 * time.Millisecond) // some 1,500 rows a second
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			var behind bool
			if err := conn.QueryRow(ctx, behindQuery).Scan(&behind); err == nil && behind {
				continue
			}
			from := 201 + random.IntN(rows-230)
			statement := fmt.Sprintf([]string{
				"UPDATE %[1]s SET description = 'edit %[3]d' WHERE product_id BETWEEN %[2]d AND %[2]d + 20",
				"UPDATE %[1]s SET price = %[3]d %% 1000 WHERE product_id BETWEEN %[2]d AND %[2]d + 20",
				"DELETE FROM %[1]s WHERE product_id BETWEEN %[2]d AND %[2]d + 3",
				"INSERT INTO %[1]s (product_id, name) SELECT g, 'again %[3]d' FROM generate_series(%[2]d, %[2]d + 30) AS g ON CONFLICT DO NOTHING",
				"UPDATE %[1]s SET deleted = NOT deleted WHERE product_id = %[2]d",
				"UPDATE %[1]s SET name = NULL, brand = NULL, category = NULL, description = NULL WHERE product_id = %[2]d",
				"UPDATE %[1]s SET product_id = %[2]d + 100000 + %[3]d WHERE product_id = %[2]d; DELETE FROM %[1]s WHERE product_id > 100000",
			}[random.IntN(7)], product, from, n)
			if _, err := conn.Exec(ctx, statement); err != nil && ctx.Err() == nil {
				w.t.Errorf("writing: %v", err)
				return
			}
		}
	})
	stop = func() {
		cancel()
		group.Wait()
	}
	w.t.Cleanup(stop)
	return stop
}

// auditRows is the number of rows to audit: AUDIT_ROWS, 100,000 by make audit-rows.
func auditRows(t *testing.T) int {
	t.Helper()
	text := os.Getenv("AUDIT_ROWS")
	if text == "" {
		return 1500
	}
	rows, err := strconv.Atoi(text)
	if err != nil || rows < 1000 {
		t.Fatalf("AUDIT_ROWS=%s: must be 1000 or more", text)
	}
	return rows
}

// TestAuditFindsEachFaultBesideAStreamUnderLoad, without a false alarm before and after, and
// repairs them.
func TestAuditFindsEachFaultBesideAStreamUnderLoad(t *testing.T) {
	t.Parallel()
	rows := auditRows(t)
	w := newAuditWorld(t, rows)
	if rows > 10_000 {
		w.env = append(w.env, "WAL2VEC_BACKFILL_CHUNK_KEYS=1000")
	}
	w.start(nil, "stream").waitFor("streaming")
	w.wants(w.audits(0, "--full"))
	stop := w.load(rows)
	var again int64
	for range 3 {
		r := w.audits(0, "--full")
		w.wants(r)
		again += r.Again
	}
	if again == 0 {
		t.Error("no row had to be looked at again: the load is none")
	}
	w.wants(w.audits(0))
	planted := w.plant()
	everything := []string{"--full", "--reencode", "1000000"}
	r := w.audits(3, everything...)
	w.wants(r, planted...)
	if r.DeadLetters != 1 || r.Rows < int64(rows)/2 || r.Encoded < int64(rows)/2 || r.Cosine == nil || *r.Cosine < 0.9999 || r.Generation != 1 ||
		!r.Done || r.AtLSN <= r.FromLSN {
		t.Errorf("the audit says %+v", r)
	}
	w.wants(w.audits(3, "--reencode", "1000000", "--sample", "1000000"), planted...)
	r = w.audits(0, append(everything, "--repair")...)
	w.wants(r, planted...)
	if r.Left != 0 || slices.ContainsFunc(r.Findings, func(f auditFinding) bool { return !f.Repaired }) {
		t.Errorf("%d findings are left: %+v", r.Left, r.Findings)
	}
	w.wants(w.audits(0, everything...))
	stop()
	w.settle()
	w.check()
}

// TestAuditWithoutAStream tells what the stream has yet to bring from what is wrong.
func TestAuditWithoutAStream(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t, 400)
	r := w.audits(0, "--full")
	w.wants(r)
	if r.Pending != 0 || r.FromLSN != r.AtLSN {
		t.Errorf("nothing happened, and the audit says %+v", r)
	}
	w.db.Exec(t, "UPDATE "+product+" SET name = 'new name' WHERE product_id BETWEEN 201 AND 210")
	w.db.Exec(t, "DELETE FROM "+product+" WHERE product_id BETWEEN 211 AND 215")
	w.db.Exec(t, "INSERT INTO "+product+" (product_id, name) VALUES (801, 'one'), (802, 'two')")
	w.db.Exec(t, "UPDATE "+product+" SET product_id = 803 WHERE product_id = 216; UPDATE "+product+" SET deleted = true WHERE product_id = 217")
	const pending = 10 + 5 + 2 + 2 + 1
	r = w.audits(0, "--full")
	w.wants(r)
	if r.Pending != pending || len(r.Notes) != 1 {
		t.Errorf("%d rows are pending, want %d: %q", r.Pending, pending, r.Notes)
	}
	planted := w.plant()
	everything := []string{"--full", "--reencode", "1000000"}
	r = w.audits(3, everything...)
	w.wants(r, planted...)
	if r.Pending != pending {
		t.Errorf("%d rows are pending, want %d", r.Pending, pending)
	}
	r = w.audits(0, append(everything, "--repair")...)
	w.wants(r, planted...)
	r = w.audits(0, everything...)
	w.wants(r)
	if r.Pending != pending {
		t.Errorf("%d rows are pending, want %d", r.Pending, pending)
	}
	w.run("stream", "--until-current")
	w.checkFeedback()
	w.check()
	r = w.audits(0, everything...)
	w.wants(r)
	if r.Pending != 0 {
		t.Errorf("%d rows are pending behind the stream", r.Pending)
	}
	w.db.Exec(t, "TRUNCATE "+product)
	if r = w.audits(0, "--full"); r.Found != 0 || r.Pending < 300 {
		t.Errorf("after a TRUNCATE: %+v", r)
	}
}

// TestAuditWaitsForASlowStream: what a stream has not written yet is no finding.
func TestAuditWaitsForASlowStream(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t, 400)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.settle()
	stream.signal(syscall.SIGSTOP)
	w.db.Exec(t, "UPDATE "+product+" SET name = 'new name' WHERE product_id BETWEEN 201 AND 210")
	w.db.Exec(t, "DELETE FROM "+product+" WHERE product_id BETWEEN 211 AND 215")
	w.db.Exec(t, "INSERT INTO "+product+" (product_id, name) VALUES (801, 'one'), (802, 'two')")
	audit := w.start(nil, "audit", "--full", "-o", "json")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		waiting := pgtest.One[bool](t, w.db, `SELECT EXISTS (SELECT FROM pg_locks AS k JOIN pg_stat_activity AS a USING (pid)
			WHERE k.locktype = 'advisory' AND a.application_name = 'wal2vec/audit' AND a.datname = current_database())`)
		return waiting || len(audit.done) > 0, "the audit does not wait for the stream"
	})
	stream.signal(syscall.SIGCONT)
	if err := audit.wait(); err != nil {
		t.Errorf("the audit ended with %v:\n%s", err, audit.output)
	}
	stream.stop()
}

// TestAnAuditGoesOnWhereItWasKilled: with what it had found proven again.
func TestAnAuditGoesOnWhereItWasKilled(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t, 3000)
	w.env = append(w.env, "WAL2VEC_BACKFILL_CHUNK_KEYS=20")
	planted := w.plant()
	state := filepath.Join(w.dir, "state.json")
	args := []string{"audit", "--full", "--reencode", "1000000", "--state", state, "-o", "json"}
	for range 5 { // each gets as far as its next flush, after 50 chunks of 20
		w.start([]string{"FAILPOINT=audit_chunk:52"}, args...).mustBeKilled()
	}
	// What was found, and proven then, is repaired: an orphan is one no more.
	w.db.Exec(t, "UPDATE "+product+" SET name = 'another' WHERE product_id = 11; UPDATE "+product+" SET deleted = false WHERE product_id = 102")
	w.run("stream", "--until-current")
	r := w.audits(3, args[1:6]...)
	w.wants(r, slices.DeleteFunc(planted, func(f string) bool { return f == "stale_text 11" || f == "orphan 102" })...)
	if !r.Resumed || r.Rows < 2900 || r.Rows > 3001 {
		t.Errorf("the audit says %+v", r)
	}
	// It is over: the next one begins again.
	if r = w.audits(3, args[1:6]...); r.Resumed {
		t.Error("a complete audit was gone on with")
	}
}

// TestAKilledRepairLeavesNothingThatCannotBeClosed: the job that it leaves open is closed by what
// the doctor advises.
func TestAKilledRepairLeavesNothingThatCannotBeClosed(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t, 99) // without the row that the model refuses
	w.db.Exec(t, "DELETE FROM wal2vec.vectors_"+w.db.Name+"_1 WHERE product_id = 1")
	w.start([]string{"FAILPOINT=backfill_read"}, "audit", "--full", "--repair").mustBeKilled()
	open := func() int { return pgtest.One[int](t, w.db, "SELECT count(*)::int FROM wal2vec.backfill WHERE open") }
	if n := open(); n != 1 {
		t.Fatalf("%d jobs are open", n)
	}
	w.run("dead-letter", "retry", "--all")
	if n := open(); n != 0 {
		t.Errorf("%d jobs are left open", n)
	}
	w.wants(w.audits(0, "--full", "--repair"), "missing 1")
	w.check()
}

// TestAuditOfTwoGenerations: a vector of the other template, and a view of the other generation.
func TestAuditOfTwoGenerations(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t, 300)
	w.start(nil, "stream").waitFor("streaming")
	w.run("generation", "build", "--template", brandTemplate)
	w.settle()
	w.wants(w.audits(0, "--full"))
	w.wants(w.audits(0, "--full", "--generation", "2"))
	first, second := "wal2vec.vectors_"+w.db.Name+"_1", "wal2vec.vectors_"+w.db.Name+"_2"
	w.db.Exec(t, "UPDATE "+first+
		" AS a SET text_hash = b.text_hash, embedding = b.embedding FROM "+second+" AS b WHERE a.product_id = b.product_id AND a.product_id = 31")
	w.db.Exec(t, "DELETE FROM "+second+" WHERE product_id = 32")
	view := pgtest.One[string](t, w.db, "SELECT pg_get_viewdef('analytics_features.product_embeddings'::regclass)")
	replace := "CREATE OR REPLACE VIEW analytics_features.product_embeddings AS "
	w.db.Exec(t, replace+strings.ReplaceAll(view, "vectors_"+w.db.Name+"_1", "vectors_"+w.db.Name+"_2"))
	w.wants(w.audits(3, "--full"), "wrong_generation 31", "wrong_generation ")
	w.wants(w.audits(3, "--full", "--generation", "2"), "missing 32", "wrong_generation ")
	if got := w.ends(nil, "", "audit", "--generation", "2"); !strings.Contains(got.stderr, "try: wal2vec audit --full --repair --generation 2") {
		t.Errorf("it says %s", got.stderr)
	}
	w.db.Exec(t, replace+view)
	w.wants(w.audits(0, "--full", "--repair", "--generation", "2"), "missing 32")
	w.wants(w.audits(0, "--full", "--repair"), "wrong_generation 31")
	w.wants(w.audits(0, "--full"))
}

// TestWhatAuditPrints holds the names that docs/status.md describes, and the table for people.
func TestWhatAuditPrints(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t, 110)
	w.plant()
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "status.md"))
	if err != nil {
		t.Fatal(err)
	}
	got := w.ends(nil, "", "audit", "--full", "-o", "json")
	var report map[string]any
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
		t.Fatal(err)
	}
	finding := report["findings"].([]any)[0].(map[string]any)
	for _, names := range []map[string]any{report, report["counts"].(map[string]any), finding} {
		for name := range names {
			if !strings.Contains(string(docs), "`"+name+"`") {
				t.Errorf("docs/status.md lacks %q", name)
			}
		}
	}
	got = w.ends(nil, "", "audit", "--full")
	t.Log(got.stdout)
	for _, want := range []string{"every row", "orphan 6", "rows compared 110", "missing 4", "900002 a vector without a live row"} {
		if !strings.Contains(strings.Join(strings.Fields(got.stdout), " "), want) {
			t.Errorf("the table lacks %q", want)
		}
	}
	if got.code != 3 || !strings.Contains(got.stderr, "findings") || !strings.Contains(got.stderr, "try: wal2vec audit --full --repair") {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	w.keepsSecrets(t, got.stdout+got.stderr)
}

// TestAuditChangesNothing: neither rows nor the slot. What it refuses changes nothing either.
func TestAuditChangesNothing(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t, 300)
	w.plant()
	footprint, shown := w.footprint(), w.shown()
	confirmed := "SELECT confirmed_flush_lsn::text || " +
		"(SELECT watermark::text || generations FROM wal2vec.pipeline) FROM pg_replication_slots WHERE slot_name = $1"
	before := pgtest.One[string](t, w.db, confirmed, "wal2vec_"+w.db.Name)
	w.audits(3, "--full")
	if left := w.footprint(); !slices.Equal(footprint, left) {
		t.Errorf("an audit changed the databases:\nbefore %s\nafter  %s", footprint, left)
	}
	if now := w.shown(); !maps.Equal(shown, now) {
		t.Errorf("an audit changed the view:\nbefore %v\nafter  %v", shown, now)
	}
	if now := pgtest.One[string](t, w.db, confirmed, "wal2vec_"+w.db.Name); now != before {
		t.Errorf("an audit moved slot or pipeline from %s to %s", before, now)
	}
	for _, args := range [][]string{{"--sample", "0"}, {"--reencode", "-1"}, {"--generation", "0"}, {"--restart"}, {"--full", "--sample", "5"}} {
		if got := w.ends(nil, "", append([]string{"audit"}, args...)...); got.code != 2 {
			t.Errorf("audit %v ended with exit code %d: %s", args, got.code, got.stderr)
		}
	}
}

// TestAuditEncodesAgainByTheModel: vectors that the real one made are near to what it makes now.
func TestAuditEncodesAgainByTheModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 60)
	w.env = append(w.env, "XDG_CACHE_HOME="+t.TempDir())
	w.run("init")
	w.run("backfill")
	r := w.audits(0, "--full", "--reencode", "60")
	w.wants(r)
	if r.Encoded < 30 || r.Cosine == nil || *r.Cosine < r.Bound || r.Bound < 0.995 {
		t.Errorf("the audit says %+v", r)
	}
	table := "wal2vec.vectors_" + w.db.Name + "_1"
	w.db.Exec(t, "UPDATE "+table+" SET embedding = (SELECT embedding FROM "+table+" WHERE product_id = 5) WHERE product_id = 6")
	w.wants(w.audits(3, "--full", "--reencode", "60"), "differs 6")
	w.wants(w.audits(0, "--full", "--reencode", "60", "--repair"), "differs 6")
}
