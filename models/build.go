package models

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// Graph is a graph whose file was found to be whole, in a cache that no other account can change,
// or one that was made just now.
type Graph struct {
	// Path is the ONNX file; empty where there is no folder to keep it in.
	Path string
	// Data is the ONNX file's content where Path is empty.
	Data     []byte
	Manifest Manifest
	// Built is true where this call made the graph, false where it was in the cache.
	Built bool
	// NotKept says why Path is empty.
	NotKept error
}

// Build returns the checkpoint's graph for a target from the cache folder, and writes it there
// first where it is missing or damaged. Writing takes about a second and some 100 MB of memory;
// checking hashes the file. Any number of processes may call it at once: the files are written
// aside and renamed into place, and all write the same bytes.
//
// Only a folder that no other account can change is read or written (see safefile.Check): in any
// other, the account that writes the graph could write a manifest to match. Without such a folder
// the graph is made in memory. So is that of a checkpoint that another account can change: every
// command takes what the cache holds for a fingerprint.
//
// The graph is made of the bytes that Open hashed: where a file has others by now, the error is of
// kind fault.Model, and nothing is kept.
func Build(ctx context.Context, c *Checkpoint, cacheDir string, target Target) (Graph, error) {
	if err := c.suits(target); err != nil {
		return Graph{}, err
	}
	dir := filepath.Join(cacheDir, c.fingerprint, fmt.Sprintf("%s-g%d", target, GeneratorVersion))
	m := c.manifest(target)
	if cacheDir == "" {
		return c.buildInMemory(ctx, m, ErrNoCache)
	}
	if cached, err := Check(ctx, dir); err == nil && cached.Manifest.isOf(m) {
		// Of what the file says its hash alone is taken.
		m.GraphSHA256, m.GraphBytes = cached.Manifest.GraphSHA256, cached.Manifest.GraphBytes
		return Graph{Path: cached.Path, Manifest: m}, nil
	} else if ctx.Err() != nil {
		return Graph{}, ctx.Err()
	}
	if err := c.files.check(); err != nil {
		return c.buildInMemory(ctx, m, fmt.Errorf("a file of the model: %w", err))
	}
	err := safefile.Check(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(dir, 0o755)
		if err == nil {
			err = safefile.Check(dir) // of two at once the other one may have made it
		}
	}
	if err == nil {
		err = c.writeGraph(ctx, dir, &m)
	}
	switch {
	case err == nil:
		return Graph{Path: filepath.Join(dir, graphFile), Manifest: m, Built: true}, nil
	case unusable(err):
		return c.buildInMemory(ctx, m, err)
	default:
		return Graph{}, fmt.Errorf("building the graph of model %s: %w", c.Name(), err)
	}
}

// ErrNoCache says why a graph is not kept where no folder is named.
var ErrNoCache error = fault.New(fault.Usage, "export WAL2VEC_CACHE=FOLDER with one that this account owns",
	"there is no folder for graphs: this account has no home")

// unusable reports whether a folder can hold no graph of this account: it may not be written, or
// other accounts can change it.
func unusable(err error) bool {
	_, shared := errors.AsType[*safefile.Error](err)
	return shared || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOTDIR)
}

// suits refuses a target that there is no graph for.
func (c *Checkpoint) suits(target Target) error {
	if c.Export() && target != plainTarget {
		return fault.New(fault.Usage, "choose the precision fp32", "there is no graph for %s of model %s, which is a ready export",
			target, c.Name())
	}
	if _, known := writers[target]; !known {
		return fault.New(fault.Usage, "choose the precision fp32", "there is no graph for %s", target)
	}
	if target.Kernel == KernelVNNI && !c.FitsOperators() {
		return fault.New(fault.Usage, "choose the precision auto", "model %s is not one for wal2vec's operators: %s", c.Name(), operatorSizes)
	}
	if target.Device == DeviceCUDA {
		if err := c.architecture.checkGPU(); err != nil {
			return fault.New(fault.Usage, "choose the device cpu", "model %s has no graph for %s: %v", c.Name(), target, err)
		}
	}
	return nil
}

// buildInMemory makes the graph without a file.
func (c *Checkpoint) buildInMemory(ctx context.Context, m Manifest, reason error) (Graph, error) {
	var data bytes.Buffer
	if err := c.encodeGraph(ctx, &data, &m); err != nil {
		return Graph{}, fmt.Errorf("building the graph of model %s: %w", c.Name(), err)
	}
	return Graph{Data: data.Bytes(), Manifest: m, Built: true, NotKept: reason}, nil
}

// Verify makes the graph again and compares it, byte for byte by its hash, with what a manifest
// says of a file: a graph that was exchanged together with its manifest is found out by the
// checkpoint, whose fingerprint the sink knows. It takes about a second. A difference is an error
// of kind fault.Findings.
func Verify(ctx context.Context, c *Checkpoint, g Graph) error {
	m := c.manifest(g.Manifest.Target)
	if err := c.encodeGraph(ctx, io.Discard, &m); err != nil {
		return fmt.Errorf("making the graph of model %s again: %w", c.Name(), err)
	}
	if m.GraphSHA256 == g.Manifest.GraphSHA256 {
		return nil
	}
	return fault.New(fault.Findings, "remove its folder, then wal2vec models build", "the graph %s is not what model %s gives", g.Path, c.Name())
}

// plainTarget is that of standard operators in fp32, which every device runs.
var plainTarget = Target{Device: DeviceCPU, Precision: PrecisionFP32}

// writers make the graph for each target.
var writers = map[Target]func(a architecture, t tail, w *weights) *graph{
	plainTarget: func(a architecture, t tail, w *weights) *graph { return &newBERT(a, t, w).graph },
	{Device: DeviceCPU, Precision: PrecisionINT8}:                     newInt8,
	{Device: DeviceCPU, Precision: PrecisionINT8, Kernel: KernelVNNI}: newVNNI,
	{Device: DeviceCUDA, Precision: PrecisionFP16}: func(a architecture, t tail, w *weights) *graph {
		return &newPackedBERT(a, t, w).graph
	},
}

// writeGraph writes the graph and then, when it is in place, the manifest that vouches for it.
func (c *Checkpoint) writeGraph(ctx context.Context, dir string, m *Manifest) error {
	const readable = 0o644 // another account may use the cache of root
	err := safefile.Replace(filepath.Join(dir, graphFile), readable, func(aside *os.File) error {
		return c.encodeGraph(ctx, aside, m)
	})
	if err != nil {
		return err
	}
	return safefile.Replace(filepath.Join(dir, manifestFile), readable, func(aside *os.File) error {
		encoder := json.NewEncoder(aside)
		encoder.SetIndent("", "  ")
		return encoder.Encode(m)
	})
}

// encodeGraph writes the graph's file, of the bytes that the fingerprint is of, and puts the file's
// hash and size into the manifest.
func (c *Checkpoint) encodeGraph(ctx context.Context, out io.Writer, m *Manifest) error {
	written := &tally{hash: sha256.New()}
	if err := c.encode(ctx, io.MultiWriter(out, written), m); err != nil {
		return err
	}
	m.GraphSHA256, m.GraphBytes = hex.EncodeToString(written.hash.Sum(nil)), written.bytes
	return nil
}

// tally hashes and counts what is written.
type tally struct {
	hash  hash.Hash
	bytes int64
}

// Write is io.Writer's.
func (t *tally) Write(p []byte) (int, error) {
	t.bytes += int64(len(p))
	return t.hash.Write(p)
}

// encode writes the graph's file in the way of its source and target.
func (c *Checkpoint) encode(ctx context.Context, out io.Writer, m *Manifest) error {
	metadata := map[string]string{"fingerprint": m.Fingerprint, "generator": strconv.Itoa(m.Generator), "target": m.Target.String()}
	if c.Export() {
		return c.writeExport(ctx, out, metadata)
	}
	w, err := c.openSealed()
	if err != nil {
		return err
	}
	defer w.close()
	return writeModel(ctx, out, writers[m.Target](c.architecture, c.tail, w), metadata)
}

// Check reads the graph in one folder of the cache and compares its file with the manifest: an
// error says what is wrong, also where another account could have written either.
func Check(ctx context.Context, dir string) (Graph, error) {
	if err := ctx.Err(); err != nil {
		return Graph{}, err
	}
	path := filepath.Join(dir, graphFile)
	for _, file := range []string{filepath.Join(dir, manifestFile), path} {
		if err := safefile.Check(file); err != nil {
			return Graph{}, fmt.Errorf("looking at the graph: %w", err)
		}
	}
	m, err := readManifest(dir)
	if err != nil {
		return Graph{}, err
	}
	sum, size, err := hashFile(path)
	if err != nil {
		return Graph{}, fmt.Errorf("reading the graph: %w", err)
	}
	if sum != m.GraphSHA256 || size != m.GraphBytes {
		return Graph{}, fmt.Errorf("%s is damaged: its hash differs from the manifest's", path)
	}
	return Graph{Path: path, Manifest: m}, nil
}

// List returns the folders of the graphs in a cache, for Check; an absent cache is empty.
func List(cacheDir string) ([]string, error) {
	found, err := fs.Glob(os.DirFS(cacheDir), "*/*/"+manifestFile)
	if err != nil {
		return nil, fmt.Errorf("listing the model cache: %w", err)
	}
	for i := range found {
		found[i] = filepath.Join(cacheDir, filepath.Dir(found[i]))
	}
	return found, nil
}
