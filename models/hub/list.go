package hub

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
)

// listing is the hub's answer about a revision.
type listing struct {
	// Commit is what the revision stands for now; files are asked for by it, so that all are of one.
	Commit string `json:"sha"`
	Files  []file `json:"siblings"`
}

// file is an entry of a listing. What the hub does not say of it is absent.
type file struct {
	Name string `json:"rfilename"`
	Size *int64 `json:"size"`
	LFS  *struct {
		SHA256 string `json:"sha256"`
		OID    string `json:"oid"`
	} `json:"lfs"`
}

// sha256 is the hash that the hub lists for a large file, in hex; "" where it lists none.
func (f file) sha256() string {
	if f.LFS == nil {
		return ""
	}
	if f.LFS.SHA256 != "" {
		return f.LFS.SHA256
	}
	return strings.TrimPrefix(f.LFS.OID, "sha256:")
}

// The names of weights.
const (
	weightsFile = "model.safetensors"
	indexFile   = "model.safetensors.index.json"
	configFile  = "config.json"
)

var (
	// smallFiles are those at the top that say what a model is; the folder of a module has a config.json of its own.
	smallFiles = []string{
		configFile, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "modules.json",
		"sentence_bert_config.json", "config_sentence_transformers.json",
	}
	moduleFile  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*/config\.json$`)
	shardFile   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors$`)
	exportFiles = []string{"onnx/model.onnx", "model.onnx"}
	commitForm  = regexp.MustCompile(`^[0-9a-f]{40,64}$`)
)

// maxSmallBytes bounds a file that is no weights; the largest tokenizer.json known has 35 MB.
const maxSmallBytes = 256 << 20

// check refuses a listing that a hub of good faith does not send.
func (l listing) check(r Reference) error {
	for _, f := range l.Files {
		if !inside(f.Name) {
			return fault.New(fault.Usage, "check encoder.hub", "the hub lists a file %.100q of model %s, which would leave its folder", f.Name, r)
		}
	}
	for _, name := range []string{configFile, "tokenizer.json"} {
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

// small returns the files that say what the model is, config.json first.
func (l listing) small() []file {
	var list []file
	for _, name := range smallFiles {
		if f := l.find(name); f != nil {
			list = append(list, *f)
		}
	}
	for _, f := range l.Files {
		if moduleFile.MatchString(f.Name) {
			list = append(list, f)
		}
	}
	return list
}

// weights returns the files that hold the weights of a model of this type: safetensors where models writes the graph from them,
// else a ready export. An index of several files comes alone; shards returns what it names.
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
	var list []file
	for _, name := range index {
		if slices.ContainsFunc(list, func(f file) bool { return f.Name == name }) {
			continue
		}
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
