package assets

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// Parts names the files that a build does not contain. A part that is not there is empty.
type Parts struct {
	// Root is the folder that holds them.
	Root string
	// ONNXRuntime is the shared library: the one with CUDA where it is there, which runs on the CPU
	// as well.
	ONNXRuntime string
	// ModelDir is the folder of model folders.
	ModelDir string
	// Postgres maps a major version to the folder that holds its bin, lib and share.
	Postgres map[int]string
	// GraphCache is the folder for graphs that were made from models; it may not exist yet. Empty
	// where there is none that no other account can change.
	GraphCache string
	// Shared says why a folder that comes first is not the GraphCache: other accounts can change
	// it.
	Shared error
}

// Find looks for the parts, in this order: $WAL2VEC_HOME, $WAL2VEC_PARTS; beside the program
// exe (which may be a link) in ../.cache/parts and ../share/wal2vec; $WAL2VEC_CACHE/parts; parts in
// the user's cache folder for wal2vec. A folder counts when it holds the runtime, a model or a
// PostgreSQL. A variable that names a folder without any is an error, as is finding none. So is a
// relative name, also in WAL2VEC_CACHE: what is in these folders is run, and it would be another
// folder wherever a command runs.
func Find(exe string, env func(string) string) (Parts, error) {
	for _, name := range config.Folders {
		if folder := env(name); folder != "" && !filepath.IsAbs(folder) {
			return Parts{}, fault.New(fault.Usage, "export "+pgname.Shell(name)+"="+pgname.ShellHere(folder),
				"%s must be the full path of a folder, %q is another one wherever a command runs", name, folder)
		}
	}
	for _, name := range []string{"WAL2VEC_HOME", "WAL2VEC_PARTS"} {
		root := env(name)
		if root == "" {
			continue
		}
		p := partsBelow(root, env)
		if p.empty() {
			return Parts{}, fault.New(fault.Usage, "make parts, or unset "+name, "%s names %s, which holds no parts of wal2vec", name, root)
		}
		return p, nil
	}
	candidates := partsFolders(exe, env)
	for _, root := range candidates {
		if p := partsBelow(root, env); !p.empty() {
			return p, nil
		}
	}
	return Parts{}, fault.New(fault.Usage, "make parts, in the source folder, or export WAL2VEC_HOME=FOLDER",
		"ONNX Runtime and model are in none of %s", strings.Join(candidates, ", "))
}

func partsFolders(exe string, env func(string) string) []string {
	var folders []string
	if exe != "" {
		if target, err := filepath.EvalSymlinks(exe); err == nil {
			exe = target
		}
		prefix := filepath.Dir(filepath.Dir(exe))
		folders = append(folders, filepath.Join(prefix, ".cache", "parts"), filepath.Join(prefix, "share", "wal2vec"))
	}
	if cache := env("WAL2VEC_CACHE"); cache != "" {
		folders = append(folders, filepath.Join(cache, "parts"))
	}
	if cache := userCache(env); cache != "" {
		folders = append(folders, filepath.Join(cache, "parts"))
	}
	return folders
}

// userCache returns the user's cache folder for wal2vec, or "". It is os.UserCacheDir on the given
// environment.
func userCache(env func(string) string) string {
	home := env("HOME")
	switch {
	case runtime.GOOS == "darwin" && home != "":
		return filepath.Join(home, "Library", "Caches", "wal2vec")
	case filepath.IsAbs(env("XDG_CACHE_HOME")):
		return filepath.Join(env("XDG_CACHE_HOME"), "wal2vec")
	case home != "":
		return filepath.Join(home, ".cache", "wal2vec")
	default:
		return ""
	}
}

func partsBelow(root string, env func(string) string) Parts {
	if absolute, err := filepath.Abs(root); err == nil {
		root = absolute
	}
	p := Parts{Root: root, Postgres: map[int]string{}}
	p.ONNXRuntime = cmp.Or(runtimeLibrary(filepath.Join(root, "onnxruntime-gpu")), runtimeLibrary(filepath.Join(root, "onnxruntime")))
	if models := filepath.Join(root, "model"); isDir(models) {
		p.ModelDir = models
	}
	bundles, _ := filepath.Glob(filepath.Join(root, "pg[0-9]*")) // fails on a bad pattern only
	for _, bundle := range bundles {
		major, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(bundle), "pg"))
		if err == nil && isFile(filepath.Join(bundle, "bin", "postgres")) {
			p.Postgres[major] = bundle
		}
	}
	p.GraphCache, p.Shared = graphCache(root, env)
	return p
}

func (p Parts) empty() bool { return p.ONNXRuntime == "" && p.ModelDir == "" && len(p.Postgres) == 0 }

// runtimeLibrary prefers the plain name, then the highest version, as the linker sorts them.
func runtimeLibrary(dir string) string {
	for _, pattern := range []string{"libonnxruntime.so", "libonnxruntime.dylib", "libonnxruntime.so.*", "libonnxruntime.*.dylib"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern)) // fails on a bad pattern only
		slices.Sort(found)
		for _, path := range slices.Backward(found) {
			if isFile(path) {
				return path
			}
		}
	}
	return ""
}

// graphCache is beside the parts where it can be written, so that clones and users of one cache
// share it; else it is the user's. One that cannot be written but is there still serves. Graphs are
// code to the runtime: a folder that another account can change is passed over, and shared says so;
// there is none below a temporary folder, where any account can be the first to make a name.
func graphCache(root string, env func(string) string) (folder string, shared error) {
	beside := filepath.Join(root, "graphs")
	if filepath.Base(root) == "parts" {
		beside = filepath.Join(filepath.Dir(root), "graphs")
	}
	if cache := env("WAL2VEC_CACHE"); cache != "" {
		beside = filepath.Join(cache, "graphs")
	}
	candidates := []string{beside}
	if cache := userCache(env); cache != "" {
		candidates = append(candidates, filepath.Join(cache, "graphs"))
	}
	var readable string
	for _, candidate := range candidates {
		err := safefile.Check(candidate)
		if problem, ok := errors.AsType[*safefile.Error](err); ok {
			if shared == nil {
				shared = problem
			}
			continue
		}
		if writable(candidate) {
			return candidate, shared
		}
		if err == nil && readable == "" {
			readable = candidate
		}
	}
	return readable, shared
}

// writable reports whether a folder, or the nearest one above it that exists, can be written. It
// creates nothing.
func writable(dir string) bool {
	for {
		_, err := os.Stat(dir)
		if err == nil {
			break
		}
		up := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || up == dir {
			return false
		}
		dir = up
	}
	const write = 2
	return isDir(dir) && syscall.Access(dir, write) == nil
}

// Model returns the folder of a model: a path where it begins as one (see ModelPath), else the
// folder of that name among the parts. An organisation in front of the name
// ("sentence-transformers/all-MiniLM-L6-v2") is dropped. A name is never a folder of the working
// folder, which any account may make in one as /tmp is, and which comes with whatever was fetched.
func (p Parts) Model(model string) (string, error) {
	if path := ModelPath(model); path != "" && isDir(path) {
		return path, nil
	}
	if dir := p.Named(model); dir != "" {
		return dir, nil
	}
	if ModelPath(model) == "" && isDir(model) {
		return "", fault.New(fault.Usage,
			"if the folder of that name is meant, set encoder.model to "+config.YAMLList([]string{"./" + model})+"; if not, wal2vec models pull",
			"no model among the parts has the name %q, and only what begins with ./, ../ or / is a path", model)
	}
	if p.ModelDir == "" {
		return "", fault.New(fault.Usage, "make parts", "model %q is not a folder, and %s holds no models", model, p.Root)
	}
	return "", fault.New(fault.Usage, "set encoder.model to a checkpoint folder, or to one of: "+config.YAMLList(p.Models()),
		"model %q is neither a folder nor in %s", model, p.ModelDir)
}

// Named returns the folder of a model's name among the parts, or "": the name alone, or an
// organisation and a name, of which the name counts. A mistyped path does not become the model of
// the same name, and no name leads out of the folder of models.
func (p Parts) Named(model string) string {
	organisation, name, both := strings.Cut(model, "/")
	if !both {
		organisation, name = "_", model
	}
	for _, part := range []string{organisation, name} {
		if part == "" || strings.HasPrefix(part, ".") || strings.ContainsAny(part, "/\\\x00") {
			return ""
		}
	}
	if dir := filepath.Join(p.ModelDir, name); p.ModelDir != "" && isDir(dir) {
		return dir
	}
	return ""
}

// Recorded returns the folder of a model that a row of the sink names. A role that writes that row
// must not choose what this process opens: a name stands for a model among the parts, and a path is
// taken where the configuration names it too, as the encoder's model, or as one of the folders in
// encoder.model_folders or directly below it.
func (p Parts) Recorded(model string, e config.Encoder) (string, error) {
	if dir := p.Named(model); dir != "" {
		return dir, nil
	}
	if !filepath.IsAbs(model) {
		return "", fault.New(fault.Model, "wal2vec models pull, if it is a model that you know",
			"no model among the parts has the name %.200q that the sink keeps", model)
	}
	trusted := filepath.Clean(model) == model && (model == ModelPath(e.Model) || slices.ContainsFunc(e.ModelFolders, func(folder string) bool {
		folder = filepath.Clean(folder)
		return model == folder || filepath.Dir(model) == folder
	}))
	if !trusted {
		return "", fault.New(fault.Model, "set encoder.model_folders to the folder that holds the model, if you trust what is in it",
			"the sink names a model by the path %.200q, which the configuration does not name", model)
	}
	if !isDir(model) {
		return "", fault.New(fault.Model, "bring the model back there", "there is no folder %.200q", model)
	}
	return model, nil
}

// ModelPath is the whole path that a model's setting stands for, or "" where it is a name: a path
// begins with ./, ../ or /.
func ModelPath(model string) string {
	relative := model == "." || model == ".." || strings.HasPrefix(model, "./") || strings.HasPrefix(model, "../")
	if !relative && !filepath.IsAbs(model) {
		return ""
	}
	path, err := filepath.Abs(model)
	if err != nil { // the working folder is gone
		return ""
	}
	return path
}

// Models lists the names of the model folders. A folder with a dot before its name is one that is
// being fetched.
func (p Parts) Models() []string {
	entries, _ := os.ReadDir(p.ModelDir) // none is an answer
	var names []string
	for _, entry := range entries {
		if isDir(filepath.Join(p.ModelDir, entry.Name())) && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
