package assets_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/assets"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// makeParts writes empty files where the parts would be.
func makeParts(t *testing.T, root string, files ...string) {
	t.Helper()
	for _, name := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

var allParts = []string{
	"onnxruntime/libonnxruntime.so", "onnxruntime/libonnxruntime.so.1.32.0", "onnxruntime/libonnxruntime_providers_shared.so",
	"model/all-MiniLM-L6-v2/config.json", "pg16/bin/postgres", "pg18/bin/postgres", "pgx/bin/postgres", "pg17/share/readme",
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestPartsAreFoundInTheirOrder(t *testing.T) {
	dir := t.TempDir()
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	exe := at("checkout", "bin", "wal2vec")
	makeParts(t, dir, "checkout/bin/wal2vec")
	makeParts(t, at("user", "wal2vec", "parts"), allParts...)
	if err := os.Symlink(exe, at("link")); err != nil {
		t.Fatal(err)
	}
	f := func(want string, pairs ...string) {
		t.Helper()
		p, err := assets.Find(at("link"), env(append(pairs, "XDG_CACHE_HOME", at("user"))...))
		if err != nil || p.Root != want {
			t.Errorf("found %s, %v, want %s", p.Root, err, want)
		}
	}
	f(at("user", "wal2vec", "parts"))
	makeParts(t, at("cache", "parts"), allParts...)
	f(at("cache", "parts"), "WAL2VEC_CACHE", at("cache"))
	makeParts(t, at("checkout", "share", "wal2vec"), allParts...)
	f(at("checkout", "share", "wal2vec"), "WAL2VEC_CACHE", at("cache"))
	makeParts(t, at("checkout", ".cache", "parts"), allParts...)
	f(at("checkout", ".cache", "parts"), "WAL2VEC_CACHE", at("cache"))
	makeParts(t, at("home"), allParts...)
	f(at("home"), "WAL2VEC_HOME", at("home"))
	f(at("home"), "WAL2VEC_PARTS", at("home"))

	t.Chdir(dir)
	for name, folder := range map[string]string{"WAL2VEC_HOME": "home", "WAL2VEC_PARTS": "./home", "WAL2VEC_CACHE": "cache"} { // a folder that was fetched has them
		_, err := assets.Find("", env(name, folder))
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), name+" must be the full path of a folder") || fault.Try(err) != "export "+name+`="$PWD/`+folder+`"` {
			t.Errorf("%s=%s: %v", name, folder, err)
		}
	}
	if _, err := assets.Find(exe, env("WAL2VEC_HOME", at("link"))); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "WAL2VEC_HOME names") {
		t.Error(err)
	}
}

func TestPartsNameWhatIsThere(t *testing.T) {
	cache := t.TempDir()
	root := filepath.Join(cache, "parts")
	makeParts(t, root, allParts...)
	p, err := assets.Find("", env("WAL2VEC_HOME", root))
	if err != nil {
		t.Fatal(err)
	}
	if p.ONNXRuntime != filepath.Join(root, "onnxruntime", "libonnxruntime.so") || p.ModelDir != filepath.Join(root, "model") {
		t.Errorf("%+v", p)
	}
	if len(p.Postgres) != 2 || p.Postgres[18] != filepath.Join(root, "pg18") {
		t.Errorf("%+v", p.Postgres)
	}
	if p.GraphCache != filepath.Join(cache, "graphs") {
		t.Errorf("graphs in %s", p.GraphCache)
	}
	if _, err := os.Stat(p.GraphCache); err == nil {
		t.Error("looking must not create the cache")
	}
	if err := os.Remove(p.ONNXRuntime); err != nil {
		t.Fatal(err)
	}
	if p, err = assets.Find("", env("WAL2VEC_HOME", root)); err != nil || filepath.Base(p.ONNXRuntime) != "libonnxruntime.so.1.32.0" {
		t.Errorf("%s, %v", p.ONNXRuntime, err)
	}
	p, err = assets.Find("", env("WAL2VEC_HOME", root, "WAL2VEC_CACHE", filepath.Join(p.ONNXRuntime, "below-a-file"), "XDG_CACHE_HOME", "/user"))
	if err != nil || p.GraphCache != "/user/wal2vec/graphs" {
		t.Errorf("graphs in %s, %v", p.GraphCache, err)
	}
}

func TestTheRuntimeWithCUDAIsPreferred(t *testing.T) {
	root := t.TempDir()
	f := func(want string) {
		t.Helper()
		p, err := assets.Find("", env("WAL2VEC_HOME", root))
		if err != nil || p.ONNXRuntime != filepath.Join(root, want) {
			t.Errorf("%s, %v, want %s", p.ONNXRuntime, err, want)
		}
	}
	const gpu = "onnxruntime-gpu/libonnxruntime.so.1.31.1"
	makeParts(t, root, gpu, "onnxruntime-gpu/libonnxruntime_providers_cuda.so")
	f(gpu) // it alone is enough
	makeParts(t, root, allParts...)
	f(gpu)
	if err := os.Remove(filepath.Join(root, gpu)); err != nil {
		t.Fatal(err)
	}
	f("onnxruntime/libonnxruntime.so") // a folder without the library is none
}

func TestNoPartsAtAllNamesThePlaces(t *testing.T) {
	_, err := assets.Find("/x/bin/wal2vec", env("WAL2VEC_CACHE", "/cache", "HOME", "/home/u"))
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "/x/.cache/parts, /x/share/wal2vec, /cache/parts, ") {
		t.Error(err)
	}
}

func TestModelIsANameOrAPath(t *testing.T) {
	root := t.TempDir()
	makeParts(t, root, allParts...)
	makeParts(t, root, "elsewhere/mine/config.json")
	p, err := assets.Find("", env("WAL2VEC_HOME", root))
	if err != nil {
		t.Fatal(err)
	}
	f := func(model, want string) {
		t.Helper()
		got, err := p.Model(model)
		if err == nil {
			got, err = filepath.Rel(root, got)
		}
		if want == "" && fault.KindOf(err) == fault.Usage {
			return
		}
		if err != nil || got != want {
			t.Errorf("Model(%s) = %s, %v", model, got, err)
		}
	}
	f("all-MiniLM-L6-v2", "model/all-MiniLM-L6-v2")
	f("sentence-transformers/all-MiniLM-L6-v2", "model/all-MiniLM-L6-v2")
	f(filepath.Join(root, "elsewhere/mine"), "elsewhere/mine")
	f("all-mpnet-base-v2", "")
	f("/nowhere/all-MiniLM-L6-v2", "")
	f("./all-MiniLM-L6-v2", "")
	// In a folder that has folders of such names, as their maker likes.
	t.Chdir(root)
	makeParts(t, root, "sentence-transformers/all-MiniLM-L6-v2/config.json", "all-MiniLM-L6-v2/config.json")
	f("sentence-transformers/all-MiniLM-L6-v2", "model/all-MiniLM-L6-v2")
	f("all-MiniLM-L6-v2", "model/all-MiniLM-L6-v2")
	f("./sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
	f("./all-MiniLM-L6-v2", "all-MiniLM-L6-v2")
	f("sentence-transformers/../elsewhere/mine", "")
	f("../"+filepath.Base(root)+"/elsewhere/mine", "elsewhere/mine")
	f(".", ".")
	for _, name := range []string{"elsewhere/mine", "elsewhere", "elsewhere/mine/", "sentence-transformers/./all-MiniLM-L6-v2"} {
		f(name, "")
		if _, err := p.Model(name); !strings.Contains(err.Error(), "only what begins with ./, ../ or / is a path") ||
			!strings.Contains(fault.Try(err), "set encoder.model to ./"+name+";") {
			t.Errorf("%s: %v, try %q", name, err, fault.Try(err))
		}
	}
	if _, err := p.Model("x"); !strings.Contains(fault.Try(err), "all-MiniLM-L6-v2") {
		t.Error(fault.Try(err))
	}
}

// A graph is code to the runtime: a folder that another account can change, or a temporary one that
// all share, is no place for it.
func TestGraphsAreKeptWhereNoOtherAccountCanPutThem(t *testing.T) {
	t.Setenv(safefile.TrustVariable, "")
	dir := t.TempDir()
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	makeParts(t, at("parts"), allParts...)
	shared, user := at("shared"), at("user")
	for _, folder := range []string{shared, user} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f := func(want, problem string, pairs ...string) {
		t.Helper()
		p, err := assets.Find("", env(append(pairs, "WAL2VEC_HOME", at("parts"))...))
		if err != nil || p.GraphCache != want || (p.Shared == nil) != (problem == "") || p.Shared != nil && !strings.Contains(p.Shared.Error(), problem) {
			t.Errorf("%v: graphs in %q, %v, %v; want %q, %q", pairs, p.GraphCache, p.Shared, err, want, problem)
		}
	}
	f(at("shared", "graphs"), "", "WAL2VEC_CACHE", shared, "XDG_CACHE_HOME", user)
	t.Setenv(safefile.TrustVariable, "")
	if err := errors.Join(os.Chmod(shared, 0o777), os.Chmod(filepath.Dir(t.TempDir()), 0o755)); err != nil {
		t.Fatal(err)
	}
	f(at("user", "wal2vec", "graphs"), `shared" may be written by every account`, "WAL2VEC_CACHE", shared, "XDG_CACHE_HOME", user)
	f("", `shared" may be written by every account`, "WAL2VEC_CACHE", shared)
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chmod(shared, 0o755), os.Chown(shared, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		f(at("user", "wal2vec", "graphs"), "belongs to another account (uid 65534)", "WAL2VEC_CACHE", shared, "XDG_CACHE_HOME", user)
	}
	f("", "", "WAL2VEC_CACHE", at("parts", "onnxruntime", "libonnxruntime.so")) // it cannot be written, and there is no home
}

// TestAModelThatTheSinkNamesIsOneThatTheConfigurationNames: a role that writes the row chooses
// nothing that is opened.
func TestAModelThatTheSinkNamesIsOneThatTheConfigurationNames(t *testing.T) {
	root := t.TempDir()
	makeParts(t, root, allParts...)
	makeParts(t, root, "elsewhere/mine/config.json", "elsewhere/mine/below/config.json", "other/mine/config.json", "own/model/config.json", "model/.hidden/config.json")
	t.Chdir(root)
	at := func(path string) string { return filepath.Join(root, path) }
	p, err := assets.Find("", env("WAL2VEC_HOME", root))
	if err != nil {
		t.Fatal(err)
	}
	e := config.Encoder{Model: "./own/model", ModelFolders: []string{at("elsewhere") + "/", at("absent")}}
	f := func(model, want string) {
		t.Helper()
		got, err := p.Recorded(model, e)
		if want != "" {
			if err != nil || got != at(want) {
				t.Errorf("%s: %s, %v", model, got, err)
			}
			return
		}
		if err == nil || got != "" || fault.KindOf(err) != fault.Model || fault.Try(err) == "" || strings.Contains(fault.Try(err), root) {
			t.Errorf("%s: %s, %v, try %q", model, got, err, fault.Try(err))
		}
		if filepath.IsAbs(model) && !strings.HasPrefix(model, at("absent")) && !strings.Contains(fault.Try(err), "encoder.model_folders") {
			t.Errorf("%s: try %q", model, fault.Try(err))
		}
		if !filepath.IsAbs(model) && !strings.HasPrefix(err.Error(), "no model among the parts has the name") {
			t.Errorf("%s: %v", model, err)
		}
	}
	f("all-MiniLM-L6-v2", "model/all-MiniLM-L6-v2")
	f("sentence-transformers/all-MiniLM-L6-v2", "model/all-MiniLM-L6-v2")
	f(at("elsewhere/mine"), "elsewhere/mine")
	f(at("elsewhere"), "elsewhere")
	f(at("own/model"), "own/model")

	f(at("other/mine"), "")
	f(at("elsewhere/mine/below"), "")
	f(at("elsewhere")+"/../other/mine", "")
	f(at("elsewhere")+"//mine", "")
	f(at("elsewhere")+"/mine/", "")
	f(at("elsewhere")+"2", "")
	f(at("absent/mine"), "")
	f("/", "")
	f("/etc", "")
	for _, relative := range []string{ // each is a folder, or would be one from here
		"other/mine", "./other/mine", "elsewhere/mine", "own/model", ".", "..", "x/..", "x/.", "../" + filepath.Base(root) + "/other/mine", "model/..",
		"all-MiniLM-L6-v2/", "all-MiniLM-L6-v2/..", "/all-MiniLM-L6-v2/", ".hidden", "x/.hidden", "a/b/all-MiniLM-L6-v2", "", "file://" + at("elsewhere/mine"),
		"https://hub.example/acme/tiny", `..\mine`, "all-MiniLM-L6-v2\x00",
	} {
		f(relative, "")
	}
	if _, err := (assets.Parts{Root: root}).Recorded("mine", e); fault.KindOf(err) != fault.Model {
		t.Errorf("without models: %v", err)
	}
}

func TestFoldersOfModelsAreWholePaths(t *testing.T) {
	f := func(value string, want ...string) {
		t.Helper()
		c, err := config.Load(config.Sources{Env: map[string]string{"WAL2VEC_ENCODER_MODEL_FOLDERS": value}})
		if len(want) == 0 && value != "" {
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "must hold whole paths") {
				t.Errorf("%q: %q, %v", value, c.Encoder.ModelFolders, err)
			}
			return
		}
		if err != nil || !slices.Equal(c.Encoder.ModelFolders, want) {
			t.Errorf("%q: %q, %v", value, c.Encoder.ModelFolders, err)
		}
	}
	f("")
	f("/a", "/a")
	f(`/a, "/b, c"`, "/a", "/b, c")
	f("models")
	f("/a, ./b")
	f("/a,")
}
