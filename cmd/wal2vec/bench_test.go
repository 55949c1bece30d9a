package main

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/wal2vec/wal2vec/internal/pgtest"
	"github.com/wal2vec/wal2vec/internal/products"
)

// benchmarked runs a benchmark in this process and returns its result.
func benchmarked(t *testing.T, args ...string) map[string]any {
	t.Helper()
	useParts(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out, log bytes.Buffer
	if code := run(ctx, append([]string{"bench"}, args...), strings.NewReader(""), &out, &log); code != 0 {
		t.Fatalf("bench %v: exit code %d\n%s", args, code, log.String())
	}
	var report map[string]any
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("bench %v: %v in %s", args, err, out.String())
	}
	return report
}

// keysOf returns the paths of an object's leaves, sorted.
func keysOf(prefix string, object map[string]any) []string {
	var keys []string
	for name, value := range object {
		if inner, ok := value.(map[string]any); ok {
			keys = append(keys, keysOf(prefix+name+".", inner)...)
		} else {
			keys = append(keys, prefix+name)
		}
	}
	slices.Sort(keys)
	return keys
}

const (
	machineKeys = "bench machine.arch machine.cores machine.cpu_model machine.load_average_1m machine.memory_bytes machine.os" +
		" versions.go versions.onnxruntime versions.wal2vec "
	serverKeys = "settings.fsync settings.index versions.pgvector versions.postgres "
	modelKeys  = "settings.device settings.encoder settings.encoder_workers "
)

// checkNames compares a result's names with the contract, which the documentation must know.
func checkNames(t *testing.T, report map[string]any, want string) {
	t.Helper()
	wanted := strings.Fields(want)
	slices.Sort(wanted)
	if got := keysOf("", report); !slices.Equal(got, wanted) {
		t.Errorf("names\n%v, want\n%v", got, wanted)
	}
	root, err := pgtest.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "bench.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range wanted {
		for name := range strings.SplitSeq(path, ".") {
			if !bytes.Contains(page, []byte("`"+name+"`")) {
				t.Errorf("docs/bench.md does not name `%s`", name)
			}
		}
	}
}

// figure returns a number by its path.
func figure(t *testing.T, report map[string]any, path string) float64 {
	t.Helper()
	var value any = report
	for name := range strings.SplitSeq("figures."+path, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			t.Fatalf("there is no %s", path)
		}
		value = object[name]
	}
	number, ok := value.(float64)
	if !ok {
		t.Fatalf("%s is %v", path, value)
	}
	return number
}

func TestBenchBackfillCountsRowsAndMemory(t *testing.T) {
	t.Parallel()
	report := benchmarked(t, "backfill", "--rows", "40", "--data", writeRows(t, 60))
	checkNames(t, report, machineKeys+serverKeys+modelKeys+`settings.data settings.rows figures.index_seconds figures.index_bytes
		figures.duration_seconds figures.peak_resident_bytes figures.peak_resident_bytes_at_half figures.rows
		figures.rows_per_second figures.texts_encoded figures.tokens figures.tokens_per_second`)
	if rows, encoded := figure(t, report, "rows"), figure(t, report, "texts_encoded"); rows != 40 || encoded != 40 {
		t.Errorf("%g rows, %g encoded, want 40", rows, encoded)
	}
	const leastModel = 80 << 20 // the weights; how much more is a matter of the tests that run beside this one
	if half, all := figure(t, report, "peak_resident_bytes_at_half"), figure(t, report, "peak_resident_bytes"); half < leastModel || all < leastModel {
		t.Errorf("the peak is %g bytes at half and %g at the end", half, all)
	}
}

func TestBenchStreamDrainsItsBacklogs(t *testing.T) {
	t.Parallel()
	report := benchmarked(t, "stream", "--rows", "400", "--transaction-rows", "70")
	keys := machineKeys + serverKeys + "settings.encoder settings.rows settings.transaction_rows figures.peak_resident_bytes "
	for _, backlog := range []string{"text_unchanged_updates", "inserts", "edits"} {
		for _, name := range []string{"rows", "transactions", "texts_encoded", "batches", "duration_seconds", "rows_per_second"} {
			keys += "figures." + backlog + "." + name + " "
		}
	}
	checkNames(t, report, keys)
	f := func(backlog string, rows, transactions, encoded float64) {
		t.Helper()
		gotRows, gotTransactions := figure(t, report, backlog+".rows"), figure(t, report, backlog+".transactions")
		if got := figure(t, report, backlog+".texts_encoded"); gotRows != rows || gotTransactions != transactions || got != encoded {
			t.Errorf("%s: %g rows in %g transactions, %g encoded; want %g, %g, %g", backlog, gotRows, gotTransactions, got, rows, transactions, encoded)
		}
	}
	f("text_unchanged_updates", 400, 6, 0)
	f("inserts", 100, 2, 100)
	f("edits", 100, 2, 100)
}

func TestBenchFreshnessMeasuresEveryEdit(t *testing.T) {
	t.Parallel()
	report := benchmarked(t, "freshness", "--rows", "20", "--rate", "20", "--seconds", "1")
	checkNames(t, report, machineKeys+serverKeys+modelKeys+`settings.rate_per_second settings.rows settings.seconds
		figures.achieved_rate_per_second figures.batches figures.changes figures.max_ms figures.mean_commit_ms figures.mean_encode_ms figures.mean_gate_ms figures.p50_ms figures.p90_ms figures.p99_ms figures.texts_encoded`)
	if n := figure(t, report, "changes"); n != 20 {
		t.Errorf("%g changes measured, want 20", n)
	}
	for _, stage := range []string{"gate", "encode", "commit"} {
		if mean := figure(t, report, "mean_"+stage+"_ms"); mean <= 0 {
			t.Errorf("%s takes %g ms", stage, mean)
		}
	}
	if p50, most := figure(t, report, "p50_ms"), figure(t, report, "max_ms"); p50 <= 0 || p50 > most {
		t.Errorf("p50 %g ms, at most %g ms", p50, most)
	}
}

func TestBenchEncodeNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	report := benchmarked(t, "encode", "--rows", "20")
	checkNames(t, report, machineKeys+modelKeys+`settings.rows figures.duration_seconds figures.peak_resident_bytes
		figures.texts figures.texts_per_second figures.texts_truncated figures.tokens figures.tokens_per_second`)
	if texts, tokens := figure(t, report, "texts"), figure(t, report, "tokens"); texts != 20 || tokens < 20*20 || tokens > 20*110 {
		t.Errorf("%g tokens of %g texts", tokens, texts)
	}
}

// writePlainRows writes products as JSON lines and returns the file.
func writePlainRows(t *testing.T, rows ...products.Product) string {
	t.Helper()
	var lines bytes.Buffer
	for _, p := range rows {
		row := benchRow{ID: p.ID, Name: p.Name, Brand: p.Brand, Category: p.Category, Description: p.Description}
		if err := json.NewEncoder(&lines).Encode(row); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeRows writes n products as compressed JSON lines and returns the file.
func writeRows(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.jsonl.zst")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := zstd.NewWriter(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := json.NewEncoder(packed)
	for p := range products.Generate(1, n) {
		row := benchRow{ID: p.ID, Name: p.Name, Brand: p.Brand, Category: p.Category, Description: p.Description}
		if err := lines.Encode(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// collect returns the rows of a sequence, or its error.
func collect(rows iter.Seq2[products.Product, error]) (all []products.Product, err error) {
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
	path := writeRows(t, 5)
	got, err := collect(benchOptions{rows: 3, data: path}.products())
	if err != nil {
		t.Fatal(err)
	}
	want := products.At(1, 3)
	want.PriceCents = 0 // not in the file
	if len(got) != 3 || got[2] != want {
		t.Errorf("got %+v", got)
	}
	if _, err := collect(benchOptions{rows: 1, data: path + ".gone"}.products()); err == nil {
		t.Error("a missing file is no error")
	}
	bad := filepath.Join(t.TempDir(), "bad.jsonl")
	if err := os.WriteFile(bad, []byte("{\"product_id\": 1}\n{\"product_id\": \"two\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(benchOptions{rows: 2, data: bad}.products()); err == nil || !strings.Contains(err.Error(), "row 2 of") {
		t.Errorf("a row that cannot be read: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty.jsonl")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(benchOptions{rows: 2, data: empty}.products()); err == nil || !strings.Contains(err.Error(), "has 0 rows, not 2") {
		t.Errorf("a file without rows: %v", err)
	}
}

func TestATableLargerThanItsFileHasRowsWithTextsOfTheirOwn(t *testing.T) {
	t.Parallel()
	const rows = 12
	got, err := collect(benchOptions{rows: rows, data: writeRows(t, 5)}.products())
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
	path := writePlainRows(t, products.At(1, 1), products.At(1, 2), products.At(1, 1), products.At(1, 3))
	f := func(rows int, distinct bool, wantTexts, wantDropped int, wantError string) {
		t.Helper()
		texts, dropped, err := benchOptions{rows: rows, data: path, distinct: distinct}.texts()
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

func TestBenchRefusesBadFlags(t *testing.T) {
	t.Parallel()
	useParts(t)
	f := func(want string, args ...string) {
		t.Helper()
		var out, log bytes.Buffer
		if code := run(t.Context(), append([]string{"bench"}, args...), strings.NewReader(""), &out, &log); code != 2 {
			t.Errorf("%v: exit code %d, want 2", args, code)
		}
		if !strings.Contains(log.String(), want) {
			t.Errorf("%v: %q does not say %q", args, log.String(), want)
		}
	}
	f("--rows 0: must be 1 or more", "backfill", "--rows", "0")
	f("--rate 0: must be 1 or more", "freshness", "--rate", "0")
	f("--rate 1001: must be 1000 or less", "freshness", "--rate", "1001")
	f("--transaction-rows -1: must be 1 or more", "stream", "--transaction-rows", "-1")
	f("--output table: must be json", "encode", "-o", "table")
	f("holds no PostgreSQL 9", "stream", "--pg", "9")
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
