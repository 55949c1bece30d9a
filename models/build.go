package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// Graph is a graph in the cache whose file was found to be whole.
type Graph struct {
	// Path is the ONNX file.
	Path     string
	Manifest Manifest
	// Built is true where this call wrote the graph, false where it was in the cache.
	Built bool
}

// Build returns the checkpoint's graph for a target from the cache folder, and writes it there first where it is missing or
// damaged. Writing takes about a second and some 100 MB of memory; checking hashes the file. Any number of processes may call it
// at once: the files are written aside and renamed into place, and all write the same bytes.
func Build(ctx context.Context, c *Checkpoint, cacheDir string, target Target) (Graph, error) {
	if c.Export() && target != plainTarget {
		return Graph{}, fault.New(fault.Usage, "choose the precision fp32", "there is no graph for %s of model %s, which is a ready export",
			target, c.Name())
	}
	if _, known := writers[target]; !known {
		return Graph{}, fault.New(fault.Usage, "choose the precision fp32", "there is no graph for %s", target)
	}
	if target.Kernel == KernelVNNI && !c.FitsOperators() {
		return Graph{}, fault.New(fault.Usage, "choose the precision auto", "model %s is not one for wal2vec's operators: %s", c.Name(), operatorSizes)
	}
	if target.Device == DeviceCUDA {
		if err := c.architecture.checkGPU(); err != nil {
			return Graph{}, fault.New(fault.Usage, "choose the device cpu", "model %s has no graph for %s: %v", c.Name(), target, err)
		}
	}
	dir := filepath.Join(cacheDir, c.fingerprint, fmt.Sprintf("%s-g%d", target, GeneratorVersion))
	if cached, err := Check(ctx, dir); err == nil && cached.Manifest.Fingerprint == c.fingerprint {
		return cached, nil
	} else if ctx.Err() != nil {
		return Graph{}, ctx.Err()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Graph{}, fmt.Errorf("making the model cache: %w", err)
	}
	m := c.manifest(target)
	if err := c.writeGraph(ctx, dir, &m); err != nil {
		return Graph{}, fmt.Errorf("building the graph of model %s: %w", c.Name(), err)
	}
	return Graph{Path: filepath.Join(dir, graphFile), Manifest: m, Built: true}, nil
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
	err := replaceFile(filepath.Join(dir, graphFile), func(temporary *os.File) error {
		if err := c.encodeGraph(ctx, temporary, m); err != nil {
			return err
		}
		if err := c.unchanged(); err != nil {
			return err
		}
		var err error
		m.GraphSHA256, m.GraphBytes, err = hashFile(temporary.Name())
		return err
	})
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, manifestFile), func(temporary *os.File) error {
		encoder := json.NewEncoder(temporary)
		encoder.SetIndent("", "  ")
		return encoder.Encode(m)
	})
}

// encodeGraph writes the graph's file in the way of its source and target.
func (c *Checkpoint) encodeGraph(ctx context.Context, out io.Writer, m *Manifest) error {
	metadata := map[string]string{"fingerprint": m.Fingerprint, "generator": strconv.Itoa(m.Generator), "target": m.Target.String()}
	if c.Export() {
		return c.writeExport(ctx, out, metadata)
	}
	w, err := openWeights(c.weightPaths()...)
	if err != nil {
		return err
	}
	defer w.close()
	return writeModel(ctx, out, writers[m.Target](c.architecture, c.tail, w), metadata)
}

// replaceFile writes a file aside and renames it into place, so that a reader sees the old one or the new one, whole. A crash of
// the machine may lose the data of a renamed file; the hash in the manifest finds that out.
func replaceFile(path string, write func(temporary *os.File) error) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // after the rename there is nothing to remove
	err = errors.Join(write(temporary), temporary.Chmod(0o644), temporary.Close())
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// Check reads the graph in one folder of the cache and compares its file with the manifest: an error says what is wrong.
func Check(ctx context.Context, dir string) (Graph, error) {
	if err := ctx.Err(); err != nil {
		return Graph{}, err
	}
	m, err := readManifest(dir)
	if err != nil {
		return Graph{}, err
	}
	path := filepath.Join(dir, graphFile)
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
