package main

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// brandTemplate reads a column that the default template does not, and gives some rows no text.
const brandTemplate = "Made by {brand} at {price}"

// checkBrands compares a generation of brandTemplate with the source.
func (w *world) checkBrands(id int) {
	w.t.Helper()
	want := make(map[string]string)
	var texts []string
	seen := make(map[string]bool)
	rows := pgtest.Column[string](w.t, w.db, `SELECT product_id || '|' || CASE WHEN btrim(brand) <> '' AND price IS NOT NULL THEN 'Made by ' || btrim(brand) || ' at ' || price
		WHEN btrim(brand) <> '' THEN 'Made by ' || btrim(brand) ELSE coalesce('at ' || price, '') END FROM staging_marts.dim_product WHERE NOT deleted`)
	for _, row := range rows {
		key, text, _ := strings.Cut(row, "|")
		if text == "" {
			continue
		}
		want[key] = text
		if !seen[text] {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	w.checkTable(pgtest.One[string](w.t, w.sink, "SELECT vector_table FROM wal2vec.generation WHERE id = $1", id), want, w.encode(texts))
}

// TestATemplateIsChangedBesideARunningStream: the new one reads another column, and rows have a
// text by one of them only.
func TestATemplateIsChangedBesideARunningStream(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 60)
	w.db.Exec(t, "UPDATE "+product+" SET name = NULL, brand = NULL, category = NULL, description = NULL WHERE product_id = 5")
	w.db.Exec(t, "UPDATE "+product+" SET brand = NULL, price = NULL WHERE product_id IN (6, 7)")
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.start([]string{"FAILPOINT=backfill_committed:2"}, "generation", "build", "--template", brandTemplate).mustBeKilled()
	w.write(1)
	w.run("generation", "build", "--template", brandTemplate)
	w.write(2)
	w.db.Exec(t, "UPDATE "+product+" SET brand = 'late' WHERE product_id = 6; UPDATE "+product+" SET price = NULL, brand = '' WHERE product_id = 8")
	w.settle()
	w.checkGeneration(1)
	w.checkBrands(2)
	if !stream.output.contains("read other columns") {
		t.Errorf("the stream did not notice:\n%s", stream.output)
	}
	w.refuses(t, refusal{
		args: []string{"generation", "build"}, env: set(map[string]string{"source.template": "{colour}"}), code: 2, says: []string{"colour"}, try: "configuration",
	})
	w.run("generation", "activate", "2")
	w.write(3)
	w.settle()
	w.checkBrands(2)
	w.checkGeneration(1)
	w.run("backfill") // by the configuration of the first template, for both
	w.checkBrands(2)
	warning := "set encoder.model: "
	if got := w.ends(nil, "", "generation", "retire", "1"); got.code != 2 || !strings.Contains(got.stderr, warning) {
		t.Errorf("exit code %d before a retirement:\n%s", got.code, got.stderr)
	}
	if got := w.ends(nil, "", "generation", "retire", "1", "--yes"); got.code != 0 || !strings.Contains(got.stderr, warning) {
		t.Errorf("exit code %d of a retirement:\n%s", got.code, got.stderr)
	}
	w.write(4)
	w.settle()
	w.checkBrands(2)
	w.refuses(t, refusal{args: []string{"backfill"}, code: 7, says: []string{brandTemplate, "{name}. {brand}"}, try: "set source.template: \"" + brandTemplate + "\", or make a generation of the other: wal2vec generation build"})
	stream.stop()
	w.env = append(w.env, set(map[string]string{"source.template": brandTemplate})...)
	w.run("stream", "--until-current")
	w.db.Exec(t, "TRUNCATE "+product)
	w.run("stream", "--until-current")
	w.checkBrands(2)
	var status map[string]any
	w.result(&status, nil, "status", "-o", "json")
	if status["rows_live"] != 0.0 || status["generation"] != 2.0 {
		t.Errorf("status %v", status)
	}
}

// TestATextLeftOutOfTheLogIsReadForEveryTemplate: the value is TOASTed, only the new template reads
// it, and an update does not touch it.
func TestATextLeftOutOfTheLogIsReadForEveryTemplate(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 12)
	w.db.Exec(t, "ALTER TABLE "+product+" ADD COLUMN notes text; ALTER TABLE "+product+" ALTER notes SET STORAGE EXTERNAL")
	w.db.Exec(t, "UPDATE "+product+" SET notes = repeat('long, ', 2000) || product_id WHERE product_id < 5")
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.run("generation", "build", "--template", "{name} {notes}")
	w.db.Exec(t, "UPDATE "+product+" SET name = 'renamed ' || product_id WHERE product_id < 3; UPDATE "+product+" SET price = price + 1 WHERE product_id = 4")
	w.settle()
	stream.stop()
	w.check()
	for _, row := range pgtest.Column[string](t, w.db, "SELECT encode(v.text_hash, 'hex') || '|' || concat_ws(' ', p.name, p.notes) FROM "+product+" AS p LEFT JOIN wal2vec.vectors_"+w.db.Name+"_2 AS v USING (product_id)") {
		hash, text, _ := strings.Cut(row, "|")
		if hash != change.HashText(text).String() {
			t.Errorf("a vector of another text than %.20q", text)
		}
	}
}
