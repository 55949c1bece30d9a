package main

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// pair is a source table and what a pipeline made of it, for tables and servers of any kind.
type pair struct {
	pipeline string
	table    string // as SQL
	key      []string
}

// keyText is an expression for the whole key as one text.
func (p pair) keyText() string {
	parts := make([]string, len(p.key))
	for i, name := range p.key {
		parts[i] = pgx.Identifier{name}.Sanitize() + "::text"
	}
	return "json_build_array(" + strings.Join(parts, ", ") + ")::text"
}

// sourceTexts renders the live rows from an ordinary SELECT.
func (w *world) pairTexts(p pair) map[string]string {
	w.t.Helper()
	template, err := change.ParseTemplate("{name}. {brand}. {category}. {description}")
	if err != nil {
		w.t.Fatal(err)
	}
	texts := make(map[string]string)
	query := "SELECT json_build_array(" + p.keyText() + ", name, brand, category, description)::text FROM " + p.table + " WHERE deleted IS NOT TRUE"
	for _, row := range pgtest.Column[string](w.t, w.db, query) {
		var columns []*string
		if err := json.Unmarshal([]byte(row), &columns); err != nil {
			w.t.Fatal(err)
		}
		fields := make([]change.Field, len(columns)-1)
		for i, c := range columns[1:] {
			if c != nil {
				fields[i] = change.Field{Text: *c, State: change.FieldValue}
			}
		}
		if text := template.Render(fields); text != "" {
			texts[*columns[0]] = text
		}
	}
	return texts
}

// checkPair compares the sink with a fresh encoding of every live source row, and the slot with the
// watermark.
func (w *world) checkPair(p pair) {
	w.t.Helper()
	want := w.pairTexts(p)
	distinct := make(map[string]bool)
	var texts []string
	for _, text := range want {
		if !distinct[text] {
			distinct[text] = true
			texts = append(texts, text)
		}
	}
	fresh := w.encode(texts)
	table := pgtest.One[string](w.t, w.sink, "SELECT vector_table FROM wal2vec.generation WHERE state = 'active' AND pipeline = $1", p.pipeline)
	query := "SELECT json_build_array(" + p.keyText() + ", encode(text_hash, 'hex'), embedding::text)::text FROM wal2vec." + table
	seen := 0
	for _, row := range pgtest.Column[string](w.t, w.sink, query) {
		var columns [3]string
		if err := json.Unmarshal([]byte(row), &columns); err != nil {
			w.t.Fatal(err)
		}
		text, live := want[columns[0]]
		if !live {
			w.t.Errorf("%s: key %s has a vector and no live row", p.table, columns[0])
			continue
		}
		seen++
		w.checkVector(columns, text, fresh[text])
	}
	if seen != len(want) {
		w.t.Errorf("%s: %d of %d live rows have a vector", p.table, seen, len(want))
	}
	if live := pgtest.One[int](w.t, w.sink, "SELECT count(*)::int FROM wal2vec.ledger_"+p.pipeline+" WHERE NOT deleted"); live != len(want) {
		w.t.Errorf("%s: the ledger has %d live keys, the source %d live rows", p.table, live, len(want))
	}
	// The slot first: the watermark may move on in between, and is never behind.
	confirmed := pgtest.One[string](w.t, w.db, "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1", "wal2vec_"+p.pipeline)
	if pgtest.One[bool](w.t, w.sink, "SELECT watermark < $1::pg_lsn FROM wal2vec.pipeline WHERE name = $2", confirmed, p.pipeline) {
		w.t.Errorf("%s: the slot is confirmed beyond the watermark", p.table)
	}
}

// checkVector compares a row of the sink (key, hash, vector) with its text and the vector of that.
func (w *world) checkVector(row [3]string, text string, fresh []float32) {
	w.t.Helper()
	if hash := change.HashText(text).String(); hash != row[1] {
		w.t.Errorf("key %s has the vector of another text than %q", row[0], text)
		return
	}
	var got []float32
	if err := json.Unmarshal([]byte(row[2]), &got); err != nil {
		w.t.Fatal(err)
	}
	for i, v := range fresh {
		if math.Abs(float64(v-got[i])) > 1e-6 {
			w.t.Errorf("key %s: component %d is %g, encoded afresh %g", row[0], i, got[i], v)
			return
		}
	}
}

// result runs a command to its end, which must be a success, and reads the JSON that it prints.
func (w *world) result(to any, extra []string, args ...string) {
	w.t.Helper()
	got := w.ends(extra, "", args...)
	if got.code != 0 {
		w.t.Fatalf("%v ended with exit code %d:\n%s", args, got.code, got.stderr)
	}
	if err := json.Unmarshal([]byte(got.stdout), to); err != nil {
		w.t.Fatalf("%v printed no JSON: %v\n%s", args, err, got.stdout)
	}
}
