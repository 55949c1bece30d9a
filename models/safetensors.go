package models

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/wal2vec/wal2vec/internal/safefile"
)

// maxHeaderBytes bounds the header of a safetensors file, which takes some 20 times the memory. A
// tensor has some 100 bytes in it, the largest BERT 800 tensors; the format's own limit is 100 MB.
const maxHeaderBytes = 8 << 20

// tensorInfo is one entry of a safetensors header.
type tensorInfo struct {
	Type    string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// bytesOf holds the element sizes of the types that weights come in.
var bytesOf = map[string]int{"F32": 4, "F16": 2, "BF16": 2}

// header is the table of contents of a safetensors file.
type header struct {
	tensors map[string]tensorInfo
	// dataStart is the file offset that a tensor's offsets count from.
	dataStart int64
}

// readHeader parses the head of a safetensors file of size bytes: eight bytes of length, then JSON.
// Every entry is checked against the file's size, so that a later read cannot leave it.
func readHeader(r io.Reader, size int64) (header, error) {
	var prefix [8]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return header{}, fmt.Errorf("reading the length of the header: %w", err)
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length > maxHeaderBytes || int64(length) > size-8 {
		return header{}, fmt.Errorf("a header of %d bytes does not fit into the file", length)
	}
	raw := make([]byte, length)
	if _, err := io.ReadFull(r, raw); err != nil {
		return header{}, fmt.Errorf("reading the header: %w", err)
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(raw, &entries); err != nil {
		return header{}, fmt.Errorf("parsing the header: %w", err)
	}
	h := header{tensors: make(map[string]tensorInfo, len(entries)), dataStart: 8 + int64(length)}
	for name, entry := range entries {
		if name == "__metadata__" {
			continue
		}
		var t tensorInfo
		if err := json.Unmarshal(entry, &t); err != nil {
			return header{}, fmt.Errorf("parsing the entry of tensor %q: %w", name, err)
		}
		if err := t.check(size - h.dataStart); err != nil {
			return header{}, fmt.Errorf("tensor %q: %w", name, err)
		}
		h.tensors[name] = t
	}
	return h, nil
}

// check compares shape, type and offsets with one another and with the size of the data.
func (t tensorInfo) check(dataBytes int64) error {
	if t.Offsets[0] < 0 || t.Offsets[1] < t.Offsets[0] || t.Offsets[1] > dataBytes {
		return fmt.Errorf("offsets %v leave the file", t.Offsets)
	}
	width, known := bytesOf[t.Type]
	if !known {
		return nil // never read: integer tensors such as position_ids
	}
	want := int64(width)
	for _, n := range t.Shape {
		if n < 0 || (n > 0 && want > math.MaxInt64/int64(n)) {
			return fmt.Errorf("shape %v is out of range", t.Shape)
		}
		want *= int64(n)
	}
	if want != t.Offsets[1]-t.Offsets[0] {
		return fmt.Errorf("shape %v of %s needs %d bytes, offsets span %d", t.Shape, t.Type, want, t.Offsets[1]-t.Offsets[0])
	}
	return nil
}

// errNoTensor says that a checkpoint lacks a tensor that its architecture needs.
var errNoTensor = errors.New("tensor is missing")

// weights reads tensors from open safetensors files.
type weights struct {
	files   []*os.File
	tensors map[string]storedTensor
	// prefix stands before every tensor's name; checkpoints saved with a head carry "bert." or
	// "distilbert.".
	prefix string
	// distil is true for weights with the names of DistilBERT.
	distil bool
}

// storedTensor is a tensor in one of the files.
type storedTensor struct {
	tensorInfo
	file io.ReaderAt
	// dataStart is the file offset that the tensor's offsets count from.
	dataStart int64
}

// openWeights opens the safetensors files that a checkpoint is cut into; the caller closes them.
func openWeights(paths ...string) (*weights, error) {
	return newWeights(paths, func(w *weights, path string) error { return w.add(path) })
}

// openSealed is openWeights for what was hashed before: it reads each file as a whole, and gives
// out no other bytes than those of the checkpoint's sums.
func (c *Checkpoint) openSealed() (*weights, error) {
	w, err := newWeights(c.weights, c.addSealed)
	if err != nil {
		return nil, err
	}
	if err := c.checkTensors(w); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (c *Checkpoint) addSealed(w *weights, name string) error {
	file, size, err := w.open(filepath.Join(c.dir, name))
	if err != nil {
		return err
	}
	s, sum, err := seal(file, size)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if sum != c.sources[name] {
		return c.changed(name)
	}
	s.changed = c.changed(name)
	return w.list(name, s, size)
}

func newWeights(names []string, add func(w *weights, name string) error) (*weights, error) {
	w := &weights{tensors: map[string]storedTensor{}}
	for _, name := range names {
		if err := add(w, name); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	for _, w.prefix = range []string{"distilbert.", "bert.", ""} {
		if _, ok := w.tensors[w.prefix+wordEmbeddings]; ok {
			break
		}
	}
	_, w.distil = w.tensors[w.prefix+distilName(layerName(0, "attention.self.query.weight"))]
	return w, nil
}

// name is the stored name of a tensor that BERT calls bertName.
func (w *weights) name(bertName string) string {
	if w.distil {
		bertName = distilName(bertName)
	}
	return w.prefix + bertName
}

func (w *weights) add(path string) error {
	file, size, err := w.open(path)
	if err != nil {
		return err
	}
	return w.list(path, file, size)
}

// open opens one of the files, which close closes.
func (w *weights) open(path string) (file *os.File, size int64, err error) {
	if file, err = safefile.Open(path); err != nil {
		return nil, 0, fmt.Errorf("opening the weights: %w", err)
	}
	w.files = append(w.files, file)
	info, err := file.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", path, err)
	}
	return file, info.Size(), nil
}

// list adds the tensors of a file of size bytes.
func (w *weights) list(name string, file io.ReaderAt, size int64) error {
	h, err := readHeader(io.NewSectionReader(file, 0, size), size)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	for tensor, t := range h.tensors {
		if _, twice := w.tensors[tensor]; twice {
			return fmt.Errorf("reading %s: tensor %q stands in another file too", name, tensor)
		}
		w.tensors[tensor] = storedTensor{tensorInfo: t, file: file, dataStart: h.dataStart}
	}
	return nil
}

func (w *weights) close() error {
	var err error
	for _, file := range w.files {
		err = errors.Join(err, file.Close())
	}
	return err
}

// check reports a tensor that is missing or has another shape or type than the graph needs.
func (w *weights) check(bertName string, shape ...int) error {
	name := w.name(bertName)
	t, ok := w.tensors[name]
	if !ok && w.distil && bertName == segmentEmbeddings {
		return nil
	}
	if !ok {
		return fmt.Errorf("tensor %q: %w", name, errNoTensor)
	}
	if _, known := bytesOf[t.Type]; !known {
		return fmt.Errorf("tensor %q has type %s, not F32, F16 or BF16", name, t.Type)
	}
	if !slices.Equal(t.Shape, shape) {
		return fmt.Errorf("tensor %q has shape %v, not %v", name, t.Shape, shape)
	}
	return nil
}

// read returns the elements of the tensor that BERT calls bertName as float32, row by row. The
// caller owns them. DistilBERT, which has no segments, adds nothing for them.
func (w *weights) read(bertName string) ([]float32, error) {
	name := w.name(bertName)
	t, ok := w.tensors[name]
	if !ok && w.distil && bertName == segmentEmbeddings {
		return make([]float32, w.tensors[w.name("embeddings.LayerNorm.bias")].Shape[0]), nil
	}
	if !ok {
		return nil, fmt.Errorf("tensor %q: %w", name, errNoTensor)
	}
	raw := make([]byte, t.Offsets[1]-t.Offsets[0])
	if _, err := t.file.ReadAt(raw, t.dataStart+t.Offsets[0]); err != nil {
		return nil, fmt.Errorf("reading tensor %q: %w", name, err)
	}
	return decodeFloats(t.Type, raw), nil
}

// decodeFloats converts little-endian elements of one of the types in bytesOf.
func decodeFloats(kind string, raw []byte) []float32 {
	out := make([]float32, len(raw)/bytesOf[kind])
	for i := range out {
		switch kind {
		case "F32":
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		case "BF16":
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16)
		case "F16":
			out[i] = halfToFloat(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	}
	return out
}

// halfToFloat widens an IEEE 754 half: exact for every value.
func halfToFloat(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15), int(h>>10&0x1f), uint32(h&0x3ff)
	var magnitude float64
	switch exponent {
	case 0: // zero and subnormals: fraction * 2^-24
		magnitude = math.Ldexp(float64(fraction), -24)
	case 0x1f:
		return math.Float32frombits(sign<<31 | 0x7f800000 | fraction<<13)
	default:
		magnitude = math.Ldexp(float64(fraction|0x400), exponent-25)
	}
	return math.Float32frombits(sign<<31 | math.Float32bits(float32(magnitude)))
}
