package audit

import (
	"context"
	"fmt"
	"math"

	"github.com/wal2vec/wal2vec/internal/change"
)

// sample is a text that is encoded again.
type sample struct {
	key      change.Key
	document change.Document
}

func sampleOf(row *change.Change, template int) sample {
	return sample{key: row.Key, document: row.Text(template)}
}

// pick takes one of so many rows whose vector looks right.
func (a *Auditor) pick(row *change.Change) {
	if a.every == 0 || a.report.Encoded+int64(len(a.samples)) >= 2*int64(a.opts.Reencode) {
		return
	}
	if a.seen++; a.seen%a.every == 0 {
		a.samples = append(a.samples, sampleOf(row, a.opts.Template))
	}
}

// encodeSamples encodes what was picked, and suspects what is not near its vector.
func (a *Auditor) encodeSamples(ctx context.Context) error {
	samples := a.samples
	a.samples = nil
	apart, err := a.apart(ctx, samples)
	for _, d := range apart {
		a.suspects = append(a.suspects, suspect{key: d.key, encode: true})
	}
	a.report.Encoded += int64(len(samples))
	return err
}

// distance is a vector that is not near its text.
type distance struct {
	key    change.Key
	cosine float64
	least  float64
}

// String says how near it is.
func (d distance) String() string {
	return fmt.Sprintf("a vector of cosine %.4f to its text encoded again, at least %g is expected", d.cosine, d.least)
}

// encodeTexts is how many texts are encoded at once: their vectors are what is kept.
const encodeTexts = 256

// apart encodes texts again and returns those whose stored vector is not near. A vector that was
// replaced in the meantime by another text's is passed over.
func (a *Auditor) apart(ctx context.Context, samples []sample) ([]distance, error) {
	var apart []distance
	for len(samples) > 0 && a.ports.Encoder != nil {
		n := min(len(samples), encodeTexts)
		some, err := a.apartOf(ctx, samples[:n])
		if err != nil {
			return nil, err
		}
		apart, samples = append(apart, some...), samples[n:]
	}
	return apart, nil
}

func (a *Auditor) apartOf(ctx context.Context, samples []sample) ([]distance, error) {
	keys, texts := make([]change.Key, len(samples)), make([]string, len(samples))
	for i, s := range samples {
		keys[i], texts[i] = s.key, s.document.Text
	}
	stored, err := a.ports.Sink.Vectors(ctx, keys)
	if err != nil {
		return nil, err
	}
	fresh, err := a.ports.Encoder.Encode(ctx, texts)
	if err != nil {
		return nil, fmt.Errorf("encoding again: %w", err)
	}
	var apart []distance
	for i, s := range samples {
		have, found := stored[s.key]
		if !found || have.Hash != s.document.Hash || len(have.Vector) != len(fresh[i]) {
			continue
		}
		near := change.Cosine(have.Vector, fresh[i])
		if near < a.opts.MinCosine || math.IsNaN(near) {
			apart = append(apart, distance{key: s.key, cosine: near, least: a.opts.MinCosine})
			continue
		}
		a.report.Cosine = min(a.report.Cosine, near)
	}
	return apart, nil
}
