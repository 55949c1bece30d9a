package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// weaker is an account with no rights and no home; root alone can act as it.
const weaker = 65533

// newPublicProgram is a program with a small model that every account can run.
func newPublicProgram(t *testing.T) (w *world, root string) {
	t.Helper()
	w, folder := newModelsProgram(t, "bert-mean")
	dir := pgtest.Folder(t)
	root = filepath.Join(dir, "parts")
	library, err := filepath.EvalSymlinks(filepath.Join(filepath.Dir(folder), "onnxruntime"))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "wal2vec")
	for from, to := range map[string]string{w.binary: program, library: filepath.Join(root, "onnxruntime"), folder: filepath.Join(root, "model")} {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "cp", "-RL", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	w.binary, w.dir = program, dir
	w.env = append(w.env, "WAL2VEC_HOME="+root, safefile.TrustVariable+"=", "WAL2VEC_LOG_FORMAT=json", "WAL2VEC_ENCODER_MODEL=bert-mean", "XDG_CACHE_HOME=")
	return w, root
}

// logged is a line of a log in JSON.
type logged struct {
	Level   string `json:"level"`
	Message string `json:"message"`
	Error   string `json:"error"`
	Try     string `json:"try"`
}

// warningsOf reads the warnings of a log in JSON.
func warningsOf(t *testing.T, stderr string) (lines []logged) {
	t.Helper()
	for line := range strings.Lines(stderr) {
		var l logged
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if l.Level == "warn" {
			lines = append(lines, l)
		}
	}
	return lines
}

// encodes runs a program that must give the vector of a text, whatever is wrong with its files, and
// returns what it warns of.
func (w *world) encodes(extra ...string) (vector string, warned []logged) {
	w.t.Helper()
	got := w.ends(extra, "wool\n", "encode")
	if got.code != 0 {
		w.t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	return got.stdout, warningsOf(w.t, got.stderr)
}

// TestAGraphThatAWeakerAccountPlantedIsNotRun plants a whole graph with its manifest: one of
// another model's weights, which the runtime would run.
func TestAGraphThatAWeakerAccountPlantedIsNotRun(t *testing.T) {
	t.Parallel()
	w, _ := newPublicProgram(t)
	want, warned := w.encodes("HOME=" + t.TempDir())
	if len(warned) != 0 {
		t.Fatalf("%+v", warned)
	}
	cache := filepath.Join(w.dir, "cache")
	if err := os.Mkdir(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	w.encodes("WAL2VEC_CACHE=" + cache)
	graphs, err := filepath.Glob(filepath.Join(cache, "graphs", "*", "*", "model.onnx"))
	if err != nil || len(graphs) != 1 {
		t.Fatalf("%v, %v", graphs, err)
	}
	plantAnother(t, graphs[0])
	if got, _ := w.encodes("WAL2VEC_CACHE=" + cache); got == want {
		t.Fatal("what is planted changes nothing, so that nothing is proven")
	}
	// The same files, now of an account that another one can be.
	if os.Geteuid() == 0 {
		err = os.Chown(cache, weaker, weaker)
	} else {
		err = os.Chmod(cache, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	for name, c := range map[string]struct{ home, says string }{
		"a home":  {home, "the folder for graphs is not used"},
		"no home": {"", "the model's graph is kept in no folder"},
	} {
		got, warned := w.encodes("WAL2VEC_CACHE="+cache, "HOME="+c.home)
		if got != want || len(warned) != 1 || !strings.HasPrefix(warned[0].Message, c.says) || !strings.Contains(warned[0].Error, cache) || warned[0].Try == "" {
			t.Errorf("%s: the same vector: %v, warned %+v", name, got == want, warned)
		}
	}
	if _, err := os.Stat(filepath.Join(home, ".cache", "wal2vec", "graphs")); err != nil && runtime.GOOS == "linux" {
		t.Errorf("kept in the home: %v", err)
	}
}

// plantAnother changes the weights of a graph, and has the manifest say so.
func plantAnother(t *testing.T, graph string) {
	t.Helper()
	data, err := os.ReadFile(graph)
	if err != nil {
		t.Fatal(err)
	}
	var model onnxpb.ModelProto
	if err := proto.Unmarshal(data, &model); err != nil {
		t.Fatal(err)
	}
	for _, weights := range model.Graph.Initializer {
		if weights.GetDataType() == int32(onnxpb.TensorProto_FLOAT) {
			for i := 3; i < len(weights.RawData)/2; i += 4 {
				weights.RawData[i] ^= 0x80 // the sign
			}
		}
	}
	if data, err = proto.Marshal(&model); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(graph, data, 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(graph), "manifest.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	m["graph_sha256"] = hex.EncodeToString(sum[:])
	if text, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestModelsCheckAndDoctorFindAPlantedGraph: also one in a folder of our own.
func TestModelsCheckAndDoctorFindAPlantedGraph(t *testing.T) {
	t.Parallel()
	w, _ := newPublicProgram(t)
	cache := "WAL2VEC_CACHE=" + filepath.Join(w.dir, "cache")
	if got := w.ends([]string{cache}, "", "models", "check"); got.code != 0 {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	const nowhere = "_DSN=postgres://u@127.0.0.1:1/d"
	examined := []string{
		cache, "WAL2VEC_SOURCE" + nowhere, "WAL2VEC_SINK" + nowhere, "WAL2VEC_SOURCE_TABLE=public.t", "WAL2VEC_SOURCE_KEY=id", "WAL2VEC_SOURCE_TEMPLATE={name}",
	}
	w.finds(w.doctor(int(fault.Unavailable), examined), "model.selftest", doctor.OK)
	graphs, err := filepath.Glob(filepath.Join(w.dir, "cache", "graphs", "*", "*", "model.onnx"))
	if err != nil || len(graphs) != 1 {
		t.Fatalf("%v, %v", graphs, err)
	}
	plantAnother(t, graphs[0])
	got := w.ends([]string{cache}, "", "models", "check")
	if got.code != int(fault.Findings) || !strings.Contains(got.stderr, "is not what model bert-mean gives") {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	if f := w.finds(w.doctor(int(fault.Findings), examined), "model.selftest", doctor.Fail); !strings.Contains(f.Text, "is not what model bert-mean gives") {
		t.Errorf("%+v", f)
	}
}

// theirs is a copy of the program's model in its working folder that a weaker account can change.
func (w *world) theirs(root, name string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "model", "bert-mean")))
	if os.Geteuid() == 0 {
		err = errors.Join(err, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Chown(path, weaker, weaker))
		}))
	} else {
		err = errors.Join(err, os.Chmod(dir, 0o777))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestAGraphOfAWeakerAccountsCheckpointIsNotKept: it works, with a warning, and later commands make
// the graph of the program's own model.
func TestAGraphOfAWeakerAccountsCheckpointIsNotKept(t *testing.T) {
	t.Parallel()
	w, root := newPublicProgram(t)
	want, _ := w.encodes("HOME=" + t.TempDir())
	w.theirs(root, "theirs")
	cache := filepath.Join(w.dir, "cache")
	theirs := []string{"WAL2VEC_CACHE=" + cache, "WAL2VEC_ENCODER_MODEL=./theirs"}
	kept := func() int {
		t.Helper()
		graphs, err := filepath.Glob(filepath.Join(cache, "graphs", "*", "*", "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		return len(graphs)
	}
	got, warned := w.encodes(theirs...)
	if got != want || len(warned) != 1 || !strings.Contains(warned[0].Message, "the model's graph is kept in no folder") ||
		!strings.HasPrefix(warned[0].Error, "a file of the model: ") || !strings.Contains(warned[0].Error, "theirs") || warned[0].Try == "" || kept() != 0 {
		t.Errorf("the same vector: %v, warned %+v, %d graphs", got == want, warned, kept())
	}
	if built := w.ends(theirs, "", "models", "build"); built.code != int(fault.Usage) || !strings.Contains(built.stderr, "keeping the graph: a file of the model: ") || kept() != 0 {
		t.Errorf("exit code %d, %d graphs\n%s", built.code, kept(), built.stderr)
	}
	if got, warned = w.encodes("WAL2VEC_CACHE=" + cache); got != want || len(warned) != 0 || kept() != 1 {
		t.Errorf("the program's own model: %v, warned %+v, %d graphs", got == want, warned, kept())
	}
	if got, warned = w.encodes(theirs...); got != want || len(warned) != 0 {
		t.Errorf("the same model again: %v, warned %+v", got == want, warned)
	}
}

// TestAFolderOfAModelsNameIsNotTheModel: in a working folder that another account may write, or
// that was fetched.
func TestAFolderOfAModelsNameIsNotTheModel(t *testing.T) {
	t.Parallel()
	w, root := newPublicProgram(t)
	cache := "WAL2VEC_CACHE=" + filepath.Join(w.dir, "cache")
	want, _ := w.encodes(cache)
	w.theirs(root, "acme/bert-mean")
	weights := filepath.Join(w.dir, "acme", "bert-mean", "model.safetensors")
	data, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(data) / 2; i < len(data); i++ {
		data[i] ^= 1
	}
	if err := os.WriteFile(weights, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.encodes(cache, "WAL2VEC_ENCODER_MODEL=./acme/bert-mean"); got == want {
		t.Fatal("the other model gives the same vector, so that nothing is proven")
	}
	if got, warned := w.encodes(cache, "ML_EMBEDDING_MODEL=acme/bert-mean", "WAL2VEC_ENCODER_MODEL="); got != want || len(warned) != 0 {
		t.Errorf("the same vector: %v, warned %+v", got == want, warned)
	}
	if err := os.Rename(filepath.Join(root, "model", "bert-mean"), filepath.Join(root, "model", "gone")); err != nil {
		t.Fatal(err)
	}
	got := w.ends([]string{cache, "WAL2VEC_ENCODER_MODEL=acme/bert-mean"}, "wool\n", "encode")
	if got.code != int(fault.Usage) || !strings.Contains(got.stderr, "no model among the parts has the name") || !strings.Contains(got.stderr, "set encoder.model to ./acme/bert-mean;") {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
}

// TestAnAccountWithoutAHomeEncodes: as in a container whose user is a number, with parts of root's.
// A graph of root's is taken, without one each start makes its own, in no folder.
func TestAnAccountWithoutAHomeEncodes(t *testing.T) {
	t.Parallel()
	w, root := newPublicProgram(t)
	want, _ := w.encodes("HOME=" + t.TempDir())
	temporary := pgtest.Folder(t)
	if err := os.Chmod(temporary, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	encode := func() []logged {
		t.Helper()
		if err := os.Chmod(w.dir, 0o555); err != nil { // an account of its own cannot write what is root's in any case
			t.Fatal(err)
		}
		defer os.Chmod(w.dir, 0o755)
		cmd := w.command([]string{"HOME=/nonexistent", "TMPDIR=" + temporary}, "encode")
		var stderr strings.Builder
		cmd.Stdin, cmd.Stderr = strings.NewReader("wool\n"), &stderr
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: weaker, Gid: weaker}}
		}
		got, err := cmd.Output()
		if err != nil || string(got) != want {
			t.Fatalf("%v, the same vector: %v\n%s", err, string(got) == want, stderr.String())
		}
		return warningsOf(t, stderr.String())
	}
	if warned := encode(); len(warned) != 0 {
		t.Errorf("beside a graph that is there: %+v", warned)
	}
	if err := os.RemoveAll(filepath.Join(filepath.Dir(root), "graphs")); err != nil {
		t.Fatal(err)
	}
	if warned := encode(); len(warned) != 1 || !strings.Contains(warned[0].Message, "each start makes it again, in memory") ||
		!strings.Contains(warned[0].Try, "WAL2VEC_CACHE") {
		t.Errorf("without a graph: %+v", warned)
	}
	if left, _ := os.ReadDir(temporary); len(left) > 0 {
		t.Errorf("left in the temporary folder: %v", left)
	}
}

func TestARuntimeThatOthersMayWriteIsNotLoaded(t *testing.T) {
	t.Parallel()
	w, root := newPublicProgram(t)
	folder := filepath.Join(root, "onnxruntime")
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	got := w.ends([]string{"HOME=" + t.TempDir()}, "wool\n", "encode")
	if got.code != int(fault.Usage) || !strings.Contains(got.stderr, "loading ONNX Runtime: ") || !strings.Contains(got.stderr, folder) ||
		!strings.Contains(got.stderr, "try: chmod go-w "+folder) {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	if os.Geteuid() != 0 {
		return // root alone gives files away
	}
	if err := errors.Join(os.Chmod(folder, 0o755), os.Chown(root, weaker, weaker)); err != nil {
		t.Fatal(err)
	}
	if got = w.ends([]string{"HOME=" + t.TempDir()}, "wool\n", "encode"); got.code != int(fault.Usage) || !strings.Contains(got.stderr, "WAL2VEC_TRUST_UIDS=65533") {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	w.encodes("HOME="+t.TempDir(), "WAL2VEC_TRUST_UIDS=65533") // as a container's root does with a volume of another account
}

func TestADotEnvOfOthersIsToldOnce(t *testing.T) {
	t.Parallel()
	w, _ := newPublicProgram(t)
	path := filepath.Join(w.dir, ".env")
	if err := errors.Join(os.WriteFile(path, []byte("WAL2VEC_PIPELINE=theirs\n"), 0o600), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	got := w.ends(nil, "", "config", "print")
	warned := warningsOf(t, got.stderr)
	if got.code != 0 || strings.Contains(got.stdout, "theirs") || len(warned) != 1 || !strings.HasPrefix(warned[0].Message, "the file .env is not read: ") ||
		!strings.Contains(warned[0].Try, " && chmod go-w "+path+".new/.env") {
		t.Errorf("exit code %d, warned %+v\n%s", got.code, warned, got.stdout)
	}
	if got = w.ends([]string{"WAL2VEC_DOTENV=off"}, "", "config", "print"); got.code != 0 || got.stderr != "" {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
}
