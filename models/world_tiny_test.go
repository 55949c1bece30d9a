package models

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// tiny is a checkpoint small enough for a test: the files that Open reads, as text, and random
// weights.
type tiny struct {
	files   map[string]string
	weights map[string][]float32
	shapes  map[string][]int
}

var tinyArchitecture = architecture{
	ModelType: "bert", HiddenAct: "gelu", HiddenSize: 8, IntermediateSize: 16, LayerNormEps: 1e-12, MaxPositions: 12, Heads: 2,
	Layers: 2, PositionType: "absolute", VocabularySize: 20, TypeVocabularySize: 2,
}

var tinyTail = tail{pooling: PoolingMean, normalised: true}

func newTiny() *tiny {
	c := &tiny{weights: map[string][]float32{}, shapes: map[string][]int{}, files: map[string]string{
		"config.json": `{"model_type":"bert","hidden_act":"gelu","hidden_size":8,"intermediate_size":16,"layer_norm_eps":1e-12,
			"max_position_embeddings":12,"num_attention_heads":2,"num_hidden_layers":2,"vocab_size":20,"type_vocab_size":2}`,
		"1_Pooling/config.json":     `{"word_embedding_dimension":8,"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":false}`,
		"sentence_bert_config.json": `{"max_seq_length":10,"do_lower_case":false}`,
		"modules.json": `[{"path":"","type":"sentence_transformers.models.Transformer"},
			{"path":"1_Pooling","type":"sentence_transformers.models.Pooling"},
			{"path":"2_Normalize","type":"sentence_transformers.models.Normalize"}]`,
		"tokenizer.json": `{"version":"1.0","truncation":{"max_length":4},"padding":null,"model":{"type":"WordPiece","vocab":{"a":1}}}`,
	}}
	random := rand.New(rand.NewPCG(1, 2))
	for _, t := range bertTensors(tinyArchitecture) {
		n := 1
		for _, d := range t.shape {
			n *= d
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(random.NormFloat64())
		}
		c.weights[t.name], c.shapes[t.name] = values, t.shape
	}
	return c
}

// write puts the checkpoint into a new folder and returns it.
func (c *tiny) write(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	for name, text := range c.files {
		writeFile(t, filepath.Join(dir, name), []byte(text))
	}
	if c.weights != nil {
		writeFile(t, filepath.Join(dir, weightsFile), safetensorsBytes(t, c.weights, c.shapes))
	}
	return dir
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// safetensorsBytes encodes float32 tensors.
func safetensorsBytes(t *testing.T, values map[string][]float32, shapes map[string][]int) []byte {
	t.Helper()
	entries := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	var data []byte
	for _, name := range slices.Sorted(maps.Keys(values)) {
		start := len(data)
		for _, v := range values[name] {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		entries[name] = map[string]any{"dtype": "F32", "shape": shapes[name], "data_offsets": []int{start, len(data)}}
	}
	head, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...), data...)
}
