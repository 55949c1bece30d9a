package hub

import (
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
)

// listing is the hub's answer about a revision.
type listing struct {
	// Commit is what the revision stands for now; files are asked for by it, so that all are of
	// one.
	Commit string `json:"sha"`
	Files  []file `json:"siblings"`
}

// file is an entry of a listing. What the hub does not say of it is absent.
type file struct {
	Name string `json:"rfilename"`
	Size *int64 `json:"size"`
	// Blob is git's hash of the file, or of the pointer that stands for a large one.
	Blob string `json:"blobId"` //nolint:tagliatelle // the hub's word
	LFS  *struct {
		SHA256 string `json:"sha256"`
		OID    string `json:"oid"`
	} `json:"lfs"`
}

// The names of weights.
const (
	weightsFile = "model.safetensors"
	indexFile   = "model.safetensors.index.json"
	configFile  = "config.json"

	tokenizerFile = "tokenizer.json" //nolint:gosec // a name of a file, not a token
	modulesFile   = "modules.json"
)

var (
	// smallFiles are those at the top that say what a model is; the folder of a module has a
	// config.json of its own.
	smallFiles = []string{
		configFile, tokenizerFile, "tokenizer_config.json", "special_tokens_map.json", modulesFile,
		"sentence_bert_config.json", "config_sentence_transformers.json",
	}
	moduleFile  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*/config\.json$`)
	shardFile   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors$`)
	exportFiles = []string{"onnx/model.onnx", "model.onnx"}
	commitForm  = regexp.MustCompile(`^[0-9a-f]{40,64}$`)
)

// What a hub lists and its files name is looked for in one another, so that each has a bound:
// models in use have less than a tenth of these.
const (
	mostFiles   = 10_000
	mostModules = 100
	mostShards  = 1_000
)

// mostOf bounds the bytes of a file by what package models takes of its kind; all files together
// have a bound of their own.
func mostOf(name string) int64 {
	switch {
	case name == tokenizerFile:
		return models.MaxTokenizerBytes
	case strings.HasSuffix(name, ".json"):
		return models.MaxConfigBytes
	case strings.HasSuffix(name, ".onnx"):
		return models.MaxExportBytes
	default:
		return math.MaxInt64
	}
}

// check refuses a listing that a hub of good faith does not send.
func (l listing) check(r Reference) error {
	if len(l.Files) > mostFiles {
		return fault.New(fault.Usage, "check encoder.hub", "the hub lists %d files of model %s, more than %d", len(l.Files), r, mostFiles)
	}
	for _, f := range l.Files {
		if !inside(f.Name) {
			return fault.New(fault.Usage, "check encoder.hub", "the hub lists a file %.100q of model %s, which would leave its folder", f.Name, r)
		}
		if f.Size != nil && *f.Size < 0 {
			return fault.New(fault.Usage, "check encoder.hub", "the hub lists %d bytes for %.100q of model %s", *f.Size, f.Name, r)
		}
	}
	for _, name := range []string{configFile, tokenizerFile} {
		if !l.has(name) {
			return fault.New(fault.Usage, "choose another model", "model %s has no %s on the hub", r, name)
		}
	}
	return nil
}

func (l listing) has(name string) bool { return l.find(name) != nil }

func (l listing) find(name string) *file {
	at := slices.IndexFunc(l.Files, func(f file) bool { return f.Name == name })
	if at < 0 {
		return nil
	}
	return &l.Files[at]
}

// small returns the files at the top that say what the model is, config.json first.
func (l listing) small() []file {
	var list []file
	for _, name := range smallFiles {
		if f := l.find(name); f != nil {
			list = append(list, *f)
		}
	}
	return list
}

// modules returns the configurations in the folders that modules.json names, as far as the hub has
// them.
func (l listing) modules(r Reference, folders []string) ([]file, error) {
	if len(folders) > mostModules {
		return nil, fault.New(fault.Usage, "choose another model",
			"%s of model %s names %d modules, more than %d", modulesFile, r, len(folders), mostModules)
	}
	var list []file
	for _, folder := range folders {
		name := path.Join(folder, configFile)
		known := slices.ContainsFunc(list, func(f file) bool { return f.Name == name })
		if f := l.find(name); f != nil && !known && moduleFile.MatchString(name) {
			list = append(list, *f)
		}
	}
	return list, nil
}

// weights returns the files that hold the weights of a model of this type: safetensors where models
// writes the graph from them, else a ready export. An index of several files comes alone; shards
// returns what it names.
func (l listing) weights(r Reference, modelType string) (file, error) {
	candidates := exportFiles
	if models.Writes(modelType) {
		candidates = append([]string{weightsFile, indexFile}, exportFiles...)
	}
	for _, name := range candidates {
		if f := l.find(name); f != nil {
			return *f, nil
		}
	}
	return file{}, fault.New(fault.Usage, "choose another model", "model %s, of type %q, has none of %s on the hub",
		r, modelType, strings.Join(candidates, ", "))
}

// shards returns the files that an index names.
func (l listing) shards(r Reference, index map[string]string) ([]file, error) {
	names := map[string]bool{}
	for _, name := range index {
		names[name] = true
	}
	if len(names) > mostShards {
		return nil, fault.New(fault.Usage, "choose another model", "%s of model %s names %d files, more than %d", indexFile, r, len(names), mostShards)
	}
	var list []file
	for name := range names {
		f := l.find(name)
		if f == nil || !shardFile.MatchString(name) {
			return nil, fault.New(fault.Usage, "choose another model", "%s of model %s names %.100q, which the hub does not have", indexFile, r, name)
		}
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b file) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// String is the file's name and size for people.
func (f file) String() string {
	if f.Size == nil {
		return f.Name
	}
	return fmt.Sprintf("%s (%d bytes)", f.Name, *f.Size)
}
