package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/models"
)

const labelled = "T: {name}. B: {brand} END"

// TestALabelIsLeftOutWithItsValue in stream, backfill, audit and config print alike; and a pipeline
// of an older version keeps its texts until another generation is built.
func TestALabelIsLeftOutWithItsValue(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, pgtest.ServerOf(t, major).Database(t), 0)
			w.env = append(w.env, wholeWeights) // as makeOlder
			w.env = append(w.env, "WAL2VEC_SOURCE_TEMPLATE="+labelled)
			w.db.Exec(t, "INSERT INTO "+product+" (product_id, name, brand) VALUES (1, 'tent', 'Alp'), (2, NULL, 'Alp'), (3, 'tent', NULL), (4, ' ', '')")
			w.run("init")
			w.run("backfill")
			w.hashes("text_hash", map[int]string{1: "T: tent. B: Alp END", 2: "B: Alp END", 3: "T: tent END"})
			w.checkPrintedRow()

			w.makeOlder()
			w.run("backfill")
			older := map[int]string{1: "T: tent. B: Alp END", 2: "T: Alp END", 3: "T: tent END"}
			w.hashes("text_hash", older)
			w.db.Exec(t, "INSERT INTO "+product+" (product_id, name, brand) VALUES (5, NULL, 'Moka')")
			ended := w.ends(nil, "", "stream", "--until-current")
			if ended.code != 0 || !strings.Contains(ended.stderr, "older version's rule") || !strings.Contains(ended.stderr, "generation build") {
				t.Errorf("a stream ends with %d: %s", ended.code, ended.stderr)
			}
			if f := w.finding("model.fingerprint"); !strings.Contains(f.Text, "older version's rule") {
				t.Errorf("doctor: %+v", f)
			}
			if said := w.run("generation", "list"); !strings.Contains(said, labelled+" (rule 1)") {
				t.Errorf("generation list:\n%s", said)
			}
			older[5] = "T: Moka END"
			w.hashes("text_hash", older)
			w.run("audit", "--full")

			if got := w.run("generation", "build", "--activate"); !strings.Contains(got, "2") {
				t.Errorf("build says %s", got)
			}
			w.db.Exec(t, "INSERT INTO "+product+" (product_id, name, brand) VALUES (6, NULL, 'Both')")
			if ended := w.ends(nil, "", "stream", "--until-current"); ended.code != 0 || strings.Contains(ended.stderr, "older version's rule") {
				t.Errorf("a stream ends with %d: %s", ended.code, ended.stderr)
			}
			older[6] = "T: Both END"
			w.hashes("text_hash", older)
			w.hashes("text_hash_2", map[int]string{1: "T: tent. B: Alp END", 2: "B: Alp END", 3: "T: tent END", 5: "B: Moka END", 6: "B: Both END"})
			w.run("audit", "--full")
			if f := w.finding("model.fingerprint"); strings.Contains(f.Text, "rule") {
				t.Errorf("doctor: %+v", f)
			}
			w.run("generation", "retire", "1", "--yes")
			w.run("audit", "--full")
		})
	}
}

// hashes compares the ledger's texts.
func (w *world) hashes(column string, want map[int]string) {
	w.t.Helper()
	for key, text := range want {
		got := pgtest.One[string](w.t, w.db, "SELECT encode("+column+", 'hex') FROM wal2vec.ledger_"+w.db.Name+" WHERE product_id = $1", key)
		if got != change.HashText(text).String() {
			w.t.Errorf("row %d has another text in %s than %q", key, column, text)
		}
	}
	rows := pgtest.One[int](w.t, w.db, "SELECT count(*)::int FROM wal2vec.ledger_"+w.db.Name+" WHERE NOT deleted")
	if rows != len(want) {
		w.t.Errorf("the ledger has %d rows, want %d", rows, len(want))
	}
}

// checkPrintedRow looks at what config print says of the row without a name, and of one that lacks
// nothing.
func (w *world) checkPrintedRow() {
	w.t.Helper()
	var row printedRow
	w.result(&row, nil, "config", "print", "--row", "2", "-o", "json")
	if *row.Text != "B: Alp END" || row.OlderText == nil || *row.OlderText != "T: Alp END" || fmt.Sprint(row.LeftOut) != "[{name T: {name}}]" {
		w.t.Errorf("config print --row: %+v", row)
	}
	said := w.ends(nil, "", "config", "print", "--row", "2")
	if said.stdout != "B: Alp END\n" || !strings.Contains(said.stderr, "left out: T: {name} (no value)\n") || !strings.Contains(said.stderr, ": T: Alp END\n") {
		w.t.Errorf("config print --row: %s%s", said.stdout, said.stderr)
	}
	row = printedRow{}
	w.result(&row, nil, "config", "print", "--row", "1", "-o", "json")
	if len(row.LeftOut) != 0 || row.OlderText != nil {
		w.t.Errorf("config print --row: %+v", row)
	}
}

// makeOlder makes the pipeline one that a version before labels set up.
func (w *world) makeOlder() {
	w.t.Helper()
	parts, err := connect.FindParts()
	if err != nil {
		w.t.Fatal(err)
	}
	checkpoint, err := engine.OpenCheckpoint(parts, config.Default())
	if err != nil {
		w.t.Fatal(err)
	}
	w.db.Exec(w.t, "UPDATE wal2vec.generation SET template_rule = 1, fingerprint = $1",
		models.TextFingerprint(checkpoint.Fingerprint(), checkpoint.PassagePrefix(), labelled, change.RuleLiterals))
}
