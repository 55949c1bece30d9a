package main

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/encoder/ort"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/models"
)

const fixtures = "../../models/testdata/checkpoints"

// newModelsProgram is a program whose parts are ONNX Runtime and the named fixtures.
func newModelsProgram(t *testing.T, kinds ...string) (w *world, folder string) {
	t.Helper()
	w = newProgram(t)
	parts, err := pgtest.Parts()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "parts")
	folder = filepath.Join(root, "model")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(parts, "onnxruntime"), filepath.Join(root, "onnxruntime")); err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		if err := os.CopyFS(filepath.Join(folder, kind), os.DirFS(filepath.Join(fixtures, kind))); err != nil {
			t.Fatal(err)
		}
	}
	w.env = append(w.env, "WAL2VEC_HOME="+root, "WAL2VEC_CACHE=", "WAL2VEC_ENCODER_PRECISION=fp32", "HF_TOKEN=", "HF_ENDPOINT=")
	return w, folder
}

// newModelsHub serves a fixture as acme/tiny to who has the token.
func newModelsHub(t *testing.T, kind string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isFile := strings.CutPrefix(r.URL.Path, "/acme/tiny/resolve/main/")
		switch {
		case r.Header.Get("Authorization") != "Bearer "+plantedToken:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/api/models/acme/tiny/revision/main":
			files := []map[string]string{}
			for _, name := range []string{
				"config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
				"config_sentence_transformers.json", "model.safetensors",
			} {
				files = append(files, map[string]string{"rfilename": name})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"siblings": files})
		case isFile:
			http.ServeFile(w, r, filepath.Join(fixtures, kind, name))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// parsedOutput runs a command that must succeed and reads the JSON that it prints.
func parsedOutput[T any](t *testing.T, w *world, args ...string) T {
	t.Helper()
	got := w.ends(nil, "", args...)
	var value T
	if err := json.Unmarshal([]byte(got.stdout), &value); err != nil || got.code != 0 {
		t.Fatalf("%v: exit code %d, %v\n%s%s", args, got.code, err, got.stdout, got.stderr)
	}
	return value
}

func TestAModelIsPulledBuiltCheckedAndUsed(t *testing.T) {
	t.Parallel()
	w, folder := newModelsProgram(t)
	w.env = append(w.env, "HF_ENDPOINT="+newModelsHub(t, "bert-prompts"), "HF_TOKEN="+plantedToken)
	if empty := parsedOutput[modelsReport](t, w, "models", "list", "-o", "json"); len(empty.Checkpoints) != 0 || len(empty.Graphs) != 0 {
		t.Errorf("nothing is listed as %+v", empty)
	}
	pulled := parsedOutput[pulledModel](t, w, "models", "pull", "acme/tiny", "-o", "json")
	if pulled.Folder != filepath.Join(folder, "tiny") || pulled.Name != "tiny" || pulled.Files != 7 || pulled.Dimension != 16 {
		t.Errorf("%+v", pulled)
	}
	listed := parsedOutput[modelsReport](t, w, "models", "list", "-o", "json")
	if len(listed.Checkpoints) != 1 || !listed.Checkpoints[0].OK || listed.Checkpoints[0].Fingerprint != pulled.Fingerprint ||
		listed.Checkpoints[0].QueryPrefix != "query: " || listed.Checkpoints[0].PassagePrefix != "passage: " || !listed.Checkpoints[0].Normalised {
		t.Errorf("%+v", listed)
	}
	for _, want := range []bool{true, false} {
		if built := parsedOutput[builtModel](t, w, "models", "build", "acme/tiny", "-o", "json"); built.Built != want || built.Dimension != 16 {
			t.Errorf("%+v, want built = %v", built, want)
		}
	}
	checked := parsedOutput[checkedModel](t, w, "models", "check", "tiny", "-o", "json")
	if checked.Fingerprint != pulled.Fingerprint || checked.Texts < 80 || checked.Tokens < 500 || checked.LeastCosine != nil || checked.Device != "cpu" {
		t.Errorf("%+v", checked)
	}
	encodesPassages(t, w, "tiny")
	table := w.ends(nil, "", "models", "list")
	if table.code != 0 || strings.Count(table.stdout, pulled.Fingerprint) != 2 || !strings.Contains(table.stdout, "mean, length 1") {
		t.Errorf("exit code %d\n%s%s", table.code, table.stdout, table.stderr)
	}
	again := w.ends(nil, "", "models", "pull", "--replace", "acme/tiny")
	if again.code != 0 || !strings.HasPrefix(again.stdout, "tiny: "+pulled.Folder) || !strings.Contains(again.stderr, "fetching model.safetensors") ||
		strings.Contains(again.stdout+again.stderr, plantedToken) {
		t.Errorf("exit code %d\n%s%s", again.code, again.stdout, again.stderr)
	}
}

// encodesPassages compares what encode prints with the vectors that sentence-transformers gives the
// texts as passages.
func encodesPassages(t *testing.T, w *world, model string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(fixtures, "bert-prompts", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Texts   []string    `json:"texts"`
		Passage [][]float64 `json:"passage"`
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	got := w.ends(nil, strings.Join(want.Texts, "\n")+"\n", "encode", "--model", model)
	decoder := json.NewDecoder(strings.NewReader(got.stdout))
	for i, vector := range want.Passage {
		var v []float64
		if err := decoder.Decode(&v); err != nil || len(v) != len(vector) {
			t.Fatalf("line %d: %v\n%s", i, err, got.stderr)
		}
		for j := range vector {
			if math.Abs(v[j]-vector[j]) > 1e-5 {
				t.Fatalf("%q: component %d is %g instead of %g", want.Texts[i], j, v[j], vector[j])
			}
		}
	}
	if decoder.Decode(new(any)) != io.EOF {
		t.Error("there are more vectors than texts")
	}
}

func TestModelsOfEveryFormAreChecked(t *testing.T) {
	t.Parallel()
	w, _ := newModelsProgram(t, "bert-cls-raw", "onnx-tokens")
	for _, kind := range []string{"bert-cls-raw", "onnx-tokens"} {
		if got := w.ends(nil, "", "models", "check", kind); got.code != 0 || !strings.HasPrefix(got.stdout, kind+": ok (cpu, fp32, standard operators, tokenizer ") {
			t.Errorf("%s: exit code %d\n%s%s", kind, got.code, got.stdout, got.stderr)
		}
	}
}

func TestModelsListTellsWhatIsDamagedOrNotSupported(t *testing.T) {
	t.Parallel()
	w, folder := newModelsProgram(t, "bert-mean", "bert-cls")
	w.run("models", "build", "bert-mean")
	if err := os.WriteFile(filepath.Join(folder, "bert-cls", "1_Pooling", "config.json"), []byte(`{"pooling_mode":"max"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := w.ends(nil, "", "models", "list"); got.code != 0 || !strings.Contains(got.stdout, `pooling "max" is not supported`) {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	graphs, err := filepath.Glob(filepath.Join(folder, "..", "..", "graphs", "*", "*", "model.onnx"))
	if err != nil || len(graphs) != 1 {
		t.Fatalf("%v, %v", graphs, err)
	}
	if err := os.Truncate(graphs[0], 100); err != nil {
		t.Fatal(err)
	}
	got := w.ends(nil, "", "models", "list")
	if got.code != 3 || !strings.Contains(got.stdout, "is damaged") || !strings.Contains(got.stderr, "try: wal2vec models build") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// TestAHubOfDotEnvTakesNoKnownName: every folder's pipelines find a model among the parts by its
// name.
func TestAHubOfDotEnvTakesNoKnownName(t *testing.T) {
	t.Parallel()
	w, folder := newModelsProgram(t)
	hub := newModelsHub(t, "bert-prompts")
	dotEnv := "WAL2VEC_ENCODER_HUB=" + hub + "\nWAL2VEC_ENCODER_HUB_TOKEN=" + plantedToken + "\n"
	if err := os.WriteFile(filepath.Join(w.dir, ".env"), []byte(dotEnv), 0o600); err != nil {
		t.Fatal(err)
	}
	name := "tiny@" + strings.ReplaceAll(strings.TrimPrefix(hub, "http://"), ":", "_")
	pulled := parsedOutput[pulledModel](t, w, "models", "pull", "acme/tiny", "-o", "json")
	if pulled.Folder != filepath.Join(folder, name) || pulled.Name != name {
		t.Errorf("%+v, want %s", pulled, name)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if got := w.ends(nil, "", "models", "build", "acme/tiny"); got.code == 0 {
		t.Error("the known name leads to it: " + got.stdout)
	}
	if got := w.ends(nil, "", "models", "build", name); got.code != 0 {
		t.Error(got.stderr)
	}
}

func TestPullRefuses(t *testing.T) { //nolint:tparallel // short processes, one at a time
	t.Parallel()
	w, folder := newModelsProgram(t, "bert-mean")
	address := newModelsHub(t, "bert-prompts")
	host := strings.TrimPrefix(address, "http://")
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	w.env = append(w.env, "WAL2VEC_ENCODER_HUB="+address)
	token := []string{"WAL2VEC_ENCODER_HUB_TOKEN=" + plantedToken}
	for _, r := range []refusal{
		{name: "no name", args: []string{"models", "pull"}, code: 2, says: []string{"accepts 1 arg"}, try: "models pull --help"},
		{name: "a path", args: []string{"models", "pull", "../x"}, code: 2, says: []string{`"../x"`}, try: "sentence-transformers/"},
		{name: "a bad revision", args: []string{"models", "pull", "a/b@..", "-o", "json"}, code: 2, says: []string{`".."`}, try: "a/b@main"},
		{name: "a bad form", args: []string{"models", "pull", "a/b", "-o", "xml"}, code: 2, says: []string{"xml"}, try: "-o json"},
		{name: "there already", args: []string{"models", "pull", "acme/bert-mean"}, code: 2, says: []string{"bert-mean", folder}, try: "--replace"},
		{name: "private", args: []string{"models", "pull", "acme/tiny"}, code: 2, says: []string{host, "no public model acme/tiny"}, try: "HF_TOKEN"},
		{name: "unknown", env: token, args: []string{"models", "pull", "acme/other"}, code: 2, says: []string{host, "acme/other"}, try: "check the name"},
		{
			name: "unknown revision", env: token, args: []string{"models", "pull", "acme/tiny@v9"}, code: 2,
			says: []string{host, "acme/tiny@v9"}, try: "revision",
		},
		{
			name: "offline", env: []string{"WAL2VEC_ENCODER_HUB=" + closed.URL}, args: []string{"models", "pull", "acme/tiny"}, code: 5,
			says: []string{"acme/tiny", "refused"}, try: "encoder.hub",
		},
		{name: "no address", env: []string{"WAL2VEC_ENCODER_HUB=hub"}, args: []string{"models", "pull", "a/b"}, code: 2, says: []string{"encoder.hub"}, try: "config"},
	} {
		t.Run(r.name, func(t *testing.T) { w.refuses(t, r) })
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestADamagedLibraryOfOperatorsCostsSpeedAlone: the model runs with standard operators, and a line
// says why.
func TestADamagedLibraryOfOperatorsCostsSpeedAlone(t *testing.T) {
	t.Parallel()
	parts, err := pgtest.Parts()
	if err != nil {
		t.Fatal(err)
	}
	library, warnings := ort.FindOperators(parts), 0
	switch target, without, err := ort.Target(change.DeviceCPU, models.PrecisionINT8, library); {
	case err != nil || without != nil || library == "" && runtime.GOARCH == "amd64":
		t.Fatalf("operators %q: %v, %v", library, without, err)
	case target.Kernel == models.KernelVNNI: // other processors run no operators of ours
		warnings = 1
	}
	w, folder := newModelsProgram(t)
	root := filepath.Dir(folder)
	damaged := filepath.Join(root, filepath.Base(filepath.Dir(library)), filepath.Base(library))
	if err := errors.Join(os.MkdirAll(filepath.Dir(damaged), 0o755), os.Mkdir(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	const name = "all-MiniLM-L6-v2"
	err = errors.Join(os.Symlink(filepath.Join(parts, "model", name), filepath.Join(folder, name)), os.WriteFile(damaged, []byte("damaged"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "WAL2VEC_ENCODER_PRECISION=int8", "WAL2VEC_ENCODER_DEVICE=cpu")
	const warning = "wal2vec's operators do not load: int8 runs on those of ONNX Runtime, which are slower"
	for _, c := range []struct{ command, says string }{
		{"build", name + " built (cpu-int8): "},
		{"check", name + ": ok (cpu, int8, standard operators, "},
	} {
		got := w.ends(nil, "", "models", c.command, name)
		if got.code != 0 || !strings.HasPrefix(got.stdout, c.says) || strings.Count(got.stderr, "\n") != warnings ||
			strings.Count(got.stderr, warning) != warnings || strings.Count(got.stderr, "operators from "+filepath.Dir(damaged)) != warnings ||
			strings.Count(got.stderr, "make parts") != warnings {
			t.Errorf("%s: exit code %d\n%s%s", c.command, got.code, got.stdout, got.stderr)
		}
		t.Log(got.stdout + got.stderr)
	}
}
