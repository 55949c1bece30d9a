package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/audit"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// interrupted does something each time before the watermark is asked for; n counts the times, from
// 1.
type interrupted struct {
	audit.Positions
	n      int
	before func(n int)
}

func (i *interrupted) Version(ctx context.Context) (change.Version, error) {
	i.n++
	i.before(i.n)
	return i.Positions.Version(ctx)
}

// auditsHere runs a full audit in this process and returns its findings, with what happens before
// each reading of the watermark: the audit begins with the first, the second is before a second
// look's SELECT, the third behind it.
func (w *world) auditsHere(before func(n int)) audit.Report {
	w.t.Helper()
	report, err := w.tryAudit(before)
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// tryAudit is auditsHere for an audit that may fail.
func (w *world) tryAudit(before func(n int)) (audit.Report, error) {
	w.t.Helper()
	p := &program{stdin: strings.NewReader(""), stdout: &lockedBuffer{}, stderr: &lockedBuffer{}}
	c, err := p.load()
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := audit.Open(w.t.Context(), c, audit.Settings{Opener: p.opener(c), Log: zerolog.Nop(), Full: true})
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Close(w.t.Context())
	ports := a.Ports(func(audit.Report) error { return nil })
	ports.Positions = &interrupted{Positions: a, before: before}
	return audit.New(ports, a.Options(), audit.Report{}).Run(w.t.Context())
}

// newAuditHere is a world that auditsHere finds in the environment.
func newAuditHere(t *testing.T, n int) *world {
	t.Helper()
	w := newAuditWorld(t, n, wholeWeights)
	for _, entry := range w.env[slices.Index(w.env, "WAL2VEC_SOURCE_DSN="+w.db.DSN)-1:] {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
	return w
}

// TestAuditLooksAgainAtWhatMoves: each change comes where it makes a row that was read differ from
// what the sink holds then.
func TestAuditLooksAgainAtWhatMoves(t *testing.T) { // not in parallel: the program in this process reads the environment
	w := newAuditHere(t, 300)
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	// Key 1 has the second look taken: its fault is one all along.
	w.db.Exec(t, "DELETE FROM wal2vec.vectors_"+w.db.Name+"_1 WHERE product_id = 1")
	// These are suspected, because the sink does not know them, and are well before the look ends.
	unknown := func() {
		w.db.Exec(t, "DELETE FROM wal2vec.ledger_"+w.db.Name+" WHERE product_id IN (11, 12, 13)")
		w.db.Exec(t, "DELETE FROM wal2vec.vectors_"+w.db.Name+"_1 WHERE product_id IN (11, 12, 13)")
	}
	for what, then := range map[string]string{
		"edits":   "UPDATE " + product + " SET name = 'moved on ' || random() WHERE product_id IN (11, 12, 13)",
		"deletes": "DELETE FROM " + product + " WHERE product_id IN (11, 12, 13)",
	} {
		t.Run(what, func(t *testing.T) {
			w.t = t
			unknown()
			var once sync.Once
			report := w.auditsHere(func(n int) {
				if n >= 3 { // behind the SELECT of the second look
					once.Do(func() {
						w.db.Exec(t, then)
						w.settle()
					})
				}
			})
			if len(report.Findings) != 1 || report.Findings[0].Key != "1" || report.Pending != 0 {
				t.Errorf("found %+v, %d pending", report.Findings, report.Pending)
			}
			w.db.Exec(t, "INSERT INTO "+product+" (product_id, name) VALUES (11, 'a'), (12, 'b'), (13, 'c') ON CONFLICT DO NOTHING")
			w.settle()
		})
	}
	t.Run("truncate", func(t *testing.T) {
		w.t = t
		unknown()
		// A TRUNCATE leaves the vector that the ledger does not know: it is met among the rows, and
		// once more among the vectors.
		w.db.Exec(t, "DELETE FROM wal2vec.ledger_"+w.db.Name+" WHERE product_id = 14")
		var once sync.Once
		report := w.auditsHere(func(n int) {
			if n >= 3 {
				once.Do(func() {
					w.db.Exec(t, "TRUNCATE "+product)
					w.settle()
				})
			}
		})
		if len(report.Findings) != 1 || report.Findings[0].Kind != audit.Orphan || report.Findings[0].Key != "14" || report.Pending != 0 {
			t.Errorf("found %+v, %d pending", report.Findings, report.Pending)
		}
		w.db.Exec(t, "DELETE FROM wal2vec.vectors_"+w.db.Name+"_1 WHERE product_id = 14")
	})
	w.t = t
	stream.stop()
}

// TestAuditBesideAResyncAndASwap: what was compared is of a history that is over, or of a table
// that no stream has followed yet.
func TestAuditBesideAResyncAndASwap(t *testing.T) { // not in parallel, as above
	w := newAuditHere(t, 110)
	report, err := w.tryAudit(func(n int) {
		if n == 2 { // at its end
			w.run("init", "--resync")
		}
	})
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "started again") {
		t.Errorf("beside a resync: %v, found %+v", err, report.Findings)
	}
	// What the refresh has yet to come to is its to repair.
	w.db.Exec(t, "DELETE FROM wal2vec.vectors_"+w.db.Name+"_1 WHERE product_id = 7")
	if report = w.auditsHere(func(int) {}); len(report.Findings) != 0 || report.Pending != 1 {
		t.Errorf("before a refresh: found %+v, %d pending", report.Findings, report.Pending)
	}
	w.run("backfill")
	if report = w.auditsHere(func(int) {}); len(report.Findings) != 0 || report.Pending != 0 {
		t.Errorf("behind a refresh: found %+v, %d pending", report.Findings, report.Pending)
	}
	report, err = w.tryAudit(func(n int) {
		if n == 1 {
			w.db.Exec(t, `CREATE TABLE staging_marts.next (LIKE staging_marts.dim_product INCLUDING ALL);
				INSERT INTO staging_marts.next (product_id, name) SELECT g, 'new ' || g FROM generate_series(5, 40) AS g;
				ALTER TABLE staging_marts.dim_product RENAME TO before; ALTER TABLE staging_marts.next RENAME TO dim_product`)
		}
	})
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "was replaced") || len(report.Findings) != 0 {
		t.Errorf("beside a swap: %v, found %+v", err, report.Findings)
	}
}

// TestAuditOfHardKeys: keys of several columns that sort differently on two servers.
func TestAuditOfHardKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.sink = pgtest.SinkDatabase(t)
	w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.sink.DSN, "WAL2VEC_PIPELINE=audited_lines", "WAL2VEC_BACKFILL_CHUNK_KEYS=4", "XDG_CACHE_HOME="+t.TempDir(),
		"WAL2VEC_SOURCE_TABLE=public.line", "WAL2VEC_SOURCE_KEY=sku,shop,id")
	collation := "C"
	if pgtest.One[bool](t, w.db, "SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu')") {
		collation = "und-x-icu"
	}
	t.Logf("the source sorts by %s, the sink by %s", collation,
		pgtest.One[string](t, w.sink, "SELECT datcollate FROM pg_database WHERE datname = current_database()"))
	w.db.Exec(t, `CREATE TABLE public.line (sku text COLLATE "`+collation+`", shop bigint, id uuid, name text, brand text, category text,
		description text, deleted boolean, PRIMARY KEY (sku, shop, id))`)
	for i, sku := range []string{"", "a", "B", "ä", "Z", "z", "a,b", `"`, `\`, "{x}", "NULL", "灯", " ", "a\tb", "é", "e\u0301", "z"} {
		insert := "INSERT INTO public.line (sku, shop, id, name) VALUES ($1, $2, gen_random_uuid(), 'line ' || $1)"
		w.db.Exec(t, insert, sku, int64(1)<<62-int64(i))
	}
	w.run("init")
	w.run("backfill")
	w.wants(w.audits(0, "--full"))
	w.wants(w.audits(0))
	w.start(nil, "stream").waitFor("streaming")
	w.wants(w.audits(0, "--full"))
	w.sink.Exec(t, "DELETE FROM wal2vec.vectors_audited_lines_1 WHERE sku = 'ä'")
	w.sink.Exec(t, "INSERT INTO wal2vec.vectors_audited_lines_1 SELECT 'gone', shop, id, text_hash, embedding FROM wal2vec.vectors_audited_lines_1 WHERE sku = 'B'")
	r := w.audits(3, "--full")
	if len(r.Findings) != 2 || r.Findings[0].Key[0] != "ä" || r.Findings[1].Key[0] != "gone" || r.Findings[1].Key[1] != "4611686018427387902" {
		t.Errorf("found %+v", r.Findings)
	}
	r = w.audits(0, "--full", "--repair")
	if r.Found != 2 || r.Left != 0 {
		t.Errorf("found %+v", r.Findings)
	}
	w.wants(w.audits(0, "--full"))
}
