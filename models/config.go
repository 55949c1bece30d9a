package models

import (
	"fmt"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// architecture is what config.json says about an encoder of BERT's kind.
type architecture struct {
	ModelType          string  `json:"model_type"`
	HiddenAct          string  `json:"hidden_act"`
	HiddenSize         int     `json:"hidden_size"`
	IntermediateSize   int     `json:"intermediate_size"`
	LayerNormEps       float64 `json:"layer_norm_eps"`
	MaxPositions       int     `json:"max_position_embeddings"`
	Heads              int     `json:"num_attention_heads"`
	Layers             int     `json:"num_hidden_layers"`
	PositionType       string  `json:"position_embedding_type"`
	VocabularySize     int     `json:"vocab_size"`
	IsDecoder          bool    `json:"is_decoder"`
	TypeVocabularySize int     `json:"type_vocab_size"`
	AddCrossAttention  bool    `json:"add_cross_attention"`
	EmbeddingSize      int     `json:"embedding_size"`
}

// Writes reports whether Build writes the graph of this model_type from its weights; of any other
// it takes a ready ONNX export.
func Writes(modelType string) bool { return modelType == "bert" || modelType == distilType }

// unsupported is the refusal of a checkpoint whose kind is not known: the caller's choice of a
// model is at fault.
func unsupported(dir, what string, args ...any) error {
	return fault.New(fault.Usage, "choose a sentence-transformers model of the BERT kind, or one with a ready ONNX export",
		"model %s: %s", dir, fmt.Sprintf(what, args...))
}

// missingTry is what to do about a folder that lacks a file.
const missingTry = "wal2vec models pull ORGANISATION/NAME, or give the path of a checkpoint folder in Hugging Face form"

// missing is the refusal of a folder that lacks a file.
func missing(dir, what string) error {
	return fault.New(fault.Usage, missingTry, "model %s: %s", dir, what)
}

// readArchitecture reads and checks config.json.
func readArchitecture(f *folder) (architecture, error) {
	a := architecture{PositionType: "absolute"}
	found, err := readJSON(f, configFile, &a)
	if err != nil {
		return a, err
	}
	if !found {
		return a, missing(f.dir, configFile+" is missing")
	}
	if a.ModelType == distilType {
		if a, err = readDistil(f); err != nil {
			return a, err
		}
	}
	switch {
	case !Writes(a.ModelType):
		return a, unsupported(f.dir, "model_type %q is not supported (bert and distilbert are; any other needs a ready export in onnx/model.onnx)",
			a.ModelType)
	case activations[a.HiddenAct].operator == "":
		return a, unsupported(f.dir, "hidden_act %q is not supported (%s are)", a.HiddenAct, strings.Join(sortedKeys(activations), ", "))
	case a.PositionType != "absolute":
		return a, unsupported(f.dir, "position_embedding_type %q is not supported (absolute is)", a.PositionType)
	case a.IsDecoder || a.AddCrossAttention:
		return a, unsupported(f.dir, "a decoder is not supported")
	case a.EmbeddingSize != 0 && a.EmbeddingSize != a.HiddenSize:
		return a, unsupported(f.dir, "embedding_size %d differs from hidden_size %d", a.EmbeddingSize, a.HiddenSize)
	}
	return a, a.checkSizes(f.dir)
}

// maxSize bounds each size that config.json may name, so that a product of two cannot overflow; the
// largest BERT is far below it.
const maxSize = 1 << 24

const (
	// maxLayers bounds what is made for each layer before the weights are looked at; the largest
	// BERT has 48.
	maxLayers = 1024
	// maxDimension bounds a vector; pgvector's limit is 16,000.
	maxDimension = 1 << 16
)

func (a architecture) checkSizes(dir string) error {
	for _, f := range []struct {
		name        string
		value, most int
	}{
		{"hidden_size", a.HiddenSize, maxDimension},
		{"intermediate_size", a.IntermediateSize, maxSize},
		{"max_position_embeddings", a.MaxPositions, maxSize},
		{"num_attention_heads", a.Heads, maxSize},
		{"num_hidden_layers", a.Layers, maxLayers},
		{"vocab_size", a.VocabularySize, maxSize},
		{"type_vocab_size", a.TypeVocabularySize, maxSize},
	} {
		if f.value < 1 || f.value > f.most {
			return unsupported(dir, "config.json: %s is missing or out of range (%d)", f.name, f.value)
		}
	}
	if a.HiddenSize%a.Heads != 0 {
		return unsupported(dir, "hidden_size %d is not a multiple of num_attention_heads %d", a.HiddenSize, a.Heads)
	}
	if a.LayerNormEps <= 0 || a.LayerNormEps > 0.1 {
		return unsupported(dir, "config.json: layer_norm_eps is missing or out of range (%g)", a.LayerNormEps)
	}
	return nil
}
