package encoder_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wal2vec/wal2vec/encoder"
	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/encoder/ort"
	"github.com/wal2vec/wal2vec/encoder/tokenize"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/models"
)

// expected is what sentence-transformers says of a checkpoint; scripts/fixtures_models.py writes
// it.
type expected struct {
	Texts         []string    `json:"texts"`
	MaxTokens     int         `json:"max_tokens"`
	Tolerance     float64     `json:"tolerance"`
	QueryPrefix   string      `json:"query_prefix"`
	PassagePrefix string      `json:"passage_prefix"`
	PassageIDs    [][]int32   `json:"passage_ids"`
	Passage       [][]float32 `json:"passage"`
	Query         [][]float32 `json:"query"`
}

const checkpoints = "../models/testdata/checkpoints"

// TestEveryKindOfCheckpointGivesTheVectorsOfSentenceTransformers is the fidelity of every kind that
// models reads.
func TestEveryKindOfCheckpointGivesTheVectorsOfSentenceTransformers(t *testing.T) {
	kinds, err := os.ReadDir(checkpoints)
	if err != nil || len(kinds) < 18 {
		t.Fatalf("%d kinds, %v", len(kinds), err)
	}
	for _, kind := range kinds {
		t.Run(kind.Name(), func(t *testing.T) { testKind(t, filepath.Join(checkpoints, kind.Name())) })
	}
}

func testKind(t *testing.T, dir string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want expected
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	c, err := models.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if c.MaxTokens() != want.MaxTokens || c.Dimension() != len(want.Passage[0]) ||
		c.QueryPrefix() != want.QueryPrefix || c.PassagePrefix() != want.PassagePrefix {
		t.Errorf("%d tokens, dimension %d, prefixes %q and %q", c.MaxTokens(), c.Dimension(), c.QueryPrefix(), c.PassagePrefix())
	}
	file, err := c.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	tokenizer, err := tokenize.New(file, c.MaxTokens())
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range want.Texts {
		if ids, _, err := tokenizer.Append(nil, c.PassagePrefix()+text); err != nil || !slices.Equal(ids, want.PassageIDs[i]) {
			t.Errorf("%q has the tokens %v, %v instead of %v", text, ids, err, want.PassageIDs[i])
		}
	}
	e := openKind(t, c, tokenizer, kind{precision: models.PrecisionFP32})
	defer e.Close()
	want.compare(t, e, c.PassagePrefix(), want.Passage)
	if want.Query != nil {
		want.compare(t, e, c.QueryPrefix(), want.Query)
	}
}

// openKind opens an encoder, whose self-test checks the length of vectors where they have one.
func openKind(t *testing.T, c *models.Checkpoint, tokenizer *tokenize.Tokenizer, k kind) *encoder.Encoder {
	t.Helper()
	parts, cache, operators := encodertest.FindParts(t), t.TempDir(), ""
	if !k.stock && c.FitsOperators() {
		operators = ort.FindOperators(parts.Root)
	}
	session, err := ort.Open(t.Context(), ort.Options{
		Library: parts.Library, Operators: operators, Device: change.DeviceCPU, Precision: k.precision,
		Graph: func(ctx context.Context, target models.Target) (models.Graph, error) {
			return models.Build(ctx, c, cache, target)
		},
	})
	if err != nil {
		t.Fatal(errors.Join(err, tokenizer.Close()))
	}
	if err := session.WithoutOperators(); err != nil {
		t.Fatal(err)
	}
	e, err := encoder.Open(t.Context(), encoder.Options{
		Tokenizer: tokenizer, Runner: session, Dimension: c.Dimension(), Fingerprint: c.Fingerprint(), Unnormalised: !c.Normalised(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// compare encodes the texts together and compares each with the stored vector, which was made
// alone.
func (e expected) compare(t *testing.T, with *encoder.Encoder, prefix string, want [][]float32) {
	t.Helper()
	texts := make([]string, len(e.Texts))
	for i, text := range e.Texts {
		texts[i] = prefix + text
	}
	got, err := with.Encode(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	worst, least := 0.0, 1.0
	for i := range want {
		var product, left, right float64
		for j, w := range want[i] {
			g := float64(got[i][j])
			worst = max(worst, math.Abs(g-float64(w)))
			product, left, right = product+g*float64(w), left+g*g, right+float64(w)*float64(w)
		}
		least = min(least, product/math.Sqrt(left*right))
	}
	if worst > e.Tolerance || 1-least > e.Tolerance {
		t.Errorf("a component differs by %.2g, the least cosine is %.8f", worst, least)
	}
	t.Logf("%d texts: a component differs by %.2g at most, the least cosine is %.9f", len(texts), worst, least)
}

// TestEveryGraphFollowsTheTail gives the real model another pooling and leaves its vectors as long
// as they are: the graphs in int8 must follow that in fp32, which the checkpoints above hold to
// sentence-transformers.
func TestEveryGraphFollowsTheTail(t *testing.T) {
	c := otherTail(t)
	texts := []string{"", "a steel bottle", "how do I brew tea", "the blanket keeps two people warm in a garden at night, and folds into a bag"}
	vectors := map[kind][][]float32{}
	for k := range kinds {
		file, err := c.Tokenizer()
		if err != nil {
			t.Fatal(err)
		}
		tokenizer, err := tokenize.New(file, c.MaxTokens())
		if err != nil {
			t.Fatal(err)
		}
		e := openKind(t, c, tokenizer, k)
		vectors[k], err = e.Encode(t.Context(), texts)
		if err := errors.Join(err, e.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for k, got := range vectors {
		for i, want := range vectors[kind{precision: models.PrecisionFP32}] {
			var product, left, right float64
			for j, w := range want {
				product, left, right = product+float64(got[i][j])*float64(w), left+float64(got[i][j])*float64(got[i][j]), right+float64(w)*float64(w)
			}
			cosine, ratio := product/math.Sqrt(left*right), math.Sqrt(left/right)
			if cosine < encoder.MinCosine(string(k.precision)) || math.Abs(ratio-1) > 0.02 || math.Abs(right-1) < 0.1 {
				t.Errorf("%+v, %q: cosine %.4f, %.3f times as long as %.3f", k, texts[i], cosine, ratio, math.Sqrt(right))
			}
		}
	}
}

// otherTail is the real model with CLS pooling and without normalisation.
func otherTail(t *testing.T) *models.Checkpoint {
	t.Helper()
	from, to := encodertest.FindParts(t).Model, filepath.Join(t.TempDir(), "other")
	if err := os.MkdirAll(filepath.Join(to, "1_Pooling"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.json", "tokenizer.json", "model.safetensors", "sentence_bert_config.json"} {
		if err := os.Symlink(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{
		"modules.json":          `[{"path":"","type":"models.Transformer"},{"path":"1_Pooling","type":"models.Pooling"}]`,
		"1_Pooling/config.json": `{"pooling_mode":"cls"}`,
	} {
		if err := os.WriteFile(filepath.Join(to, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := models.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
