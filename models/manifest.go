package models

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// GeneratorVersion rises whenever the graph that is written for the same checkpoint changes. It is
// part of a cached graph's folder name, so that binaries of two versions can share a cache.
const GeneratorVersion = 4

// The files of a cached graph.
const (
	graphFile    = "model.onnx"
	manifestFile = "manifest.json"
)

// Device is the kind of processor a graph is written for.
type Device string

// Precision is the number format a graph computes in.
type Precision string

// Kernel says which operators a graph holds beside the standard ones.
type Kernel string

// The devices, precisions and kernels for which a graph can be written. The graph for DeviceCPU in
// PrecisionFP32 holds standard operators only and so runs on other providers too.
const (
	DeviceCPU  Device = change.DeviceCPU
	DeviceCUDA Device = change.DeviceCUDA

	PrecisionFP32 Precision = change.PrecisionFP32
	PrecisionFP16 Precision = change.PrecisionFP16
	PrecisionINT8 Precision = change.PrecisionINT8

	// KernelVNNI are wal2vec's own operators for x86-64 with AVX-512 VNNI; see
	// encoder/ort/operators.
	KernelVNNI Kernel = "vnni"
)

// Target says what a graph is written for.
type Target struct {
	Device    Device    `json:"device"`
	Precision Precision `json:"precision"`
	Kernel    Kernel    `json:"kernel,omitempty"`
}

// String is the target as it stands in file names.
func (t Target) String() string {
	name := string(t.Device) + "-" + string(t.Precision)
	if t.Kernel != "" {
		name += "-" + string(t.Kernel)
	}
	return name
}

// Packed reports whether the graph takes texts of any lengths one after the other, with
// InputStarts; else it takes texts of one length.
func (t Target) Packed() bool { return t.Device == DeviceCUDA || t.Kernel == KernelVNNI }

// Manifest describes a graph. It stands beside it as JSON.
type Manifest struct {
	// Model is the name of the checkpoint's folder.
	Model string `json:"model"`
	// Fingerprint names the vector space; see Checkpoint.Fingerprint.
	Fingerprint string `json:"fingerprint"`
	Target      Target `json:"target"`
	// Dimension is the length of a vector, MaxTokens the longest input, Vocabulary the number of
	// token ids.
	Dimension  int `json:"dimension"`
	MaxTokens  int `json:"max_tokens"`
	Vocabulary int `json:"vocabulary"`
	// Export is true where the graph is a ready ONNX export with a tail added.
	Export bool `json:"export,omitempty"`
	// Pooling and Normalised are done inside the graph. Vectors that are not normalised are of any
	// length.
	Pooling    Pooling `json:"pooling"`
	Normalised bool    `json:"normalised"`
	// Sources maps the files the graph was made from to their SHA-256; tokenizer.json's leaves out
	// padding and truncation.
	Sources map[string]string `json:"sources"`
	// SourcesChecked says that the bytes that the graph was made of were compared with Sources as
	// they were read, and that no other account could change the checkpoint. Graphs of earlier
	// versions lack it, and are made again.
	SourcesChecked bool `json:"sources_checked"`
	// Generator is the GeneratorVersion that wrote the graph.
	Generator int `json:"generator"`
	// GraphSHA256 and GraphBytes are of the graph's file.
	GraphSHA256 string `json:"graph_sha256"`
	GraphBytes  int64  `json:"graph_bytes"`
}

// manifest describes the graph of a checkpoint, but for the graph file's own hash.
func (c *Checkpoint) manifest(target Target) Manifest {
	return Manifest{
		Model: c.Name(), Fingerprint: c.fingerprint, Target: target, Dimension: c.Dimension(), MaxTokens: c.maxTokens,
		Vocabulary: c.vocabulary, Export: c.Export(), Pooling: c.tail.pooling, Normalised: c.tail.normalised,
		Sources: maps.Clone(c.sources), SourcesChecked: true, Generator: GeneratorVersion,
	}
}

// isOf reports whether a manifest is of the same graph as another, whatever folder the checkpoint
// is in.
func (m Manifest) isOf(other Manifest) bool {
	return m.Fingerprint == other.Fingerprint && m.Target == other.Target && m.Generator == other.Generator &&
		m.SourcesChecked == other.SourcesChecked
}

// readManifest reads the manifest in a graph's folder.
func readManifest(dir string) (Manifest, error) {
	var m Manifest
	data, err := safefile.Read(filepath.Join(dir, manifestFile), MaxConfigBytes)
	if err != nil {
		return m, fmt.Errorf("reading the manifest: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("parsing the manifest in %s: %w", dir, err)
	}
	return m, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
