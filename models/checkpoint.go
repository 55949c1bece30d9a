package models

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// The files of a checkpoint with a fixed name.
const (
	configFile    = "config.json"
	weightsFile   = "model.safetensors"
	indexFile     = "model.safetensors.index.json"
	tokenizerFile = "tokenizer.json" //nolint:gosec // G101: a tokenizer is no credential
)

// exportFiles are where a ready ONNX export may stand, the first that is there is taken.
var exportFiles = []string{"onnx/model.onnx", "model.onnx"}

// ErrNoWeights is in the chain of Open's error where a checkpoint is supported as far as its small files say, and lacks its weights.
var ErrNoWeights = errors.New("the weights are missing")

// Checkpoint is a model folder in Hugging Face form, checked and hashed. It holds no open file.
type Checkpoint struct {
	dir string
	// architecture is of a checkpoint whose graph is written from its weights.
	architecture architecture
	// export describes a ready ONNX export; nil where the graph is written from weights.
	export                           *export
	dimension, vocabulary, maxTokens int
	tail                             tail
	prefixes                         prefixes
	fingerprint                      string
	// weights are the safetensors files in order, or the ONNX file, below dir.
	weights []string
	// stamps of the weights detect that they changed between Open and Build.
	stamps []stamp
	// sources maps each file that the fingerprint covers to its SHA-256 in hex.
	sources map[string]string
}

// stamp tells whether a file is still the one that was read.
type stamp struct {
	modified time.Time
	bytes    int64
}

// Open reads and checks the checkpoint in a folder and hashes its weights (90 MB take about 0.1 s). A kind of model that is not
// supported is an error that says what is missing, of kind fault.Usage. Weights in safetensors of a kind that Writes knows come
// before a ready ONNX export; of any other kind the export is taken.
func Open(dir string) (*Checkpoint, error) {
	c := &Checkpoint{dir: dir, sources: map[string]string{}}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, missing(dir, "there is no such folder")
	}
	ready, err := c.findExport()
	if err != nil {
		return nil, err
	}
	if c.prefixes, err = readPrompts(dir); err != nil {
		return nil, err
	}
	if ready != "" {
		err = c.openExport(ready)
	} else {
		err = c.openWeights()
	}
	if err != nil {
		return nil, err
	}
	if c.fingerprint, err = c.hash(); err != nil {
		return nil, err
	}
	return c, nil
}

// findExport returns the name of the ready export that is to be taken; "" means that the graph is written from weights.
func (c *Checkpoint) findExport() (string, error) {
	var kind struct {
		ModelType string `json:"model_type"`
	}
	found, err := readJSON(c.dir, configFile, &kind)
	if err != nil {
		return "", err
	}
	if !found {
		return "", missing(c.dir, configFile+" is missing")
	}
	at := slices.IndexFunc(exportFiles, c.has)
	if at < 0 || Writes(kind.ModelType) && (c.has(weightsFile) || c.has(indexFile)) {
		return "", nil
	}
	return exportFiles[at], nil
}

func (c *Checkpoint) has(name string) bool {
	info, err := os.Stat(filepath.Join(c.dir, name))
	return err == nil && info.Mode().IsRegular()
}

// openWeights reads a checkpoint whose graph is written from its weights.
func (c *Checkpoint) openWeights() error {
	var err error
	if c.architecture, err = readArchitecture(c.dir); err != nil {
		return err
	}
	if c.tail, err = readTail(c.dir); err != nil {
		return err
	}
	if c.maxTokens, err = readMaxTokens(c.dir, c.architecture.MaxPositions); err != nil {
		return err
	}
	c.dimension, c.vocabulary = c.architecture.HiddenSize, c.architecture.VocabularySize
	if err = c.findWeights(); err != nil {
		return err
	}
	return c.checkWeights()
}

// Name is the folder's name, for people.
func (c *Checkpoint) Name() string {
	if path, err := filepath.Abs(c.dir); err == nil {
		return filepath.Base(path)
	}
	return filepath.Base(c.dir)
}

// Fingerprint names the vector space: 32 hexadecimal digits over weights, tokenizer, architecture, pooling, normalisation and
// maximum length. Prefix and text template are the caller's to add: TextFingerprint.
func (c *Checkpoint) Fingerprint() string { return c.fingerprint }

// Dimension is the length of a vector.
func (c *Checkpoint) Dimension() int { return c.dimension }

// MaxTokens is the longest text in tokens, special tokens included; longer ones are cut.
func (c *Checkpoint) MaxTokens() int { return c.maxTokens }

// Export reports whether the graph is made from a ready ONNX export; then there is one for the CPU in fp32 only.
func (c *Checkpoint) Export() bool { return c.export != nil }

// Pooling says how the vectors of a text's tokens become its vector.
func (c *Checkpoint) Pooling() Pooling { return c.tail.pooling }

// Normalised reports whether every vector is of length 1.
func (c *Checkpoint) Normalised() bool { return c.tail.normalised }

// QueryPrefix is what the caller puts before a text that is searched for; most often empty.
func (c *Checkpoint) QueryPrefix() string { return c.prefixes.query }

// PassagePrefix is what the caller puts before a text that is to be found; most often empty. It belongs into TextFingerprint.
func (c *Checkpoint) PassagePrefix() string { return c.prefixes.passage }

// TokenizerPath is the path of tokenizer.json.
func (c *Checkpoint) TokenizerPath() string { return filepath.Join(c.dir, tokenizerFile) }

// weightPaths are the paths of the weights.
func (c *Checkpoint) weightPaths() []string {
	paths := make([]string, len(c.weights))
	for i, name := range c.weights {
		paths[i] = filepath.Join(c.dir, name)
	}
	return paths
}

// findWeights names the safetensors files: the one, or those of the index.
func (c *Checkpoint) findWeights() error {
	if c.has(weightsFile) {
		c.weights = []string{weightsFile}
		return nil
	}
	var index struct {
		Files map[string]string `json:"weight_map"`
	}
	found, err := readJSON(c.dir, indexFile, &index)
	if err != nil {
		return err
	}
	if !found || len(index.Files) == 0 {
		return c.noWeights(fmt.Sprintf("there is no %s", strings.Join(slices.Concat([]string{weightsFile, indexFile}, exportFiles), ", ")))
	}
	for _, name := range index.Files {
		if !filepath.IsLocal(name) || filepath.Base(name) != name {
			return unsupported(c.dir, "%s names the file %q, which is not beside it", indexFile, name)
		}
		if !slices.Contains(c.weights, name) {
			c.weights = append(c.weights, name)
		}
	}
	slices.Sort(c.weights)
	for _, name := range c.weights {
		if !c.has(name) {
			return c.noWeights(fmt.Sprintf("%s names %s, which is not there", indexFile, name))
		}
	}
	return nil
}

func (c *Checkpoint) noWeights(what string) error {
	return fault.Wrap(fmt.Errorf("%w: %s", ErrNoWeights, what), fault.Usage, missingTry, "model %s", c.dir)
}

// checkWeights opens the weights to see that every tensor the graph needs is there in the right shape.
func (c *Checkpoint) checkWeights() error {
	if err := c.remember(); err != nil {
		return err
	}
	name := weightsFile
	if len(c.weights) > 1 {
		name = indexFile
	}
	w, err := openWeights(c.weightPaths()...)
	if err != nil {
		return unsupported(c.dir, "%s is not a safetensors file: %v", name, err)
	}
	defer w.close()
	for _, t := range bertTensors(c.architecture) {
		if err := w.check(t.name, t.shape...); err != nil {
			return unsupported(c.dir, "%s: %v", name, err)
		}
	}
	return nil
}

// remember stamps the weights.
func (c *Checkpoint) remember() error {
	for _, path := range c.weightPaths() {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("reading the weights: %w", err)
		}
		c.stamps = append(c.stamps, stamp{modified: info.ModTime(), bytes: info.Size()})
	}
	return nil
}

// unchanged reports whether the weights are still the files that were hashed.
func (c *Checkpoint) unchanged() error {
	for i, path := range c.weightPaths() {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("reading the weights again: %w", err)
		}
		if info.Size() != c.stamps[i].bytes || !info.ModTime().Equal(c.stamps[i].modified) {
			return fmt.Errorf("%s of model %s changed while it was read", c.weights[i], c.dir)
		}
	}
	return nil
}

// hashFile returns the SHA-256 of a file in hex, and its size.
func hashFile(path string) (sum string, size int64, err error) {
	file, err := safefile.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	h := sha256.New()
	if size, err = io.Copy(h, file); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}
