package arch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestRepositoryKeepsItsRules(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	sources, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) < 20 {
		t.Fatalf("found only %d Go files", len(sources))
	}
	for _, wrong := range check(sources) {
		t.Error(wrong)
	}
}

// TestEachRuleCanFail shows every rule one file that breaks it and one that does not.
func TestEachRuleCanFail(t *testing.T) {
	t.Parallel()
	f := func(name, code, want string) {
		t.Helper()
		root := fstest.MapFS{name: {Data: []byte(code)}}
		if dir := filepath.Dir(name); strings.HasSuffix(name, "_test.go") {
			root[dir+"/doc.go"] = &fstest.MapFile{Data: []byte("// Package p is here.\npackage p\n")}
			root[dir+"/a.go"] = &fstest.MapFile{Data: []byte("package p\n")}
		}
		sources, err := load(root)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(check(sources), "\n"); got != want {
			t.Errorf("%s with %.60q:\n got %q\nwant %q", name, code, got, want)
		}
	}
	imports := func(path string) string {
		return fmt.Sprintf("// Package p is here.\npackage p\n\nimport _ %q\n", path)
	}
	own := func(path string) string { return imports(module + path) }

	many := fstest.MapFS{}
	for i := range 11 {
		many[fmt.Sprintf("cmd/wal2vec/a%d.go", i)] = &fstest.MapFile{Data: []byte("// Package p is here.\npackage p\n" + strings.Repeat("//\n", 460))}
	}
	sources, err := load(many)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(check(sources), "\n"); !strings.HasPrefix(got, "cmd/wal2vec: 5082 lines, at most 5000") {
		t.Errorf("a large program: %q", got)
	}
	f("sink/a.go", own("internal/change"), "")
	f("sink/a.go", own("replication"), "sink/a.go: rank 2 imports replication of rank 2")
	f("internal/change/a.go", own("sink"), "internal/change/a.go: rank 0 imports sink of rank 2")
	f("sink/a_test.go", own("replication"), "")
	f("sink/a_topic_test.go", "package p\n", "")
	f("sink/sink_test.go", "package p\n", "")
	f("sink/e2e_topic_test.go", "package p\n", "")
	f("sink/topic_test.go", "package p\n", "sink/topic_test.go: is named after no file of its package")
	f("sink/another_test.go", "package p\n", "sink/another_test.go: is named after no file of its package")
	f("encoder/ort/a.go", own("encoder"), "")
	f("encoder/a.go", own("encoder/ort"), "encoder/a.go: rank 2 imports encoder/ort of rank 2")
	f("replication/rows/a.go", own("replication"), "replication/rows/a.go: rank 2 imports replication of rank 2")
	f("internal/pipeline/a.go", own("internal/test/pgtest"), "internal/pipeline/a.go: imports internal/test/pgtest, which is for tests")
	f("internal/pipeline/a_test.go", own("internal/test/pgtest"), "")
	f("internal/pipeline/a.go", own("replication/rows"), "internal/pipeline/a.go: imports replication/rows, which it is to know by a port of its own")
	f("internal/pipeline/a.go", own("internal/protocol"), "")
	f("sink/a.go", "// Package p is here.\npackage p\n\n// "+strings.Repeat("word ", 20)+"\n", "sink/a.go:4: a comment of 103 columns, at most 100")
	f("sink/a.go", "// Package p is here.\npackage p\n\n// "+strings.Repeat("word ", 19)+"\n", "")
	f("sink/a.go", "// Package p is here.\npackage p\n\n//  "+strings.Repeat("code ", 30)+"\n// "+strings.Repeat("w", 150)+"\n", "")
	f("internal/setup/a.go", imports("github.com/spf13/cobra"), "internal/setup/a.go: imports github.com/spf13/cobra, which only [cmd/wal2vec] may")
	f("internal/engine/a.go", own("encoder/encodertest"), "")
	f("encoder/encodertest/a.go", own("encoder"), "")
	f("internal/fault/a.go", imports("github.com/jackc/pgx/v5/pgconn"), "")
	f("internal/change/a.go", imports("github.com/jackc/pgx/v5/pgconn"),
		"internal/change/a.go: imports github.com/jackc/pgx/v5/pgconn; rank 0 uses the standard library")
	f("internal/change/a.go", imports("encoding/json"), "")
	f("encoder/a.go", imports("github.com/yalue/onnxruntime_go"),
		"encoder/a.go: imports github.com/yalue/onnxruntime_go, which only [encoder/ort] may")
	f("encoder/ort/a.go", imports("github.com/yalue/onnxruntime_go"), "")
	f("sink/a.go", imports("C"), "sink/a.go: imports C, which only [encoder/ort] may")
	f("internal/api/a.go", imports("net/http/pprof"), "internal/api/a.go: imports net/http/pprof, which only [] may")
	f("internal/api/a.go", imports("expvar"), "internal/api/a.go: imports expvar, which only [] may")
	f("util/a.go", imports("os"), "util: has no rank in internal/test/arch")
	f("sink/a.go", "package sink\n", "sink: has no package comment")
}

func TestSizesCanFail(t *testing.T) {
	t.Parallel()
	f := func(name, body, want string) {
		t.Helper()
		head, rest, _ := strings.Cut(body, "package:")
		if rest == "" {
			head, rest = "// Package p is here.\n", body
		}
		s, err := parse(name, []byte(head+"package p\n"+rest))
		if err != nil {
			t.Fatal(err)
		}
		var c checker
		c.size(s)
		c.habits(s)
		if got := strings.Join(c.wrong, "\n"); got != want {
			t.Errorf("%s with %.60q:\n got %q\nwant %q", name, body, got, want)
		}
	}
	blank := func(n int) string { return strings.Repeat("\n", n) }
	f("sink/a.go", blank(498), "")
	f("sink/a.go", blank(499), "sink/a.go: 501 lines, at most 500")
	f("sink/a.go", "// Code generated by hand. DO NOT EDIT.\n\npackage:"+blank(600), "")
	f("sink/a_test.go", blank(798), "")
	f("sink/a_test.go", blank(799), "sink/a_test.go: 801 lines, at most 800")
	f("sink/a.go", "func f() {"+blank(79)+"}\n", "")
	f("sink/a.go", "func f() {"+blank(80)+"}\n", "sink/a.go: f has 81 lines, at most 80")
	f("sink/a.go", "func f(ctx context.Context, a, b, c, d int, e string) {}\n", "")
	f("sink/a.go", "func f(a, b, c, d int, e, g string) {}\n", "sink/a.go: f has 6 parameters, at most 5")
	f("sink/a_test.go", "func f(t *testing.T, a, b, c, d, e int) { time.Sleep(1) }\n", "sink/a_test.go:3: a test sleeps; wait for the event")
	f("sink/a.go", "func f() { time.Sleep(1) }\n", "")
	f("sink/a_test.go", "func f(t *testing.T) { t.Skip() }\n", "sink/a_test.go:3: a test skips; it must run or fail")
	f("sink/a.go", "const q = `SELECT 1\nFROM t`\n", "sink/a.go:3: SQL of several lines belongs into sql/queries")
	f("sink/a.go", "const q = `SELECT 1 FROM t`\n", "")
	f("sink/a.go", "const q = `With love,\nus`\n", "")
}
