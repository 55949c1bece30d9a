package main

import (
	"bytes"
	"context"
	encoding "encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/demodata"
	"github.com/wal2vec/wal2vec/internal/mart"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// benchmarked runs a benchmark in this process and returns its result.
func benchmarked(t *testing.T, args ...string) map[string]any {
	t.Helper()
	pgtest.UseParts(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out bytes.Buffer
	var log lockedBuffer
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
	serverKeys = "settings.fsync settings.index versions.pgvector versions.postgres settings.postgres.jit settings.postgres.max_wal_size" +
		" settings.postgres.shared_buffers settings.chunk_rows settings.chunks_in_flight settings.chunks_encoded_at_once settings.writers "
	modelKeys = "settings.device settings.encoder settings.encoder_workers settings.precision settings.kernel settings.tokenizer "
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
		if strings.HasPrefix(path, "settings.postgres.") {
			continue // PostgreSQL's own names
		}
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

// setting returns a setting by its name.
func setting(t *testing.T, report map[string]any, name string) any {
	t.Helper()
	settings, ok := report["settings"].(map[string]any)
	if !ok {
		t.Fatal("there are no settings")
	}
	return settings[name]
}

func TestBenchBackfillCountsRowsAndMemory(t *testing.T) {
	t.Parallel()
	report := benchmarked(t, "backfill", "--rows", "40", "--data", pgtest.PackedProductFile(t, 15),
		"--backfill-writers", "3", "--postgres-setting", "work_mem=8MB", "--postgres-setting", "jit=on")
	checkNames(t, report, machineKeys+serverKeys+modelKeys+`settings.data settings.rows settings.postgres.work_mem figures.index_seconds figures.index_bytes figures.total_seconds
		figures.duration_seconds figures.peak_resident_bytes figures.peak_resident_bytes_at_half figures.rows
		figures.rows_per_second figures.texts_encoded figures.tokens figures.tokens_per_second`)
	if rows, encoded := figure(t, report, "rows"), figure(t, report, "texts_encoded"); rows != 40 || encoded != 40 {
		t.Errorf("%g rows, %g encoded, want 40", rows, encoded)
	}
	if writers := setting(t, report, "writers"); writers != 3.0 {
		t.Errorf("%v writers, want the 3 that were asked for", writers)
	}
	if server, ok := setting(t, report, "postgres").(map[string]any); !ok || server["work_mem"] != "8MB" || server["jit"] != "on" {
		t.Errorf("the server's settings are %v", server)
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

func TestBenchSwapWaitsForTheNewTable(t *testing.T) {
	t.Parallel()
	report := benchmarked(t, "swap", "--rows", "300", "--fake-encoder")
	checkNames(t, report, machineKeys+serverKeys+`settings.encoder settings.rows
		figures.build_seconds figures.converged_seconds figures.followed_seconds figures.peak_resident_bytes figures.rows figures.rows_changed figures.rows_removed`)
	if rows, changed, removed := figure(t, report, "rows"), figure(t, report, "rows_changed"), figure(t, report, "rows_removed"); rows != 299 || changed != 3 || removed != 1 {
		t.Errorf("%g rows, %g changed, %g removed", rows, changed, removed)
	}
	if followed, converged := figure(t, report, "followed_seconds"), figure(t, report, "converged_seconds"); followed <= 0 || converged < followed {
		t.Errorf("followed after %g s, converged after %g s", followed, converged)
	}
}

func TestBenchGiantRowMeasuresBothColumns(t *testing.T) {
	t.Parallel()
	report := benchmarked(t, "giant-row", "--rows", "10", "--row-bytes", "3000000", "--fake-encoder", "--stream-max-row-bytes", "1MiB")
	keys := machineKeys + serverKeys + "settings.encoder settings.max_row_bytes settings.rows "
	for column, want := range map[string]float64{"column_read": 1, "column_not_read": 1, "within_limit": 0} {
		for _, name := range []string{
			"row_bytes", "resident_bytes_before", "peak_resident_bytes", "resident_bytes_after", "rise_bytes", "rise_over_row", "seconds", "dead_letters",
		} {
			keys += "figures." + column + "." + name + " "
		}
		if letters := figure(t, report, column+".dead_letters"); letters != want {
			t.Errorf("%s: %g dead letters", column, letters)
		}
	}
	if bytes := figure(t, report, "within_limit.row_bytes"); bytes < 900_000 || bytes >= 1<<20 {
		t.Errorf("a row of %g bytes is within a limit of 1 MiB", bytes)
	}
	checkNames(t, report, keys)
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

func TestBenchStreamDrainsEditsAlone(t *testing.T) {
	t.Parallel()
	report := benchmarked(t, "stream", "--edits", "30", "--rows", "90", "--runs", "3", "--transaction-rows", "20", "--fake-encoder", "--data", pgtest.PackedProductFile(t, 90))
	keys := machineKeys + serverKeys + `settings.encoder settings.rows settings.data settings.transaction_rows settings.edits settings.runs
		figures.peak_resident_bytes figures.runs figures.duration_seconds_spread.least figures.duration_seconds_spread.most `
	for _, name := range []string{"rows", "transactions", "texts_encoded", "batches", "duration_seconds", "rows_per_second"} {
		keys += "figures.edits." + name + " "
	}
	checkNames(t, report, keys)
	if index := setting(t, report, "index"); index != true {
		t.Errorf("index: %v, want that of production", index)
	}
	runs, ok := report["figures"].(map[string]any)["runs"].([]any)
	if !ok || len(runs) != 3 {
		t.Fatalf("runs: %v, want 3", runs)
	}
	for _, run := range runs {
		one, ok := run.(map[string]any)
		if !ok || one["rows"] != 30.0 || one["transactions"] != 2.0 || one["texts_encoded"] != 30.0 {
			t.Errorf("a run: %v, want 30 new texts in 2 transactions", run)
		}
	}
}

func TestBenchEncodeNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	vectors := filepath.Join(t.TempDir(), "vectors.f32")
	report := benchmarked(t, "encode", "--rows", "20", "--runs", "3", "--call-texts", "7", "--calls", "2", "--warm-up", "5", "--vectors", vectors,
		"--encoder-precision", "int8", "--device", "cpu", "--against", "fp32", "--against-rows", "10")
	checkNames(t, report, machineKeys+modelKeys+`settings.rows settings.runs settings.call_texts settings.calls_at_once settings.distinct
		settings.warm_up_texts figures.duration_seconds figures.peak_resident_bytes figures.repeated_texts_dropped figures.runs
		figures.texts_per_second_spread.least figures.texts_per_second_spread.most figures.against.precision figures.against.texts
		figures.against.cosine_mean figures.against.cosine_p1 figures.against.cosine_min
		figures.texts figures.texts_per_second figures.texts_truncated figures.tokens figures.tokens_per_second`)
	if texts, tokens := figure(t, report, "texts"), figure(t, report, "tokens"); texts != 20 || tokens < 20*20 || tokens > 20*110 {
		t.Errorf("%g tokens of %g texts", tokens, texts)
	}
	if precision, tokenizer := setting(t, report, "precision"), setting(t, report, "tokenizer"); precision != "int8" || tokenizer != "go" {
		t.Errorf("precision %v, tokenizer %v", precision, tokenizer)
	}
	// int8 is near fp32 and is not it.
	if texts, low, mean := figure(t, report, "against.texts"), figure(t, report, "against.cosine_min"), figure(t, report, "against.cosine_mean"); texts != 10 ||
		low < 0.99 || low > mean || mean >= 1 {
		t.Errorf("%g texts compared: cosine %g at least, %g on average", texts, low, mean)
	}
	if median, low, high := figure(t, report, "texts_per_second"), figure(t, report, "texts_per_second_spread.least"),
		figure(t, report, "texts_per_second_spread.most"); median < low || median > high {
		t.Errorf("the median of %g to %g texts a second is %g", low, high, median)
	}
	checkVectors(t, vectors, 20)
}

// checkVectors compares a file with the vectors that wal2vec encode prints for the first n made-up
// products.
func checkVectors(t *testing.T, path string, n int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var texts, out bytes.Buffer
	var log lockedBuffer
	for p := range demodata.Generate(mart.Seed, n) {
		texts.WriteString(p.Text() + "\n")
	}
	if code := run(t.Context(), []string{"encode", "--encoder-precision", "int8", "--device", "cpu"}, &texts, &out, &log); code != 0 {
		t.Fatalf("exit code %d: %s", code, log.String())
	}
	lines := json.NewDecoder(&out)
	for i := range n {
		var want []float32
		if err := lines.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if len(data) != 4*n*len(want) {
			t.Fatalf("%d bytes, want %d vectors of %d components", len(data), n, len(want))
		}
		for component, w := range want {
			at := 4 * (i*len(want) + component)
			if got := math.Float32frombits(encoding.LittleEndian.Uint32(data[at:])); math.Abs(float64(got-w)) > 1e-6 {
				t.Fatalf("component %d of vector %d is %g, want %g", component, i, got, w)
			}
		}
	}
}

func TestBenchSearchMeasuresBesideEachLoad(t *testing.T) {
	t.Parallel()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	report := benchmarked(t, "search", "--rows", "60", "--queries", "8", "--rate", "20", "--encoder-threads", "1", "--load-program", program)
	keys := machineKeys + serverKeys + modelKeys + "settings.rows settings.queries settings.rate_per_second settings.limit "
	for _, part := range []string{"alone", "beside_encoding", "beside_backfill", "beside_same_process"} {
		keys += "figures." + part + ".queries figures." + part + ".achieved_rate_per_second "
		for _, what := range []string{"encode", "search", "total"} {
			for _, name := range []string{"p50_ms", "p90_ms", "p99_ms", "max_ms"} {
				keys += "figures." + part + "." + what + "." + name + " "
			}
		}
		if part != "alone" {
			keys += "figures." + part + ".load_texts_per_second "
			if load := figure(t, report, part+".load_texts_per_second"); load <= 0 {
				t.Errorf("%s: the load encodes %g texts a second", part, load)
			}
		}
		encode, search, total := figure(t, report, part+".encode.max_ms"), figure(t, report, part+".search.max_ms"), figure(t, report, part+".total.p50_ms")
		if n := figure(t, report, part+".queries"); n != 8 || encode <= 0 || search <= 0 || total > encode+search {
			t.Errorf("%s: %g queries, at most %g ms to encode and %g ms to search, %g ms in all", part, n, encode, search, total)
		}
	}
	keys += "figures.layout.queries figures.layout.opened_to_kept_p50 "
	for _, way := range []string{"kept", "opened_each_time"} {
		for _, name := range []string{"p50_ms", "p90_ms", "p99_ms", "max_ms"} {
			keys += "figures.layout." + way + "." + name + " "
		}
	}
	if n, ratio := figure(t, report, "layout.queries"), figure(t, report, "layout.opened_to_kept_p50"); n != 18 || ratio <= 0 {
		t.Errorf("of %g queries those that open the tables take %g times as long as those that know them", n, ratio)
	}
	checkNames(t, report, keys)
}

func TestSearchesWithoutTheirLoadAreAnError(t *testing.T) {
	t.Parallel()
	pgtest.UseParts(t)
	f := func(script, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "load")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		var log lockedBuffer
		args := []string{"bench", "search", "--rows", "20", "--queries", "1", "--fake-encoder", "--load", "encoding", "--load-program", path}
		if code := run(t.Context(), args, strings.NewReader(""), &out, &log); code == 0 || !strings.Contains(log.String(), want) {
			t.Errorf("%q: exit code %d: %s", script, code, log.String())
		}
	}
	f("echo no model >&2; exit 2", "no model")
	f("echo ready; echo killed >&2; exit 3", "the load ended early: exit status 3: killed")
	f("echo ready; echo '{\"texts_encoded\": 0, \"duration_seconds\": 1}'", "the load encoded nothing")
}

func TestBenchDataPrintsWhatIsEncoded(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var log lockedBuffer
	path := pgtest.ProductFile(t, demodata.At(1, 1), demodata.At(1, 1), demodata.At(1, 2))
	if code := run(t.Context(), []string{"bench", "data", "--rows", "2", "--data", path}, strings.NewReader(""), &out, &log); code != 0 {
		t.Fatalf("exit code %d: %s", code, log.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var row struct {
		ID   int64  `json:"product_id"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &row); err != nil {
		t.Fatal(err)
	}
	if want := demodata.At(1, 2); len(lines) != 2 || row.ID != 2 || row.Text != want.Text() {
		t.Errorf("%d lines, the last is %+v", len(lines), row)
	}
}

func TestBenchRefusesBadFlags(t *testing.T) {
	t.Parallel()
	pgtest.UseParts(t)
	f := func(want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		var log lockedBuffer
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
	f(`--output "table": must be json`, "encode", "-o", "table")
	f("holds no PostgreSQL 9", "stream", "--pg", "9")
	f("--runs 0: must be 1 or more", "encode", "--runs", "0")
	f("--edits -1: must be 0 or more", "stream", "--edits", "-1")
	f(`--against "fp64": must be fp32 or int8`, "encode", "--against", "fp64")
	f(`--load "rain": there is no such load`, "search", "--load", "rain")
	f("must be name=value", "backfill", "--postgres-setting", "fast")
	f("must be name=value", "backfill", "--postgres-setting", "work mem=1")
	f("fsync has a flag of its own", "backfill", "--postgres-setting", "fsync=on")
}
