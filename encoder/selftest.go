package encoder

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// ErrSelfTest is in the chain of the error that Open returns when the model computes something else
// than it should. Its fault.Kind is Model. Vectors of such a model would poison the table, so
// nothing is written with it.
var ErrSelfTest = errors.New("the model fails its self-test")

// The least cosines to the stored vectors, by precision. fp32 leaves room for another order of
// additions: 0.9999995 was measured. int8 is the bound within which precisions share a vector
// space; see ARCHITECTURE, "Guarantees".
const (
	FP32Cosine = 0.9999
	FP16Cosine = 0.9995
	Int8Cosine = 0.995
)

// MinCosine is the least cosine of a precision, for Options; an unknown one has that of fp32.
func MinCosine(precision string) float64 {
	switch precision {
	case change.PrecisionINT8:
		return Int8Cosine
	case change.PrecisionFP16:
		return FP16Cosine
	default:
		return FP32Cosine
	}
}

// The bounds of the self-test.
const (
	selfTestTexts = 8
	// maxBatchDifference is guarantee 4: between a text's components alone and beside others.
	// Vectors longer than 1 may move as much in proportion.
	maxBatchDifference = 1e-6
	maxLengthError     = 1e-3
)

// selfTest encodes the first reference texts alone, and the first of them beside others.
func (e *Encoder) selfTest(ctx context.Context) error {
	for i, r := range References(e.options.Fingerprint)[:selfTestTexts] {
		ids, _, err := e.tokenize(nil, r.Text)
		if err != nil {
			return fmt.Errorf("testing the tokenizer: %w", err)
		}
		alone := make([]float32, e.options.Dimension)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.runner.Run(ids, []int32{0, int32(len(ids))}, alone); err != nil {
			return fmt.Errorf("testing the model: %w", err)
		}
		if err := e.compare(alone, r); err != nil {
			return err
		}
		if i == 0 {
			if err := e.testBatch(ids, alone); err != nil {
				return err
			}
		}
	}
	return nil
}

// testBatch encodes a text again, as the last of three. The others hold the same tokens in another
// order, and fewer of them where the runner takes texts of several lengths.
func (e *Encoder) testBatch(ids []int32, alone []float32) error {
	n, starts := len(ids), []int32{0}
	var input []int32
	for shift := 1; shift <= 3; shift++ {
		length := n
		if e.runner.Packed() {
			length -= (3 - shift) * (n / 4)
		}
		for i := range length {
			input = append(input, ids[(i+(3-shift)*(n/3))%n])
		}
		starts = append(starts, int32(len(input)))
	}
	out := make([]float32, 3*e.options.Dimension)
	if err := e.runner.Run(input, starts, out); err != nil {
		return fmt.Errorf("testing the model: %w", err)
	}
	allowed := maxBatchDifference * max(1, change.Length(alone))
	for i, v := range out[2*e.options.Dimension:] {
		if d := math.Abs(float64(v - alone[i])); d > allowed {
			return failed("component %d of a text's vector moves by %.2g beside other texts", i, d)
		}
	}
	return nil
}

// compare checks that a vector is finite, of length 1 where the model makes it so, and near the
// stored one where there is one.
func (e *Encoder) compare(vector []float32, r Reference) error {
	least := e.options.MinCosine
	if least == 0 {
		least = FP32Cosine
	}
	switch length := change.Length(vector); {
	case math.IsNaN(length) || math.IsInf(length, 0):
		return failed("the vector of %q is not finite", r.Text)
	case !e.options.Unnormalised && math.Abs(length-1) > maxLengthError:
		return failed("the vector of %q has length %g instead of 1", r.Text, length)
	case r.Vector != nil && len(r.Vector) != len(vector):
		return failed("a vector has %d components instead of %d", len(vector), len(r.Vector))
	case r.Vector == nil:
		return nil
	default:
		if near := change.Cosine(vector, r.Vector); near < least || math.IsNaN(near) { // a zero vector is near to none
			return failed("the vector of %q has cosine %.4f to the stored one, below %g", r.Text, near, least)
		}
		return nil
	}
}

func failed(what string, args ...any) error {
	return fault.Wrap(fmt.Errorf("%w: "+what, append([]any{ErrSelfTest}, args...)...), fault.Model,
		"choose another device with --device cpu, or delete the model cache and run make parts", "checking the model")
}
