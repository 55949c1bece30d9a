package encoder

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// ErrSelfTest is in the chain of the error that Open returns when the model computes something else than it should. Its fault.Kind
// is Model. Vectors of such a model would poison the table, so nothing is written with it.
var ErrSelfTest = errors.New("the model fails its self-test")

// The bounds of the self-test.
const (
	selfTestTexts = 8
	// minSelfTestCosine leaves room for fp16; fp32 reaches 0.9999999.
	minSelfTestCosine = 0.999
	// maxBatchDifference is guarantee 4: between a text's components alone and beside others.
	maxBatchDifference = 1e-6
	maxLengthError     = 1e-3
)

// selfTest encodes the first reference texts alone, and one of them beside others of its length.
func (e *Encoder) selfTest(ctx context.Context, fingerprint string) error {
	for i, r := range References(fingerprint)[:selfTestTexts] {
		ids, _, err := e.tokenizer.Tokenize(r.Text)
		if err != nil {
			return fmt.Errorf("testing the tokenizer: %w", err)
		}
		alone := make([]float32, e.dimension)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.runner.Run(ids, 1, len(ids), alone); err != nil {
			return fmt.Errorf("testing the model: %w", err)
		}
		if err := compare(alone, r); err != nil {
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

// testBatch encodes a text again, as the last of three. The others hold the same tokens in another order.
func (e *Encoder) testBatch(ids []int32, alone []float32) error {
	n := len(ids)
	input := make([]int32, 0, 3*n)
	for shift := 1; shift <= 3; shift++ {
		for i := range ids {
			input = append(input, ids[(i+(3-shift)*(n/3))%n])
		}
	}
	out := make([]float32, 3*e.dimension)
	if err := e.runner.Run(input, 3, n, out); err != nil {
		return fmt.Errorf("testing the model: %w", err)
	}
	for i, v := range out[2*e.dimension:] {
		if d := math.Abs(float64(v - alone[i])); d > maxBatchDifference {
			return failed("component %d of a text's vector moves by %.2g beside other texts", i, d)
		}
	}
	return nil
}

// compare checks that a vector is finite, of length 1, and near the stored one where there is one.
func compare(vector []float32, r Reference) error {
	var squares, product float64
	for i, v := range vector {
		squares += float64(v) * float64(v)
		if r.Vector != nil && len(r.Vector) == len(vector) {
			product += float64(v) * float64(r.Vector[i])
		}
	}
	switch length := math.Sqrt(squares); {
	case math.IsNaN(length) || math.Abs(length-1) > maxLengthError:
		return failed("the vector of %q has length %g instead of 1", r.Text, length)
	case r.Vector != nil && len(r.Vector) != len(vector):
		return failed("a vector has %d components instead of %d", len(vector), len(r.Vector))
	case r.Vector != nil && product < minSelfTestCosine:
		return failed("the vector of %q has cosine %.4f to the stored one, below %g", r.Text, product, minSelfTestCosine)
	}
	return nil
}

func failed(what string, args ...any) error {
	return fault.Wrap(fmt.Errorf("%w: "+what, append([]any{ErrSelfTest}, args...)...), fault.Model,
		"choose another device with --device cpu, or delete the model cache and run make parts", "checking the model")
}
