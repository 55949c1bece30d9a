package main

import (
	bytesorder "encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// modelFolder is in a world's folder; its encoder.model_folders names it.
const modelFolder = "models"

// modelFolders is the environment that names folders of models; a test's own has a comma where the
// test's name has one.
func modelFolders(folders ...string) string {
	return `WAL2VEC_ENCODER_MODEL_FOLDERS="` + strings.Join(folders, `","`) + `"`
}

// smallModel makes a checkpoint of another dimension: a BERT of one layer whose weights are all
// zero, which is enough for a program that takes vectors from a hash. Its name is the folder's,
// which is below one that the configuration names.
func (w *world) smallModel(name string, dimension int) string {
	t := w.t
	t.Helper()
	parts, err := pgtest.Parts()
	if err != nil {
		t.Fatal(err)
	}
	from, to := filepath.Join(parts, "model", "all-MiniLM-L6-v2"), filepath.Join(w.dir, modelFolder, name)
	const vocabulary, positions, inner = 30522, 512, 4
	write := func(name, text string) {
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1_Pooling/config.json", fmt.Sprintf(`{"word_embedding_dimension":%d,"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":false}`, dimension))
	write("config.json", fmt.Sprintf(`{"model_type":"bert","hidden_act":"gelu","hidden_size":%d,"intermediate_size":%d,"layer_norm_eps":1e-12,"max_position_embeddings":%d,
		"num_attention_heads":2,"num_hidden_layers":1,"vocab_size":%d,"type_vocab_size":2,"position_embedding_type":"absolute"}`, dimension, inner, positions, vocabulary))
	for _, name := range []string{"modules.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"} {
		if err := os.Symlink(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
	shapes := map[string][]int{
		"embeddings.word_embeddings.weight": {vocabulary, dimension}, "embeddings.position_embeddings.weight": {positions, dimension},
		"embeddings.token_type_embeddings.weight": {2, dimension},
		"embeddings.LayerNorm.weight":             {dimension}, "embeddings.LayerNorm.bias": {dimension},
	}
	for part, shape := range map[string][]int{
		"attention.self.query": {dimension, dimension}, "attention.self.key": {dimension, dimension}, "attention.self.value": {dimension, dimension},
		"attention.output.dense": {dimension, dimension}, "intermediate.dense": {inner, dimension}, "output.dense": {dimension, inner},
		"attention.output.LayerNorm": {dimension}, "output.LayerNorm": {dimension},
	} {
		shapes["encoder.layer.0."+part+".weight"], shapes["encoder.layer.0."+part+".bias"] = shape, shape[:1]
	}
	writeZeros(t, filepath.Join(to, "model.safetensors"), shapes)
	return to
}

// writeZeros writes a safetensors file of zeros, which takes no room on the disk.
func writeZeros(t *testing.T, path string, shapes map[string][]int) {
	t.Helper()
	entries := make(map[string]any)
	end := 0
	for name, shape := range shapes {
		size := 4
		for _, n := range shape {
			size *= n
		}
		entries[name] = map[string]any{"dtype": "F32", "shape": shape, "data_offsets": []int{end, end + size}}
		end += size
	}
	head, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(bytesorder.LittleEndian.AppendUint64(nil, uint64(len(head))), head...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(8+len(head)+end)); err != nil {
		t.Fatal(err)
	}
}
