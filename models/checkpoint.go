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

// ErrNoWeights is in the chain of Open's error where a checkpoint is supported as far as its small
// files say, and lacks its weights.
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
	// sources maps each file that the fingerprint covers to its SHA-256 in hex.
	sources map[string]string
	// tokenizerSum is the SHA-256 of tokenizer.json as it was read.
	tokenizerSum [sha256.Size]byte
	// files are those that were read, whose content is kept while Open runs.
	files *folder
}

// Open reads and checks the checkpoint in a folder and hashes its weights (90 MB take about 0.1 s).
// A kind of model that is not supported is an error that says what is missing, of kind fault.Usage.
// Weights in safetensors of a kind that Writes knows come before a ready ONNX export; of any other
// kind the export is taken.
//
// Each file is read once, but for the weights and tokenizer.json: of those Build and Tokenizer take
// the bytes that Open hashed, or fail.
func Open(dir string) (*Checkpoint, error) { return openFolder(newFolder(dir)) }

func openFolder(files *folder) (*Checkpoint, error) {
	dir := files.dir
	c := &Checkpoint{dir: dir, files: files, sources: map[string]string{}}
	defer files.forget()
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, missing(dir, "there is no such folder")
	}
	ready, err := c.findExport()
	if err != nil {
		return nil, err
	}
	if c.prefixes, err = readPrompts(c.files); err != nil {
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

// findExport returns the name of the ready export that is to be taken; "" means that the graph is
// written from weights.
func (c *Checkpoint) findExport() (string, error) {
	var kind struct {
		ModelType string `json:"model_type"`
	}
	found, err := readJSON(c.files, configFile, &kind)
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
	c.files.asked[name] = true
	info, err := os.Stat(filepath.Join(c.dir, name))
	return err == nil && info.Mode().IsRegular()
}

// openWeights reads a checkpoint whose graph is written from its weights.
func (c *Checkpoint) openWeights() error {
	var err error
	if c.architecture, err = readArchitecture(c.files); err != nil {
		return err
	}
	if c.tail, err = readTail(c.files); err != nil {
		return err
	}
	if c.maxTokens, err = readMaxTokens(c.files, c.architecture.MaxPositions); err != nil {
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

// Fingerprint names the vector space: 32 hexadecimal digits over weights, tokenizer, architecture,
// pooling, normalisation and maximum length. Prefix and text template are the caller's to add:
// TextFingerprint.
func (c *Checkpoint) Fingerprint() string { return c.fingerprint }

// Dimension is the length of a vector.
func (c *Checkpoint) Dimension() int { return c.dimension }

// MaxTokens is the longest text in tokens, special tokens included; longer ones are cut.
func (c *Checkpoint) MaxTokens() int { return c.maxTokens }

// Export reports whether the graph is made from a ready ONNX export; then there is one for the CPU
// in fp32 only.
func (c *Checkpoint) Export() bool { return c.export != nil }

// Pooling says how the vectors of a text's tokens become its vector.
func (c *Checkpoint) Pooling() Pooling { return c.tail.pooling }

// Normalised reports whether every vector is of length 1.
func (c *Checkpoint) Normalised() bool { return c.tail.normalised }

// QueryPrefix is what the caller puts before a text that is searched for; most often empty.
func (c *Checkpoint) QueryPrefix() string { return c.prefixes.query }

// PassagePrefix is what the caller puts before a text that is to be found; most often empty. It
// belongs into TextFingerprint.
func (c *Checkpoint) PassagePrefix() string { return c.prefixes.passage }

// Tokenizer returns tokenizer.json: the bytes that the fingerprint is of, or an error of kind
// fault.Model.
func (c *Checkpoint) Tokenizer() ([]byte, error) {
	data, err := ReadFile(filepath.Join(c.dir, tokenizerFile), MaxTokenizerBytes)
	if err != nil {
		return nil, fmt.Errorf("reading the tokenizer: %w", err)
	}
	if sha256.Sum256(data) != c.tokenizerSum {
		return nil, c.changed(tokenizerFile)
	}
	return data, nil
}

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
	found, err := readJSON(c.files, indexFile, &index)
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

// checkWeights opens the weights to see that every tensor the graph needs is there in the right
// shape, and hashes the open files.
func (c *Checkpoint) checkWeights() error {
	w, err := openWeights(c.weightPaths()...)
	if err != nil {
		return unsupported(c.dir, "%s is not a safetensors file: %v", c.weightsName(), err)
	}
	defer w.close()
	if err := c.checkTensors(w); err != nil {
		return err
	}
	for i, file := range w.files {
		if c.sources[c.weights[i]], err = hashWeights(file); err != nil {
			return fmt.Errorf("hashing the weights: %w", err)
		}
	}
	return nil
}

func (c *Checkpoint) weightsName() string {
	if len(c.weights) > 1 {
		return indexFile
	}
	return weightsFile
}

// checkTensors looks for every tensor that the graph needs.
func (c *Checkpoint) checkTensors(w *weights) error {
	for _, t := range bertTensors(c.architecture) {
		if err := w.check(t.name, t.shape...); err != nil {
			return unsupported(c.dir, "%s: %v", c.weightsName(), err)
		}
	}
	return nil
}

// hashWeights returns the sum of an open file of weights in hex, from its start on.
func hashWeights(file *os.File) (string, error) {
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	sum, first := newWeightsSum(info.Size())
	if _, err := io.Copy(sum, io.NewSectionReader(file, 0, first)); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
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
