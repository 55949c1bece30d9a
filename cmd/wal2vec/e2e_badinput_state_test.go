package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// anotherModel makes a checkpoint that differs in its longest text only, and so has another
// fingerprint.
func anotherModel(t *testing.T) string {
	t.Helper()
	parts, err := pgtest.Parts()
	if err != nil {
		t.Fatal(err)
	}
	from, to := filepath.Join(parts, "model", "all-MiniLM-L6-v2"), filepath.Join(t.TempDir(), "another")
	if err := os.CopyFS(filepath.Join(to, "1_Pooling"), os.DirFS(filepath.Join(from, "1_Pooling"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.json", "modules.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"} {
		if err := os.Symlink(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(to, "sentence_bert_config.json"), []byte(`{"max_seq_length": 128, "do_lower_case": false}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestCommandsRefuseWhatDoesNotFitThePipeline: after init, with a stream running and without.
func TestCommandsRefuseWhatDoesNotFitThePipeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	slot := "wal2vec_" + w.db.Name
	w.run("init")
	w.run("backfill")
	refuse := func(rs []refusal) {
		for _, r := range rs {
			t.Run(r.name, func(t *testing.T) { w.refuses(t, r) })
		}
		w.t = t
	}

	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	refuse([]refusal{
		{
			name: "slot in use", args: []string{"stream"}, env: []string{"WAL2VEC_SOURCE_SLOT_WAIT=200ms"},
			code: 4, says: []string{slot, "active for PID", "(wal2vec/" + slot + ", role "}, try: "stop the process",
		},
		{name: "resync beside a stream", args: []string{"init", "--resync"}, code: 4, says: []string{slot, "process", "(wal2vec/" + slot + ", role "}, try: "stop the process"},
		{name: "teardown beside a stream", args: []string{"teardown", "--yes"}, code: 4, says: []string{slot, "in use by process", "(wal2vec/" + slot + ", role "}, try: "stop the process"},
	})
	stream.stop()

	template, model := set(map[string]string{"source.template": "{name}"}), set(map[string]string{"encoder.model": anotherModel(t)})
	swap := "ALTER TABLE staging_marts.dim_product RENAME TO kept; CREATE TABLE staging_marts.dim_product (LIKE staging_marts.kept INCLUDING ALL)"
	back := "DROP TABLE staging_marts.dim_product; ALTER TABLE staging_marts.kept RENAME TO dim_product"
	refuse([]refusal{
		{name: "template: init", args: []string{"init"}, env: template, code: 7, says: []string{"{name}. {brand}", `"{name}"`}, try: "template"},
		{name: "template: stream", args: []string{"stream"}, env: template, code: 7, says: []string{"{name}. {brand}", `"{name}"`}, try: "source.template"},
		{name: "template: backfill", args: []string{"backfill"}, env: template, code: 7, says: []string{"{name}. {brand}", `"{name}"`}, try: "source.template"},
		{name: "template: search", args: []string{"search", "x"}, env: template, code: 7, says: []string{"{name}. {brand}", `"{name}"`}, try: "source.template"},
		{name: "model: init", args: []string{"init"}, env: model, code: 7, says: []string{"all-MiniLM-L6-v2", "another"}, try: "model"},
		{name: "model: stream", args: []string{"stream"}, env: model, code: 7, says: []string{"all-MiniLM-L6-v2", "another"}, try: "encoder.model"},
		{name: "model: backfill", args: []string{"backfill"}, env: model, code: 7, says: []string{"all-MiniLM-L6-v2", "another"}, try: "encoder.model"},
		{name: "model: search", args: []string{"search", "x"}, env: model, code: 7, says: []string{"all-MiniLM-L6-v2", "another"}, try: "encoder.model"},
		{name: "storage", args: []string{"init"}, env: set(map[string]string{"sink.storage": "halfvec"}), code: 2, says: []string{"vector", "halfvec"}, try: "vector"},
		{name: "another pipeline: stream", args: []string{"stream"}, env: set(map[string]string{"pipeline": "other"}), code: 2, says: []string{`"other"`}, try: "wal2vec init"},
		{name: "another pipeline in the same view", args: []string{"init"}, env: set(map[string]string{"pipeline": "other"}), code: 2, says: []string{"analytics_features.product_embeddings", "view of pipeline", w.db.Name}, try: "another name: sink.view"},
		{name: "another slot", args: []string{"stream"}, env: set(map[string]string{"source.slot": "mine"}), code: 2, says: []string{slot, `"mine"`}, try: "source.slot"},
		{
			name: "another table", args: []string{"stream"}, env: set(map[string]string{"source.table": "staging_marts.other"}), code: 2,
			before: "CREATE TABLE staging_marts.other (LIKE staging_marts.dim_product INCLUDING ALL)", after: "DROP TABLE staging_marts.other",
			says: []string{"staging_marts.dim_product", "staging_marts.other"}, try: "source.table",
		},
		{name: "a newer schema", args: []string{"stream"}, before: "INSERT INTO wal2vec.schema_version (version, name) VALUES (99, 'later')", code: 2, says: []string{"wal2vec", "99"}, try: "newer"},
		{name: "a newer schema: init", args: []string{"init"}, after: "DELETE FROM wal2vec.schema_version WHERE version = 99", code: 2, says: []string{"wal2vec", "99"}, try: "newer"},
		{name: "unknown column", args: []string{"search", "x", "--columns", "name,colour"}, code: 2, says: []string{"colour"}, try: "--columns"},
		{name: "unknown column in a filter", args: []string{"search", "x", "--filter", "colour=red"}, code: 2, says: []string{"colour"}, try: "--filter"},
		{name: "filter of another type", args: []string{"search", "x", "--filter", "price<cheap"}, code: 2, says: []string{"numeric", "cheap"}, try: "type"},
		{name: "min-lsn never comes", args: []string{"search", "x", "--min-lsn", "FFFF/0", "--wait", "100ms"}, code: 5, says: []string{"FFFF/0", "100ms"}, try: "wal2vec status"},
		{
			name: "address taken", args: []string{"stream"}, env: []string{fmt.Sprintf("WAL2VEC_HTTP_LISTEN=127.0.0.1:%d", w.db.Host.Port())},
			code: 5, says: []string{"127.0.0.1", "address already in use"}, try: "http.listen",
		},
		{name: "swapped table: stream", args: []string{"stream"}, env: []string{refuseSwaps}, before: swap, code: 6, says: []string{"staging_marts.dim_product", "replaced"}, try: "wal2vec init --resync"},
		{name: "swapped table: backfill that would follow", args: []string{"backfill"}, code: 6, says: []string{"staging_marts.dim_product", "replaced"}, try: "wal2vec stream"},
		{name: "swapped table: backfill", args: []string{"backfill"}, env: []string{refuseSwaps}, after: back, code: 6, says: []string{"staging_marts.dim_product", "replaced"}, try: "wal2vec init --resync"},
		{name: "publication dropped", args: []string{"stream"}, before: "DROP PUBLICATION " + slot, code: 6, says: []string{"publication", slot}, try: "wal2vec init --resync"},
		{name: "slot dropped: stream", args: []string{"stream"}, before: "SELECT pg_drop_replication_slot('" + slot + "')", code: 6, says: []string{"slot", slot, "does not exist"}, try: "wal2vec init --resync"},
		{name: "slot dropped: until current", args: []string{"stream", "--until-current"}, code: 6, says: []string{"slot", slot, "does not exist"}, try: "wal2vec init --resync"},
		{name: "slot dropped: backfill", args: []string{"backfill"}, code: 6, says: []string{"slot", slot, "does not exist"}, try: "wal2vec init --resync"},
	})

	// The advice that was given last repairs everything.
	w.run("init", "--resync")
	w.run("backfill")
	w.run("stream", "--until-current")
	w.check()
	w.run("teardown", "--yes")
	for _, left := range w.footprint() {
		if pgtest.One[bool](t, w.db, "SELECT $1 ~ 'wal2vec|product_embeddings'", left) {
			t.Errorf("teardown left %s", left)
		}
	}
}
