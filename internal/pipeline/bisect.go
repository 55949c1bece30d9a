package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
)

// encodeLacking encodes, for each generation, the texts of the changes that it lacks, and returns
// how many now have a vector.
func encodeLacking(
	ctx context.Context, encoders Encoders, changes []change.Change, lacks []change.Lack, out change.Encodings,
) (int, error) {
	total := 0
	for _, lack := range lacks {
		documents := make([]change.Document, len(lack.At))
		for i, at := range lack.At {
			documents[i] = changes[at].Text(lack.Template)
		}
		n, err := encodeFor(ctx, encoders, lack.Generation, documents, out)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// encodeFor is encodeDocuments with the encoder of a generation.
func encodeFor(ctx context.Context, encoders Encoders, generation int, documents []change.Document, out change.Encodings) (int, error) {
	encoder, err := encoders.Of(ctx, generation)
	if err != nil {
		return 0, fmt.Errorf("encoding for generation %d: %w", generation, err)
	}
	return encodeDocuments(ctx, encoder, documents, out.Of(generation))
}

// encodeDocuments encodes each distinct text that is not in out yet and returns how many now have a
// vector. A text that fails by itself goes to out.Failed, and so does a row that is too large to be
// one. An encoder that fails altogether is an error, and out stays as it was.
func encodeDocuments(ctx context.Context, encoder Encoder, documents []change.Document, out change.Encoded) (int, error) {
	texts := make([]string, 0, len(documents))
	hashes := make([]change.Hash, 0, len(documents))
	seen := make(map[change.Hash]struct{}, len(documents))
	for _, d := range documents {
		if _, twice := seen[d.Hash]; twice || out.Has(d.Hash) {
			continue
		}
		seen[d.Hash] = struct{}{}
		if reason := d.Refusal(); reason != "" {
			out.Failed[d.Hash] = reason
			continue
		}
		texts, hashes = append(texts, d.Text), append(hashes, d.Hash)
	}
	if len(texts) == 0 {
		return 0, nil
	}
	b := &bisection{encoder: encoder, texts: texts, vectors: make([][]float32, len(texts)), reasons: make(map[int]string)}
	if err := b.run(ctx); err != nil {
		return 0, err
	}
	for i, h := range hashes {
		if reason, failed := b.reasons[i]; failed {
			out.Failed[h] = reason
		} else {
			out.Vectors[h] = b.vectors[i]
		}
	}
	return len(texts) - len(b.reasons), nil
}

// ErrEncoding marks the failure of an encoder that fails whatever it is given: the batch waits,
// nothing is set aside.
var ErrEncoding error = fault.New(fault.Unavailable, "wal2vec encode, to see whether the model works here", "encoding")

const (
	// probe is a text that every encoder that works can encode.
	probe = "wal2vec"
	// secondLook is the pause before texts that failed are tried again: what failed for a passing
	// reason goes through then (a guess).
	secondLook = 200 * time.Millisecond
)

// bisection encodes texts, and where a call fails it halves the call until the texts that fail by
// themselves are known.
//
// A text is held to fail by itself when it failed alone, the encoder then encoded something else,
// the text failed alone once more, and the encoder then encoded something else again. An encoder
// that does not is out of order, which is no text's fault: the whole call fails, after few calls
// however many texts it has.
type bisection struct {
	encoder Encoder
	texts   []string
	// vectors[i] belongs to texts[i]; reasons holds the indexes of the texts that have none.
	vectors [][]float32
	reasons map[int]string

	suspects []int // failed alone, once
	last     error // why the last call failed
}

func (b *bisection) run(ctx context.Context) error {
	all := make([]int, len(b.texts))
	for i := range all {
		all[i] = i
	}
	whole, err := b.encode(ctx, all)
	if err != nil {
		return err
	}
	if !whole {
		if err := b.halve(ctx, all); err != nil {
			return err
		}
	}
	return b.judge(ctx)
}

// halve takes failed calls apart, the larger ones first, so that an encoder that has stopped
// working is noticed early.
func (b *bisection) halve(ctx context.Context, all []int) error {
	failed := [][]int{all}
	for len(failed) > 0 {
		group := failed[0]
		failed = failed[1:]
		if len(group) == 1 {
			b.suspects = append(b.suspects, group[0])
			continue
		}
		broken := 0
		for _, half := range [][]int{group[:len(group)/2], group[len(group)/2:]} {
			ok, err := b.encode(ctx, half)
			if err != nil {
				return err
			}
			if !ok {
				broken++
				failed = append(failed, half)
			}
		}
		if broken == 2 {
			if err := b.works(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// judge tries the suspects once more, each alone.
func (b *bisection) judge(ctx context.Context) error {
	suspects := b.suspects
	if len(suspects) == 0 {
		return nil
	}
	if err := b.works(ctx); err != nil {
		return err
	}
	if err := pause.Steady(secondLook).Wait(ctx); err != nil {
		return err
	}
	for _, i := range suspects {
		b.suspects = nil
		ok, err := b.encode(ctx, []int{i})
		if err != nil {
			return err
		}
		if ok && len(b.suspects) == 0 {
			continue
		}
		reason := redact(b.last, b.texts[i])
		if err := b.works(ctx); err != nil {
			return err
		}
		b.reasons[i] = reason
	}
	return nil
}

// encode encodes the texts at these indexes in one call and reports whether the call succeeded; a
// text whose vector is of no use then is a suspect. An error ends the bisection.
func (b *bisection) encode(ctx context.Context, at []int) (bool, error) {
	texts := make([]string, len(at))
	for i, index := range at {
		texts[i] = b.texts[index]
	}
	vectors, ok, err := b.call(ctx, texts)
	if !ok || err != nil {
		return false, err
	}
	for i, index := range at {
		if err := checkVector(vectors[i], b.encoder.Dimension()); err != nil {
			b.suspects, b.last = append(b.suspects, index), err
			continue
		}
		b.vectors[index] = vectors[i]
	}
	return true, nil
}

// works makes sure that the encoder encodes something else than what failed.
func (b *bisection) works(ctx context.Context) error {
	before := b.last
	vectors, ok, err := b.call(ctx, []string{probe})
	if err != nil {
		return err
	}
	if !ok || checkVector(vectors[0], b.encoder.Dimension()) != nil {
		return b.outage(before)
	}
	return nil
}

// call runs the encoder. It returns false when that failed for what may be a text's fault.
func (b *bisection) call(ctx context.Context, texts []string) ([][]float32, bool, error) {
	vectors, err := b.encoder.Encode(ctx, texts)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	case fault.Retryable(err): // a connection that was lost, a time-out: that time may repair is true of no text
		return nil, false, b.outage(err)
	case err != nil:
		b.last = err
		return nil, false, nil //nolint:nilerr // last keeps it: whose fault it is will show
	case len(vectors) != len(texts):
		return nil, false, fmt.Errorf("encoding: the encoder returned %d vectors for %d texts", len(vectors), len(texts))
	default:
		return vectors, true, nil
	}
}

func (b *bisection) outage(err error) error {
	return fmt.Errorf("%w %d texts: %w", ErrEncoding, len(b.texts), withoutTexts(err, b.texts))
}

// checkVector says what makes a vector useless.
func checkVector(vector []float32, dimension int) error {
	if len(vector) != dimension {
		return fmt.Errorf("the encoder returned a vector of %d components, not %d", len(vector), dimension)
	}
	for _, v := range vector {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return errNotFinite
		}
	}
	return nil
}

var errNotFinite = errors.New("the encoder returned a vector with a component that is no finite number")
