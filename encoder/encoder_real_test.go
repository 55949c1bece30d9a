package encoder_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/wal2vec/wal2vec/encoder"
	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/encoder/ort"
	"github.com/wal2vec/wal2vec/encoder/tokenize"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/models"
)

// model is the model's folder, hashed once for all tests.
var model struct {
	sync.Once
	*models.Checkpoint
}

// checkpoint opens the real model's folder.
func checkpoint(tb testing.TB) *models.Checkpoint {
	tb.Helper()
	model.Do(func() {
		c, err := models.Open(encodertest.FindParts(tb).Model)
		if err != nil {
			tb.Fatal(err)
		}
		model.Checkpoint = c
	})
	return model.Checkpoint
}

// realParts opens the real model and its tokenizer, ready for encoder.Open.
func realParts(tb testing.TB, k kind) encoder.Options {
	tb.Helper()
	parts, c := encodertest.FindParts(tb), checkpoint(tb)
	operators := ort.FindOperators(parts.Root)
	if k.stock {
		operators = ""
	}
	session, err := ort.Open(tb.Context(), ort.Options{
		Library: parts.Library, Operators: operators, Device: change.DeviceAuto, Precision: k.precision,
		Graph: func(ctx context.Context, target models.Target) (models.Graph, error) {
			return models.Build(ctx, c, parts.Graphs, target)
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := session.WithoutOperators(); err != nil {
		tb.Fatal(err)
	}
	file, err := c.Tokenizer()
	if err != nil {
		tb.Fatal(err)
	}
	tokenizer, err := tokenize.New(file, c.MaxTokens())
	if err != nil {
		tb.Fatal(err)
	}
	return encoder.Options{
		MinCosine: encoder.MinCosine(string(session.Target().Precision)),
		Tokenizer: tokenizer, Runner: session, Dimension: c.Dimension(), Fingerprint: c.Fingerprint(),
	}
}

// realEncoder opens an encoder with the real model; the caller closes it.
func realEncoder(tb testing.TB, k kind, change func(o *encoder.Options)) *encoder.Encoder {
	tb.Helper()
	o := realParts(tb, k)
	if change != nil {
		change(&o)
	}
	e, err := encoder.Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// kind is a graph for the CPU; the zero kind is the one that commands take.
type kind struct {
	precision models.Precision
	stock     bool // without operators of our own
}

// kinds are the graphs for the CPU, with the least cosine to the stored vectors that users may
// count on. Measured: 0.9999995, 0.9973 and 0.9954; the texts that come off worst are "?", "..."
// and the empty one.
var kinds = map[kind]float64{
	{precision: models.PrecisionFP32}: encoder.FP32Cosine,
	{precision: models.PrecisionINT8}: encoder.Int8Cosine, {precision: models.PrecisionINT8, stock: true}: encoder.Int8Cosine,
}

func TestRealEncoderConforms(t *testing.T) {
	for k := range kinds {
		t.Run(fmt.Sprintf("%+v", k), func(t *testing.T) {
			encodertest.Conformance(t, func(t *testing.T) encodertest.Encoder { return realEncoder(t, k, nil) })
		})
	}
}

// TestVectorsAreThoseOfSentenceTransformers is the fidelity that users may count on.
func TestVectorsAreThoseOfSentenceTransformers(t *testing.T) {
	for k, least := range kinds {
		t.Run(fmt.Sprintf("%+v", k), func(t *testing.T) { fidelity(t, k, least) })
	}
}

func fidelity(t *testing.T, k kind, least float64) {
	e := realEncoder(t, k, nil)
	defer e.Close()
	references := encoder.References(checkpoint(t).Fingerprint())
	texts := make([]string, len(references))
	var long uint64
	for i, r := range references {
		if texts[i] = r.Text; r.Vector == nil {
			t.Fatal("the model has no stored vectors: has its fingerprint changed?")
		}
		if r.Tokens > 256 {
			long++
		}
	}
	vectors, err := e.Encode(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	lowest, sum := 1.0, 0.0
	for i, v := range vectors {
		var cosine float64
		for j := range v {
			cosine += float64(v[j]) * float64(references[i].Vector[j])
		}
		sum += cosine
		if lowest = min(lowest, cosine); cosine < least {
			t.Errorf("%.40q: cosine %.6f", texts[i], cosine)
		}
	}
	t.Logf("%d texts, cosine %.7f on average, least %.7f, %+v", len(texts), sum/float64(len(texts)), lowest, e.Stats())
	if got := e.Stats().Truncated; got != long || long == 0 {
		t.Errorf("%d texts were cut instead of %d", got, long)
	}
}
