package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// architecture is what config.json says about an encoder of BERT's kind.
type architecture struct {
	ModelType            string  `json:"model_type"`
	HiddenAct            string  `json:"hidden_act"`
	HiddenSize           int     `json:"hidden_size"`
	IntermediateSize     int     `json:"intermediate_size"`
	LayerNormEps         float64 `json:"layer_norm_eps"`
	MaxPositions         int     `json:"max_position_embeddings"`
	Heads                int     `json:"num_attention_heads"`
	Layers               int     `json:"num_hidden_layers"`
	PositionType         string  `json:"position_embedding_type"`
	VocabularySize       int     `json:"vocab_size"`
	IsDecoder            bool    `json:"is_decoder"`
	TypeVocabularySize   int     `json:"type_vocab_size"`
	AddCrossAttention    bool    `json:"add_cross_attention"`
	EmbeddingSize        int     `json:"embedding_size"`
	ChunkSizeFeedForward int     `json:"chunk_size_feed_forward"`
}

// Pooling says how the tokens' vectors become one vector of the text.
type Pooling string

// The poolings. PoolingCLS is recognised, so that a refusal can name it; no graph is written for it yet.
const (
	PoolingMean Pooling = "mean"
	PoolingCLS  Pooling = "cls"
)

// unsupported is the refusal of a checkpoint whose kind is not known: the caller's choice of a model is at fault.
func unsupported(dir, what string, args ...any) error {
	return fault.New(fault.Usage, "choose a sentence-transformers model of the BERT kind with mean pooling, such as all-MiniLM-L6-v2",
		"model %s: %s", dir, fmt.Sprintf(what, args...))
}

// missing is the refusal of a folder that lacks a file.
func missing(dir, what string) error {
	return fault.New(fault.Usage, "run make parts, or give the path of a checkpoint folder in Hugging Face form", "model %s: %s", dir, what)
}

// readJSON reads a file of the checkpoint; found is false where it is not there.
func readJSON(dir, name string, into any) (found bool, err error) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s of the model: %w", name, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return true, unsupported(dir, "%s is not valid: %v", name, err)
	}
	return true, nil
}

// readArchitecture reads and checks config.json.
func readArchitecture(dir string) (architecture, error) {
	a := architecture{PositionType: "absolute"}
	found, err := readJSON(dir, "config.json", &a)
	if err != nil {
		return a, err
	}
	if !found {
		return a, missing(dir, "config.json is missing")
	}
	switch {
	case a.ModelType != "bert":
		return a, unsupported(dir, "model_type %q is not supported (bert is)", a.ModelType)
	case a.HiddenAct != "gelu":
		return a, unsupported(dir, "hidden_act %q is not supported (gelu is)", a.HiddenAct)
	case a.PositionType != "absolute":
		return a, unsupported(dir, "position_embedding_type %q is not supported (absolute is)", a.PositionType)
	case a.IsDecoder || a.AddCrossAttention:
		return a, unsupported(dir, "a decoder is not supported")
	case a.EmbeddingSize != 0 && a.EmbeddingSize != a.HiddenSize:
		return a, unsupported(dir, "embedding_size %d differs from hidden_size %d", a.EmbeddingSize, a.HiddenSize)
	}
	return a, a.checkSizes(dir)
}

// maxSize bounds each size that config.json may name, so that a product of two cannot overflow; the largest BERT is far below it.
const maxSize = 1 << 24

func (a architecture) checkSizes(dir string) error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"hidden_size", a.HiddenSize},
		{"intermediate_size", a.IntermediateSize},
		{"max_position_embeddings", a.MaxPositions},
		{"num_attention_heads", a.Heads},
		{"num_hidden_layers", a.Layers},
		{"vocab_size", a.VocabularySize},
		{"type_vocab_size", a.TypeVocabularySize},
	} {
		if f.value < 1 || f.value > maxSize {
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

// readModules checks that modules.json, where present, names nothing but a transformer, a pooling and a normalisation.
func readModules(dir string) error {
	var modules []struct{ Path, Type string }
	found, err := readJSON(dir, "modules.json", &modules)
	if err != nil || !found {
		return err
	}
	for _, m := range modules {
		switch kind := m.Type[strings.LastIndex(m.Type, ".")+1:]; {
		case kind == "Transformer" && m.Path == "", kind == "Pooling" && m.Path == "1_Pooling", kind == "Normalize":
		default:
			return unsupported(dir, "modules.json: %s in %q is not supported", kind, m.Path)
		}
	}
	return nil
}

// readPooling reads 1_Pooling/config.json.
func readPooling(dir string) (Pooling, error) {
	const name = "1_Pooling/config.json"
	var raw map[string]any
	found, err := readJSON(dir, name, &raw)
	if err != nil {
		return "", err
	}
	if !found {
		return "", missing(dir, name+" is missing, so its pooling is unknown")
	}
	var modes []string
	for key, value := range raw {
		if on, _ := value.(bool); on && strings.HasPrefix(key, "pooling_mode_") {
			modes = append(modes, strings.TrimPrefix(key, "pooling_mode_"))
		}
	}
	if mode, ok := raw["pooling_mode"].(string); ok {
		modes = append(modes, map[string]string{"mean": "mean_tokens", "cls": "cls_token"}[mode])
	}
	if len(modes) != 1 {
		return "", unsupported(dir, "%s names %d pooling modes; one is supported", name, len(modes))
	}
	switch modes[0] {
	case "mean_tokens":
		return PoolingMean, nil
	case "cls_token":
		return PoolingCLS, unsupported(dir, "pooling by the CLS token is not supported yet (mean is)")
	default:
		return "", unsupported(dir, "pooling %q is not supported (mean_tokens is)", modes[0])
	}
}

// readMaxTokens returns the longest text in tokens, special tokens included.
func readMaxTokens(dir string, a architecture) (int, error) {
	var sentence struct {
		MaxSeqLength int  `json:"max_seq_length"`
		DoLowerCase  bool `json:"do_lower_case"`
	}
	if _, err := readJSON(dir, "sentence_bert_config.json", &sentence); err != nil {
		return 0, err
	}
	if sentence.DoLowerCase {
		return 0, unsupported(dir, "sentence_bert_config.json: do_lower_case is not supported")
	}
	longest := sentence.MaxSeqLength
	if longest == 0 {
		// Without the file sentence-transformers takes the tokenizer's limit; huge numbers there mean "none".
		var tokenizer struct {
			ModelMaxLength float64 `json:"model_max_length"`
		}
		if _, err := readJSON(dir, "tokenizer_config.json", &tokenizer); err != nil {
			return 0, err
		}
		longest = a.MaxPositions
		if tokenizer.ModelMaxLength > 0 && tokenizer.ModelMaxLength < float64(longest) {
			longest = int(tokenizer.ModelMaxLength)
		}
	}
	if longest < 3 {
		return 0, unsupported(dir, "a maximum of %d tokens leaves no room for text", longest)
	}
	return min(longest, a.MaxPositions), nil
}
