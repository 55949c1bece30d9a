package models

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The files of a checkpoint that are read whole.
const (
	weightsFile   = "model.safetensors"
	tokenizerFile = "tokenizer.json"
)

// Checkpoint is a model folder in Hugging Face form, checked and hashed. It holds no open file.
type Checkpoint struct {
	dir          string
	architecture architecture
	pooling      Pooling
	maxTokens    int
	fingerprint  string
	// sources maps each file that the fingerprint covers to its SHA-256 in hex.
	sources map[string]string
	// weightsTime and weightsBytes detect that the weights changed between Open and Build.
	weightsTime  time.Time
	weightsBytes int64
}

// Open reads and checks the checkpoint in a folder and hashes its weights (90 MB take about 0.1 s). A kind of model that is not
// supported is an error that says what is missing, of kind fault.Usage.
func Open(dir string) (*Checkpoint, error) {
	c := &Checkpoint{dir: dir, sources: map[string]string{}}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, missing(dir, "there is no such folder")
	}
	var err error
	if c.architecture, err = readArchitecture(dir); err != nil {
		return nil, err
	}
	if err = readModules(dir); err != nil {
		return nil, err
	}
	if c.pooling, err = readPooling(dir); err != nil {
		return nil, err
	}
	if c.maxTokens, err = readMaxTokens(dir, c.architecture); err != nil {
		return nil, err
	}
	if err = c.checkWeights(); err != nil {
		return nil, err
	}
	if c.fingerprint, err = c.hash(); err != nil {
		return nil, err
	}
	return c, nil
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
func (c *Checkpoint) Dimension() int { return c.architecture.HiddenSize }

// MaxTokens is the longest text in tokens, special tokens included; longer ones are cut.
func (c *Checkpoint) MaxTokens() int { return c.maxTokens }

// TokenizerPath is the path of tokenizer.json.
func (c *Checkpoint) TokenizerPath() string { return filepath.Join(c.dir, tokenizerFile) }

// checkWeights opens the weights to see that every tensor the graph needs is there in the right shape.
func (c *Checkpoint) checkWeights() error {
	path := filepath.Join(c.dir, weightsFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return missing(c.dir, weightsFile+" is missing (weights in another form, or in several files, are not supported)")
	}
	if err != nil {
		return fmt.Errorf("reading the weights: %w", err)
	}
	c.weightsTime, c.weightsBytes = info.ModTime(), info.Size()
	w, err := openWeights(path)
	if err != nil {
		return unsupported(c.dir, "%s is not a safetensors file: %v", weightsFile, err)
	}
	defer w.close()
	for _, t := range bertTensors(c.architecture) {
		if err := w.check(t.name, t.shape...); err != nil {
			return unsupported(c.dir, "%s: %v", weightsFile, err)
		}
	}
	return nil
}

// unchanged reports whether the weights are still the file that was hashed.
func (c *Checkpoint) unchanged() error {
	info, err := os.Stat(filepath.Join(c.dir, weightsFile))
	if err != nil {
		return fmt.Errorf("reading the weights again: %w", err)
	}
	if info.Size() != c.weightsBytes || !info.ModTime().Equal(c.weightsTime) {
		return fmt.Errorf("%s of model %s changed while it was read", weightsFile, c.dir)
	}
	return nil
}

// hashFile returns the SHA-256 of a file in hex, and its size.
func hashFile(path string) (sum string, size int64, err error) {
	file, err := os.Open(path)
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
