package encodertest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wal2vec/wal2vec/encoder"
)

// Fake is an encoder whose vectors are made from a hash of the text: the same text always has the
// same vector of length 1, two texts have two, and nothing like meaning is in them. It is safe for
// concurrent use.
type Fake struct {
	dimension int
	model     string
	// hook holds a func(context.Context, []string) error.
	hook   atomic.Value
	open   sync.RWMutex
	closed bool

	texts, encoded, tokens, runs atomic.Uint64
}

// NewFake returns a fake whose vectors have so many components, at least one.
func NewFake(dimension int) *Fake {
	if dimension < 1 {
		panic(fmt.Sprintf("a vector of %d components", dimension))
	}
	return &Fake{dimension: dimension}
}

// NewModel returns a fake that stands for another model: its vectors are others than those of any
// other name. NewFake's name is empty.
func NewModel(dimension int, name string) *Fake {
	f := NewFake(dimension)
	f.model = name
	return f
}

// Hook sets a function that every call of Encode and EncodeQuery calls first, with the call's
// context and texts: to count, to block, or to fail with its error. It may be set at any time; nil
// removes it.
func (f *Fake) Hook(hook func(ctx context.Context, texts []string) error) { f.hook.Store(hook) }

// Dimension is the length of a vector.
func (f *Fake) Dimension() int { return f.dimension }

// Encode returns the vector of each text; see encoder.Encoder.
func (f *Fake) Encode(ctx context.Context, texts []string) ([][]float32, error) {
	f.open.RLock()
	defer f.open.RUnlock()
	if f.closed {
		return nil, encoder.ErrClosed
	}
	if hook, ok := f.hook.Load().(func(context.Context, []string) error); ok && hook != nil {
		if err := hook(ctx, texts); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	vectors := make([][]float32, len(texts))
	distinct := make(map[string]struct{}, len(texts))
	for i, text := range texts {
		vectors[i] = ModelVector(f.model, text, f.dimension)
		if _, seen := distinct[text]; !seen {
			distinct[text] = struct{}{}
			f.tokens.Add(uint64(2 + len(strings.Fields(text))))
		}
	}
	f.texts.Add(uint64(len(texts)))
	f.encoded.Add(uint64(len(distinct)))
	f.runs.Add(1)
	return vectors, nil
}

// EncodeQuery returns the vector of one text.
func (f *Fake) EncodeQuery(ctx context.Context, text string) ([]float32, error) {
	vectors, err := f.Encode(ctx, []string{text})
	if err != nil {
		return nil, err
	}
	return vectors[0], nil
}

// Stats counts like encoder.Encoder.Stats, a word for a token; the device is "fake".
func (f *Fake) Stats() encoder.Stats {
	return encoder.Stats{
		Texts: f.texts.Load(), Encoded: f.encoded.Load(), Tokens: f.tokens.Load(), Runs: f.runs.Load(), Device: "fake",
	}
}

// Close waits for running calls; later ones return encoder.ErrClosed.
func (f *Fake) Close() error {
	f.open.Lock()
	defer f.open.Unlock()
	f.closed = true
	return nil
}

// Vector is the vector that a Fake of this dimension gives a text.
func Vector(text string, dimension int) []float32 { return ModelVector("", text, dimension) }

// ModelVector is Vector for a fake that has a model's name.
func ModelVector(model, text string, dimension int) []float32 {
	sum := sha256.Sum256([]byte(model + text))
	state := binary.LittleEndian.Uint64(sum[:])
	vector := make([]float32, dimension)
	var squares float64
	for i := range vector {
		// One step of splitmix64: fast, and every start gives another sequence.
		state += 0x9e3779b97f4a7c15
		z := (state ^ state>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		// Odd numbers over 2^24, so that no component is zero and no vector either.
		vector[i] = float32(int32(z>>40)-1<<23)/(1<<23) + 1.0/(1<<24)
		squares += float64(vector[i]) * float64(vector[i])
	}
	scale := float32(1 / math.Sqrt(squares))
	for i := range vector {
		vector[i] *= scale
	}
	return vector
}
