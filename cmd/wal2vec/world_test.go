package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// binary builds the real program, with the places where tests kill it, beside the test's own, which
// goes with it.
var binary = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding the test binary: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), "wal2vec")
	out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return path, nil
})

// world is a source table, a sink beside it, and the program.
type world struct {
	t      *testing.T
	db     *pgtest.DB
	sink   *pgtest.DB // db, but for a pipeline of two servers
	binary string
	dir    string
	env    []string
}

// newWorld makes a database with n products. Batches and chunks are small, so that little data
// makes many of them.
func newWorld(t *testing.T, n int) *world {
	t.Helper()
	return newWorldOn(t, pgtest.Database(t), n)
}

func newWorldOn(t *testing.T, db *pgtest.DB, n int) *world {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	parts, err := pgtest.Parts()
	if err != nil {
		t.Fatal(err)
	}
	db.CreateProducts(t)
	db.FillProducts(t, n)
	w := &world{t: t, db: db, sink: db, binary: path, dir: t.TempDir()}
	w.env = append(os.Environ(),
		"WAL2VEC_HOME="+parts, "WAL2VEC_SOURCE_DSN="+db.DSN, "WAL2VEC_HTTP_LISTEN=off", "WAL2VEC_STREAM_MAX_ROWS=20",
		"WAL2VEC_BACKFILL_CHUNK_KEYS=20", "WAL2VEC_PIPELINE="+db.Name,
		"WAL2VEC_SINK_VIEW=analytics_features.product_embeddings", "WAL2VEC_ENCODER_THREADS=1", "WAL2VEC_SOURCE_SLOT_WAIT=60s", "FAILPOINT_WEIGHTS=head",
		"FAILPOINT_ENCODER=hash",
		modelFolders(filepath.Join(w.dir, modelFolder)),
	)
	return w
}

// modelled is the environment of a program that encodes with the model. Without it the program
// takes vectors from a hash of the text: most of what is tested starts many processes, and the sink
// is compared with what the same program encodes.
var modelled = []string{"FAILPOINT_ENCODER="}

// wholeWeights is the environment of a program whose fingerprint of the model is that of the
// program in this process, which newWorld's is not: a tenth of what the tests' programs compute
// would be hashes of 90 MB.
const wholeWeights = "FAILPOINT_WEIGHTS="

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) contains(text string) bool { return strings.Contains(l.String(), text) }

func (w *world) command(extra []string, args ...string) *exec.Cmd {
	cmd := exec.Command(w.binary, args...)
	cmd.Dir = w.dir
	cmd.Env = append(slices.Clip(w.env), extra...)
	return cmd
}

// start starts the program in the background; it is killed when the test ends before it.
func (w *world) start(extra []string, args ...string) *process {
	w.t.Helper()
	return w.launch(w.command(extra, args...))
}

func (w *world) launch(cmd *exec.Cmd) *process {
	w.t.Helper()
	p := &process{t: w.t, cmd: cmd, output: &lockedBuffer{}, done: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended in most tests
		<-p.done
		if p.t.Failed() {
			p.t.Logf("%v printed:\n%s", cmd.Args, p.output)
		}
	})
	return p
}

// run runs a command to its end and returns what it printed; it must succeed.
func (w *world) run(args ...string) string {
	w.t.Helper()
	p := w.start(nil, args...)
	if err := p.wait(); err != nil {
		w.t.Fatalf("%v ended with %v:\n%s", args, err, p.output)
	}
	return p.output.String()
}

// write changes the source in every way; round makes two calls differ.
func (w *world) write(round int) {
	w.t.Helper()
	const table = "staging_marts.dim_product"
	insert := "INSERT INTO " + table + " (product_id, name, brand, category, description, price) "
	for _, statement := range []string{
		fmt.Sprintf("UPDATE %s SET description = 'edited in round %d, row ' || product_id WHERE product_id %% 7 = %d", table, round, round),
		fmt.Sprintf("UPDATE %s SET price = price + 1 WHERE product_id < 20", table),
		fmt.Sprintf("DELETE FROM %s WHERE product_id %% 11 = %d", table, round),
		fmt.Sprintf("UPDATE %s SET deleted = true WHERE product_id %% 13 = %d", table, round),
		fmt.Sprintf("UPDATE %s SET deleted = false WHERE product_id %% 13 = %d", table, round-1),
		fmt.Sprintf("%sSELECT g, 'Product ' || g, 'Brand', '', 'one of many, number ' || g, 1 FROM generate_series(%d, %d) g", insert, 1000*round, 1000*round+69),
		"BEGIN; " + insert + "VALUES (9000, 'never', 'to', 'be', 'seen', 1); ROLLBACK",
		fmt.Sprintf("BEGIN; %sVALUES (%d, 'kept', '', 'a', 'text', 1); SAVEPOINT s; %sVALUES (9001, 'lost', 'to', 'the', 'text', 1); ROLLBACK TO s; COMMIT",
			insert, 8000+round, insert),
		fmt.Sprintf("UPDATE %s SET product_id = product_id + 5000 WHERE product_id %% 17 = %d AND product_id < 1000", table, round),
		fmt.Sprintf("UPDATE %s SET name = NULL, brand = ' ', category = '', description = NULL WHERE product_id = %d", table, 1000*round+3),
	} {
		w.db.Exec(w.t, statement)
	}
}

// checkFeedback makes sure that the slot never passed the watermark.
func (w *world) checkFeedback() {
	w.t.Helper()
	ahead := pgtest.One[bool](w.t, w.db, `SELECT s.confirmed_flush_lsn > p.watermark FROM wal2vec.pipeline AS p JOIN pg_replication_slots AS s ON s.slot_name = p.slot`)
	if ahead {
		w.t.Error("the slot is confirmed beyond the watermark")
	}
}

// check compares the sink with a fresh encoding of every live source row. A row that the hash
// encoder refuses must be a dead letter.
func (w *world) check() {
	w.t.Helper()
	want, texts := w.sourceTexts()
	texts = slices.DeleteFunc(texts, refused)
	rows := len(want)
	w.checkLetters(want)
	maps.DeleteFunc(want, func(_, text string) bool { return refused(text) })
	w.checkTable(pgtest.One[string](w.t, w.db, "SELECT vector_table FROM wal2vec.generation WHERE state = 'active'"), want, w.encode(texts))
	live := pgtest.One[int](w.t, w.db, "SELECT count(*)::int FROM wal2vec.ledger_"+w.db.Name+" WHERE NOT deleted")
	if live != rows {
		w.t.Errorf("the ledger has %d live keys, the source %d live rows", live, rows)
	}
}

// checkTable compares a generation's vectors with fresh ones of the texts that it is to hold, by
// key.
func (w *world) checkTable(table string, want map[string]string, fresh map[string][]float32) {
	w.t.Helper()
	lines := pgtest.Column[string](w.t, w.db,
		"SELECT product_id || ' ' || encode(text_hash, 'hex') || ' ' || embedding::text FROM wal2vec."+table+" ORDER BY product_id")
	seen := 0
	for _, line := range lines {
		parts := strings.SplitN(line, " ", 3)
		text, live := want[parts[0]]
		if !live {
			w.t.Errorf("key %s has a vector and no live row", parts[0])
			continue
		}
		seen++
		if hash := change.HashText(text).String(); hash != parts[1] {
			w.t.Errorf("key %s has the vector of another text", parts[0])
			continue
		}
		var got []float32
		if err := json.Unmarshal([]byte(parts[2]), &got); err != nil {
			w.t.Fatal(err)
		}
		for i, v := range fresh[text] {
			if math.Abs(float64(v-got[i])) > 1e-6 {
				w.t.Errorf("key %s: component %d is %g, encoded afresh %g", parts[0], i, got[i], v)
				break
			}
		}
	}
	if seen != len(want) {
		w.t.Errorf("%d of %d live rows have a vector in %s", seen, len(want), table)
	}
}

// sourceTexts renders the live rows by the template, from an ordinary SELECT.
func (w *world) sourceTexts() (byKey map[string]string, texts []string) {
	w.t.Helper()
	template, err := change.ParseTemplate("{name}. {brand}. {category}. {description}")
	if err != nil {
		w.t.Fatal(err)
	}
	byKey = make(map[string]string)
	seen := make(map[string]bool)
	rows := pgtest.Column[string](w.t, w.db, `SELECT json_build_array(product_id::text, name, brand, category, description)::text
		FROM staging_marts.dim_product WHERE NOT deleted ORDER BY product_id`)
	for _, row := range rows {
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
		text := template.Render(fields)
		if text == "" {
			continue
		}
		byKey[*columns[0]] = text
		if !seen[text] { // thousands of rows may share a few texts
			seen[text] = true
			texts = append(texts, text)
		}
	}
	return byKey, texts
}

// encode encodes texts by the program itself, each alone on a line.
func (w *world) encode(texts []string, extra ...string) map[string][]float32 {
	w.t.Helper()
	if len(texts) == 0 {
		return nil
	}
	cmd := w.command(extra, "encode")
	cmd.Stdin = strings.NewReader(strings.Join(texts, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("encoding afresh: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(texts) {
		w.t.Fatalf("%d vectors for %d texts", len(lines), len(texts))
	}
	vectors := make(map[string][]float32, len(texts))
	for i, line := range lines {
		var v []float32
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			w.t.Fatal(err)
		}
		vectors[texts[i]] = v
	}
	return vectors
}
