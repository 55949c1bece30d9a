package bench

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/demodata"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

func TestEditsAreOfOtherRowsEachRun(t *testing.T) {
	t.Parallel()
	keys := []int64{3, 5, 7, 9, 11, 13, 15, 17, 19, 21}
	seen := make(map[int64]bool)
	for run := range 5 {
		some := someOf(keys, 2, run)
		for _, key := range some {
			if seen[key] {
				t.Errorf("run %d edits row %d again", run, key)
			}
			seen[key] = true
		}
	}
	if all := someOf(keys, len(keys), 3); len(seen) != len(keys) || !slices.Equal(slices.Sorted(slices.Values(all)), keys) {
		t.Errorf("rows %v in runs of 2, %v in one of all", seen, all)
	}
}

func TestQueriesAreDistinctAndShort(t *testing.T) {
	t.Parallel()
	const n = 500
	texts, err := Options{Rows: 10}.queryTexts(n)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, text := range texts {
		if words := len(strings.Fields(text)); words < fewestQueryWords || words > mostQueryWords {
			t.Errorf("%q has %d words", text, words)
		}
		seen[text] = true
	}
	if len(seen) != n {
		t.Errorf("%d different queries, want %d", len(seen), n)
	}
	// A row that comes eight times makes a query of each length, and eight more make none.
	row := demodata.At(1, 1)
	row.Description = "one two three four five six seven eight nine ten eleven"
	one, more := slices.Repeat([]demodata.Product{row}, 8), slices.Repeat([]demodata.Product{row}, 16)
	_, few := Options{Data: pgtest.ProductFile(t, one...)}.queryTexts(n)
	_, many := Options{Data: pgtest.ProductFile(t, more...)}.queryTexts(n)
	made := func(err error) string {
		if err == nil {
			t.Fatal("more queries than the data makes are no error")
		}
		_, count, _ := strings.Cut(err.Error(), " makes ")
		return count
	}
	if x, y := made(few), made(many); x != y || !strings.HasSuffix(x, "queries, not 500") {
		t.Errorf("%q of 8 rows, %q of 16 equal ones", x, y)
	}
}

func TestMedianAndLowest(t *testing.T) {
	t.Parallel()
	f := func(numbers []float64, wantMedian, wantLowest float64) {
		t.Helper()
		if m, l := median(numbers), lowest(numbers, 0.3); m != wantMedian || l != wantLowest {
			t.Errorf("%v: median %g, lowest %g; want %g, %g", numbers, m, l, wantMedian, wantLowest)
		}
	}
	f([]float64{4}, 4, 4)
	f([]float64{9, 1}, 5, 1)
	f([]float64{3, 1, 2}, 2, 1)
	f([]float64{4, 3, 2, 1}, 2.5, 2)
}

// collect returns the rows of a sequence, or its error.
func collect(rows iter.Seq2[demodata.Product, error]) (all []demodata.Product, err error) {
	for p, err := range rows {
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

func TestATableHasTheFirstRowsOfAFile(t *testing.T) {
	t.Parallel()
	path := pgtest.PackedProductFile(t, 5)
	got, err := collect(Options{Rows: 3, Data: path}.products())
	if err != nil {
		t.Fatal(err)
	}
	want := demodata.At(1, 3)
	want.PriceCents = 0 // not in the file
	if len(got) != 3 || got[2] != want {
		t.Errorf("got %+v", got)
	}
	if _, err := collect(Options{Rows: 1, Data: path + ".gone"}.products()); err == nil {
		t.Error("a missing file is no error")
	}
	bad := filepath.Join(t.TempDir(), "bad.jsonl")
	if err := os.WriteFile(bad, []byte("{\"product_id\": 1}\n{\"product_id\": \"two\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(Options{Rows: 2, Data: bad}.products()); err == nil || !strings.Contains(err.Error(), "row 2 of") {
		t.Errorf("a row that cannot be read: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty.jsonl")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(Options{Rows: 2, Data: empty}.products()); err == nil || !strings.Contains(err.Error(), "has 0 rows, not 2") {
		t.Errorf("a file without rows: %v", err)
	}
}

func TestATableLargerThanItsFileHasRowsWithTextsOfTheirOwn(t *testing.T) {
	t.Parallel()
	const rows = 12
	got, err := collect(Options{Rows: rows, Data: pgtest.PackedProductFile(t, 5)}.products())
	if err != nil {
		t.Fatal(err)
	}
	keys, texts := make(map[int64]bool), make(map[string]bool)
	for _, p := range got {
		keys[p.ID], texts[p.Text()] = true, true
	}
	if len(got) != rows || len(keys) != rows || len(texts) != rows {
		t.Errorf("%d rows with %d keys and %d texts, want %d of each", len(got), len(keys), len(texts), rows)
	}
	if last := got[rows-1]; !strings.HasSuffix(last.Description, " Edition 3.") {
		t.Errorf("a row of the third pass reads %q", last.Description)
	}
}

func TestTextsToEncodeAreDistinct(t *testing.T) {
	t.Parallel()
	path := pgtest.ProductFile(t, demodata.At(1, 1), demodata.At(1, 2), demodata.At(1, 1), demodata.At(1, 3))
	f := func(rows int, distinct bool, wantTexts, wantDropped int, wantError string) {
		t.Helper()
		texts, dropped, err := Options{Rows: rows, Data: path, Distinct: distinct}.texts()
		if wantError != "" {
			if err == nil || !strings.Contains(err.Error(), wantError) {
				t.Errorf("%d rows: %v, want %q", rows, err, wantError)
			}
			return
		}
		if err != nil || len(texts) != wantTexts || dropped != wantDropped {
			t.Errorf("%d rows: %d texts, %d dropped, %v; want %d, %d", rows, len(texts), dropped, err, wantTexts, wantDropped)
		}
	}
	f(2, true, 2, 0, "")
	f(3, true, 3, 1, "")
	f(3, false, 3, 0, "")
	f(4, true, 0, 0, "has 3 distinct texts, not 4")
	f(5, false, 0, 0, "has 4 rows, not 5")
}

func TestLibraryVersionIsPartOfItsName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := func(name, want string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		link := path + ".link"
		if err := os.Symlink(name, link); err != nil {
			t.Fatal(err)
		}
		if got := libraryVersion(link); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	f("libonnxruntime.so.1.32.0", "1.32.0")
	f("libonnxruntime.1.32.0.dylib", "1.32.0")
	f("libonnxruntime.so", "")
	if got := libraryVersion(filepath.Join(dir, "none")); got != "" {
		t.Errorf("a missing library has version %q", got)
	}
}

func TestVectorsOfABenchmarkFollowNoLink(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "vectors.f32")
	if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o644), os.Symlink(victim, path)); err != nil {
		t.Fatal(err)
	}
	if err := writeVectors(path, [][]float32{{1}}); fault.KindOf(err) != fault.Usage {
		t.Error(err)
	}
	b := &bench{options: Options{CPUProfile: path}}
	if err := b.profiled(func() error { return nil }); fault.KindOf(err) != fault.Usage {
		t.Error(err)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "precious" {
		t.Errorf("a link was followed: %s, %v", text, err)
	}
	if err := errors.Join(os.Remove(path), writeVectors(path, [][]float32{{1}, {2}})); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 8 || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	failed := errors.New("the run failed")
	b.options.CPUProfile = filepath.Join(dir, "cpu")
	if err := b.profiled(func() error { return failed }); !errors.Is(err, failed) || fault.KindOf(err) == fault.Usage {
		t.Error(err)
	}
}
