package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadConfigurationIsRefused: what can be told without a database.
func TestBadConfigurationIsRefused(t *testing.T) { //nolint:tparallel // short processes, one at a time
	t.Parallel()
	w := newProgram(t)
	file := func(name, content string) string {
		path := filepath.Join(w.dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	typo := file("typo.yaml", "source:\n  tabel: shop.product\n")
	broken := file("broken.yaml", "source: [\n")
	dsn := []string{"WAL2VEC_SOURCE_DSN=postgres://alice:" + hunter + "@127.0.0.1:1/shop"}
	for _, r := range []refusal{
		{name: "no source", args: []string{"init"}, code: 2, says: []string{"no source database"}, try: "WAL2VEC_SOURCE_DSN"},
		{
			name: "unparsable URL", args: []string{"init"}, env: []string{"WAL2VEC_SOURCE_DSN=postgres://alice:" + hunter + "@db:port/shop"},
			code: 2, says: []string{"source.dsn"}, try: "postgres://",
		},
		{
			name: "unparsable pairs", args: []string{"stream"}, env: []string{"WAL2VEC_SOURCE_DSN=host=db password='" + hunter},
			code: 2, says: []string{"source.dsn"}, try: "config reference",
		},
		{
			name: "a password only", args: []string{"status"}, env: []string{"WAL2VEC_SOURCE_DSN=" + hunter},
			code: 2, says: []string{"source.dsn"}, try: "config reference",
		},
		{name: "refused port", args: []string{"init"}, env: dsn, code: 5, says: []string{"source", "127.0.0.1"}, try: "source.dsn"},
		{name: "refused port, status", args: []string{"status"}, env: dsn, code: 5, says: []string{"source", "127.0.0.1"}, try: "source.dsn"},
		{name: "refused port, stream", args: []string{"stream"}, env: dsn, code: 5, says: []string{"source", "127.0.0.1"}, try: "source.dsn"},
		{name: "refused port, backfill", args: []string{"backfill"}, env: dsn, code: 5, says: []string{"source", "127.0.0.1"}, try: "source.dsn"},
		{name: "refused port, search", args: []string{"search", "x"}, env: dsn, code: 5, says: []string{"source", "127.0.0.1"}, try: "source.dsn"},
		{name: "unknown key in YAML", args: []string{"init", "--config", typo}, code: 2, says: []string{"source.tabel", "source.table", "typo.yaml"}, try: "config reference"},
		{name: "no YAML", args: []string{"init", "--config", broken}, code: 2, says: []string{"broken.yaml:1"}, try: "config reference"},
		{name: "no file", args: []string{"init", "--config", "gone.yaml"}, code: 2, says: []string{"gone.yaml"}, try: "readable"},
		{
			name: "unknown key in the environment", args: []string{"init"}, env: []string{"WAL2VEC_TYPO=1"},
			code: 2, says: []string{"WAL2VEC_TYPO"}, try: "config reference",
		},
		{name: "every role", args: []string{"init", "--grant-search", "public"}, code: 2, says: []string{`"public"`}, try: "--grant-search=ROLE"},
		{name: "no role", args: []string{"init", "--grant-stream="}, code: 2, says: []string{`""`}, try: "--grant-stream=ROLE"},
		{name: "no role to swap", args: []string{"init", "--swap-role="}, code: 2, says: []string{`""`}, try: "--swap-role=ROLE"},
		{name: "two roles to swap", args: []string{"init", "--swap-role=a", "--swap-role=b"}, code: 2, says: []string{"2 roles"}, try: "once"},
		{name: "unknown flag", args: []string{"init", "--tabel", "x"}, code: 2, says: []string{"--tabel"}, try: "--help"},
		{name: "unknown command", args: []string{"initt"}, code: 2, says: []string{"initt"}, try: "wal2vec init"},
		{name: "unknown subcommand", args: []string{"models", "lst"}, code: 2, says: []string{"lst"}, try: "wal2vec models list"},
		{name: "too many arguments", args: []string{"init", "now"}, code: 2, says: []string{"now"}, try: "wal2vec init --help"},
		{name: "nothing to search for", args: []string{"search"}, code: 2, says: []string{"search"}, try: "wal2vec search --help"},
		{name: "unknown setting", args: []string{"init", "--set", "source.tabel=x"}, code: 2, says: []string{"source.tabel", "source.table"}, try: "config reference"},
		{name: "no equals sign", args: []string{"init", "--set", "source.table"}, code: 2, says: []string{"source.table"}, try: "--set source.table="},
		{name: "bad template", args: []string{"init"}, env: set(map[string]string{"source.template": "{name"}), code: 2, says: []string{"source.template", "{name"}, try: "config reference"},
		{name: "template without a column", args: []string{"init"}, env: set(map[string]string{"source.template": "name"}), code: 2, says: []string{"source.template"}, try: "config reference"},
		{name: "bad pipeline", args: []string{"init"}, env: set(map[string]string{"pipeline": "My Shop"}), code: 2, says: []string{"pipeline", "My Shop"}, try: "config reference"},
		{name: "table without schema", args: []string{"init"}, env: set(map[string]string{"source.table": "product"}), code: 2, says: []string{"source.table", "product"}, try: "config reference"},
		{
			name: "two faults", args: []string{"init", "--device", "gpu"}, env: set(map[string]string{"stream.max_rows": "many"}),
			code: 2, says: []string{"2 faults", "gpu", "many", "stream.max_rows"}, try: "config reference",
		},
		{name: "bad form", args: []string{"status", "-o", "xml"}, code: 2, says: []string{"xml"}, try: "-o json"},
		{name: "full and incremental", args: []string{"backfill", "--full", "--incremental"}, code: 2, says: []string{"--full and --incremental"}, try: "wal2vec backfill --help"},
		{name: "limit 0", args: []string{"backfill", "--limit", "0"}, env: dsn, code: 2, says: []string{"--limit"}, try: "leave --limit out"},
		{name: "limit in words", args: []string{"backfill", "--limit", "ten"}, env: dsn, code: 2, says: []string{"ten", "--limit"}, try: "--help"},
		{name: "k 0", args: []string{"search", "x", "-k", "0"}, env: dsn, code: 2, says: []string{"-k"}, try: "-k 10"},
		{name: "filter without operator", args: []string{"search", "x", "--filter", "price"}, env: dsn, code: 2, says: []string{"price"}, try: "--filter"},
		{name: "filter without column", args: []string{"search", "x", "--filter", "<3"}, env: dsn, code: 2, says: []string{"<3"}, try: "--filter"},
		{name: "min-lsn is nonsense", args: []string{"search", "x", "--min-lsn", "yesterday"}, env: dsn, code: 2, says: []string{"yesterday"}, try: "--min-lsn"},
		{name: "teardown without yes", args: []string{"teardown"}, env: dsn, code: 2, says: []string{"product_embeddings"}, try: "--yes"},
		{name: "key of two parts", args: []string{"config", "print", "--row", "1,2"}, env: append(dsn, "WAL2VEC_SOURCE_KEY=a,b,c"), code: 2, says: []string{"1,2"}, try: "commas"},
		{name: "unknown model", args: []string{"encode"}, env: set(map[string]string{"encoder.model": "all-MaxiLM"}), code: 2, says: []string{"all-MaxiLM"}, try: "encoder.model"},
		{name: "another dimension", args: []string{"encode"}, env: []string{"ML_EMBEDDING_DIMENSION=768"}, code: 2, says: []string{"768", "384"}, try: "encoder.dimension"},
		{name: "no parts", args: []string{"encode"}, env: []string{"WAL2VEC_HOME=" + w.dir}, code: 2, says: []string{"WAL2VEC_HOME", w.dir}, try: "make parts"},
		{name: "no such host", args: []string{"init", "--source", "host=/nowhere user=alice password=" + hunter}, code: 5, says: []string{"/nowhere"}, try: "source.dsn"},
		{name: "no CUDA here", args: []string{"encode", "--device", "cuda"}, code: 2, says: []string{"cuda"}, try: "device"},
		{name: "no CoreML here", args: []string{"encode", "--device", "mps"}, code: 2, says: []string{"coreml"}, try: "device"},
	} {
		t.Run(r.name, func(t *testing.T) { w.refuses(t, r) })
	}
}

// TestEncodeTakesAnyBytes: what a pipe brings is encoded, whatever it is.
func TestEncodeTakesAnyBytes(t *testing.T) {
	t.Parallel()
	w := newProgram(t)
	lines := []string{"a lamp", "", "a\x00lamp", "\xff\xfe broken \xc3", strings.Repeat("long ", 5000), "Ünïcode 灯 🛋", "a lamp"}
	got := w.ends(nil, strings.Join(lines, "\n")+"\r\n", "encode")
	if got.code != 0 || withoutLog(got.stderr) != "" {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	vectors := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if len(vectors) != len(lines) {
		t.Fatalf("%d vectors for %d lines", len(vectors), len(lines))
	}
	if vectors[0] != vectors[6] || vectors[0] == vectors[1] || vectors[3] == vectors[1] {
		t.Errorf("the vectors do not belong to their lines: 0 and 6 equal %t, 0 and 1 %t, 3 and 1 %t",
			vectors[0] == vectors[6], vectors[0] == vectors[1], vectors[3] == vectors[1])
	}
	for i, v := range vectors {
		if strings.Count(v, ",") != 383 {
			t.Errorf("line %d has %d components", i, strings.Count(v, ",")+1)
		}
	}
}
