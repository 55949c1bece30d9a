package models

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wal2vec/wal2vec/internal/fault"
)

func TestOpenReadsACheckpoint(t *testing.T) {
	c, err := Open(newTiny().write(t))
	if err != nil {
		t.Fatal(err)
	}
	if c.Name() != "tiny" || c.Dimension() != 8 || c.MaxTokens() != 10 || len(c.Fingerprint()) != fingerprintDigits {
		t.Fatalf("%q, dimension %d, %d tokens, fingerprint %q", c.Name(), c.Dimension(), c.MaxTokens(), c.Fingerprint())
	}
}

// replacing and removing change one file of a tiny checkpoint.
func replacing(file, old, by string) func(*tiny) {
	return func(c *tiny) {
		if !strings.Contains(c.files[file], old) {
			panic(file + " does not hold " + old)
		}
		c.files[file] = strings.Replace(c.files[file], old, by, 1)
	}
}

func removing(file string) func(*tiny) { return func(c *tiny) { delete(c.files, file) } }

func adding(file, content string) func(*tiny) { return func(c *tiny) { c.files[file] = content } }

// refused opens a checkpoint and compares the line that comes behind its name.
func refused(t *testing.T, want string, c *tiny) {
	t.Helper()
	dir := c.write(t)
	_, err := Open(dir)
	if err == nil || err.Error() != "model "+dir+": "+want {
		t.Errorf("got  %v\nwant model %s: %s", err, dir, want)
		return
	}
	if fault.KindOf(err) != fault.Usage || fault.Try(err) == "" || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v: kind %v, try %q", err, fault.KindOf(err), fault.Try(err))
	}
}

func TestOpenRefusesWhatItDoesNotKnow(t *testing.T) {
	f := func(want string, change func(c *tiny)) {
		t.Helper()
		c := newTiny()
		change(c)
		refused(t, want, c)
	}
	f("config.json is missing", removing("config.json"))
	f("modules.json is missing, so its pooling and normalisation are unknown", removing("modules.json"))
	f("1_Pooling/config.json is missing, so its pooling is unknown", removing("1_Pooling/config.json"))
	f("tokenizer.json is missing", removing("tokenizer.json"))
	f("the weights are missing: there is no model.safetensors, model.safetensors.index.json, onnx/model.onnx, model.onnx",
		func(c *tiny) { c.weights = nil })
	f(`model_type "t5" is not supported (bert and distilbert are; any other needs a ready export in onnx/model.onnx)`, replacing("config.json", `"bert"`, `"t5"`))
	f(`hidden_act "silu" is not supported (gelu, gelu_new, gelu_pytorch_tanh, relu are)`, replacing("config.json", `"gelu"`, `"silu"`))
	f(`position_embedding_type "relative_key" is not supported (absolute is)`,
		replacing("config.json", `{`, `{"position_embedding_type":"relative_key",`))
	f("a decoder is not supported", replacing("config.json", `{`, `{"is_decoder":true,`))
	f("embedding_size 4 differs from hidden_size 8", replacing("config.json", `{`, `{"embedding_size":4,`))
	f("config.json: layer_norm_eps is missing or out of range (0)", replacing("config.json", `1e-12`, `0`))
	f("config.json: vocab_size is missing or out of range (-1)", replacing("config.json", `"vocab_size":20`, `"vocab_size":-1`))
	f("hidden_size 8 is not a multiple of num_attention_heads 3", replacing("config.json", `"num_attention_heads":2`, `"num_attention_heads":3`))
	f("config.json is not valid: invalid character '{' looking for beginning of object key string", replacing("config.json", `{`, `{{`))
	f("tokenizer.json has no model", replacing("tokenizer.json", `"model"`, `"mod"`))
	f(`model.safetensors: tensor "encoder.layer.1.output.dense.bias": tensor is missing`,
		func(c *tiny) { delete(c.weights, "encoder.layer.1.output.dense.bias") })
	f(`model.safetensors: tensor "embeddings.LayerNorm.bias" has shape [2 4], not [8]`,
		func(c *tiny) { c.shapes["embeddings.LayerNorm.bias"] = []int{2, 4} })
}

func TestOpenRefusesWhatItDoesNotKnowOfSentenceTransformers(t *testing.T) {
	f := func(want string, change func(c *tiny)) {
		t.Helper()
		c := newTiny()
		change(c)
		refused(t, want, c)
	}
	const pooling, sentence, modules = "1_Pooling/config.json", "sentence_bert_config.json", "modules.json"
	const order = "is not supported (a Transformer, a Pooling and a Normalize are, in this order)"
	f("1_Pooling/config.json names 2 pooling modes; one is supported", replacing(pooling, "false", "true"))
	f("1_Pooling/config.json names 0 pooling modes; one is supported", replacing(pooling, "true", "false"))
	f(`1_Pooling/config.json names 2 pooling modes; one is supported`, adding(pooling, `{"pooling_mode":["cls","mean"]}`))
	f(`1_Pooling/config.json: pooling "max_tokens" is not supported (mean and cls are)`,
		replacing(pooling, "pooling_mode_mean_tokens", "pooling_mode_max_tokens"))
	f(`1_Pooling/config.json: pooling "lasttoken" is not supported (mean and cls are)`, adding(pooling, `{"pooling_mode":"lasttoken"}`))
	f("1_Pooling/config.json: include_prompt false is not supported for a model with prompts", func(c *tiny) {
		c.files[pooling] = `{"pooling_mode":"mean","include_prompt":false}`
		c.files[promptsFile] = `{"prompts":{"query":"q: "}}`
	})
	f(`modules.json: module 2, Dense in "2_Dense", `+order, replacing(modules, "2_Normalize\",\"type\":\"sentence_transformers.models.Normalize",
		"2_Dense\",\"type\":\"sentence_transformers.models.Dense"))
	f(`modules.json: module 3, Dense in "3_Dense", `+order, replacing(modules, `]`, `,{"path":"3_Dense","type":"sentence_transformers.models.Dense"}]`))
	f(`modules.json: module 0, Transformer in "0_Transformer", `+order, replacing(modules, `"path":""`, `"path":"0_Transformer"`))
	f("modules.json names no Pooling, so the model has no vector of a text", adding(modules, `[{"path":"","type":"a.Transformer"}]`))
	f(`modules.json names the folder "../up", which is not inside the model's`, replacing(modules, `1_Pooling`, `../up`))
	f(`2_Normalize/config.json: normalising "token_embeddings" is not supported (sentence_embedding is)`,
		adding("2_Normalize/config.json", `{"module_input_name":"token_embeddings"}`))
	f("sentence_bert_config.json: do_lower_case needs a tokenizer.json that does so itself (a Lowercase among its normalizers)",
		replacing(sentence, "false", "true"))
	f("a maximum of 2 tokens leaves no room for text", replacing(sentence, "10", "2"))
	f(`sentence_bert_config.json: transformer_task "fill-mask" is not supported (feature-extraction is)`,
		replacing(sentence, "{", `{"transformer_task":"fill-mask",`))
	f(`sentence_bert_config.json: module_output_name "logits" is not supported (token_embeddings is)`,
		replacing(sentence, "{", `{"module_output_name":"logits",`))
	f("sentence_bert_config.json: processing_kwargs is not supported", replacing(sentence, "{", `{"processing_kwargs":{"text":{}},`))
	for _, key := range []string{`"query_length":32`, `"document_length":32`, `"query_expansion":{"length":32}`} {
		f("sentence_bert_config.json: query_length, document_length and query_expansion are not supported", replacing(sentence, "{", "{"+key+","))
	}
	f(`config_sentence_transformers.json: default_prompt_name "q" is not among its prompts`,
		adding(promptsFile, `{"prompts":{"query":""},"default_prompt_name":"q"}`))
}

func TestOpenRefusesAFileThatHoldsNoTensors(t *testing.T) {
	c := newTiny()
	c.weights = nil
	c.files[weightsFile] = strings.Repeat("x", 100)
	dir := c.write(t)
	_, err := Open(dir)
	want := "model " + dir + ": model.safetensors is not a safetensors file: reading " + dir +
		"/model.safetensors: a header of 8680820740569200760 bytes does not fit into the file"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestPrompts(t *testing.T) {
	f := func(file, query, passage string) {
		t.Helper()
		c := newTiny()
		if file != "" {
			c.files[promptsFile] = file
		}
		got, err := Open(c.write(t))
		if err != nil || got.QueryPrefix() != query || got.PassagePrefix() != passage {
			t.Errorf("%s: %v, %v", file, got, err)
		}
	}
	f("", "", "")
	f(`{"__version__":{}}`, "", "")
	f(`{"prompts":{}}`, "", "")
	f(`{"prompts":{"query":"q: ","passage":"p: "}}`, "q: ", "p: ")
	f(`{"prompts":{"query":"q: ","passage":"p: ","document":"d: "}}`, "q: ", "d: ")
	f(`{"prompts":{"corpus":"c: "}}`, "", "c: ")
	f(`{"prompts":{"corpus":"c: "},"default_prompt_name":"corpus"}`, "c: ", "c: ")
	f(`{"prompts":{"query":"","document":"","other":"o: "},"default_prompt_name":"other"}`, "", "") // an empty prompt is one
	f(`{"prompts":{"query":"q: ","document":null,"passage":"p: "},"default_prompt_name":null}`, "q: ", "p: ")
}

func TestTails(t *testing.T) {
	f := func(pooling Pooling, normalised bool, change func(c *tiny)) {
		t.Helper()
		c := newTiny()
		change(c)
		got, err := Open(c.write(t))
		if err != nil || got.Pooling() != pooling || got.Normalised() != normalised {
			t.Errorf("%+v, %v", got, err)
		}
	}
	f(PoolingMean, true, func(*tiny) {})
	f(PoolingCLS, true, replacing("1_Pooling/config.json", `mean_tokens":true,"pooling_mode_cls_token":false`, `mean_tokens":false,"pooling_mode_cls_token":true`))
	f(PoolingCLS, true, adding("1_Pooling/config.json", `{"pooling_mode":"cls","include_prompt":false}`))
	f(PoolingMean, true, adding("1_Pooling/config.json", `{"pooling_mode":["mean"]}`))
	f(PoolingMean, false, adding("modules.json", `[{"path":"","type":"a.Transformer"},{"path":"1_Pooling","type":"a.Pooling"}]`))
	f(PoolingMean, true, func(c *tiny) { // another name of the folder
		c.files["modules.json"] = strings.Replace(c.files["modules.json"], "1_Pooling", "pool", 1)
		c.files["pool/config.json"] = c.files["1_Pooling/config.json"]
		delete(c.files, "1_Pooling/config.json")
	})
	f(PoolingMean, true, adding("2_Normalize/config.json", `{"module_input_name":"sentence_embedding","module_output_name":"sentence_embedding"}`))
	lower := replacing("sentence_bert_config.json", "false", "true")
	for _, normalizer := range []string{
		`{"type":"BertNormalizer","lowercase":true}`, `{"type":"Lowercase"}`, `{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Lowercase"}]}`,
	} {
		f(PoolingMean, true, func(c *tiny) {
			lower(c)
			c.files["tokenizer.json"] = strings.Replace(c.files["tokenizer.json"], "{", `{"normalizer":`+normalizer+",", 1)
		})
	}
}

func TestShardedWeights(t *testing.T) {
	index := func(c *tiny, second string) {
		c.files[indexFile] = `{"weight_map":{"embeddings.LayerNorm.bias":"a-1.safetensors","x":"` + second + `"}}`
	}
	c := newTiny()
	index(c, "../b")
	c.weights = nil
	refused(t, `model.safetensors.index.json names the file "../b", which is not beside it`, c)
	index(c, "a-2.safetensors")
	refused(t, "the weights are missing: model.safetensors.index.json names a-1.safetensors, which is not there", c)
	c.files["a-1.safetensors"], c.files["a-2.safetensors"] = "", ""
	dir := c.write(t)
	whole := newTiny()
	one, two := map[string][]float32{}, map[string][]float32{}
	for name, values := range whole.weights {
		if strings.HasPrefix(name, "encoder.layer.1") {
			two[name] = values
		} else {
			one[name] = values
		}
	}
	writeFile(t, filepath.Join(dir, "a-1.safetensors"), safetensorsBytes(t, one, whole.shapes))
	writeFile(t, filepath.Join(dir, "a-2.safetensors"), safetensorsBytes(t, two, whole.shapes))
	sharded, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Build(t.Context(), sharded, t.TempDir(), cpu)
	if err != nil {
		t.Fatal(err)
	}
	_, plain := built(t, whole, t.TempDir())
	left, right := parsed(t, g.Path).Graph, parsed(t, plain.Path).Graph
	if !proto.Equal(left, right) || len(g.Manifest.Sources) != 3 {
		t.Errorf("the graph of two files is not that of one; sources %v", g.Manifest.Sources)
	}
	for name := range one { // in both files
		two[name] = one[name]
		break
	}
	writeFile(t, filepath.Join(dir, "a-2.safetensors"), safetensorsBytes(t, two, whole.shapes))
	if _, err := Open(dir); err == nil || !strings.HasSuffix(err.Error(), "stands in another file too") {
		t.Errorf("a tensor in two files: %v", err)
	}
	if _, err := Build(t.Context(), sharded, t.TempDir(), cpu); err == nil {
		t.Error("a shard that changed after Open was built")
	}
}

func TestMaxTokensFallsBack(t *testing.T) {
	f := func(sentence, tokenizer string, want int) {
		t.Helper()
		c := newTiny()
		delete(c.files, "sentence_bert_config.json")
		if sentence != "" {
			c.files["sentence_bert_config.json"] = sentence
		}
		if tokenizer != "" {
			c.files["tokenizer_config.json"] = tokenizer
		}
		got, err := Open(c.write(t))
		if err != nil || got.MaxTokens() != want {
			t.Errorf("%v tokens, %v; want %d", got, err, want)
		}
	}
	f("", "", 12)
	f("", `{"model_max_length":7}`, 7)
	f("", `{"model_max_length":1e30}`, 12)
	f(`{"max_seq_length":9}`, `{"model_max_length":7}`, 9)
	f(`{"max_seq_length":512}`, "", 12)
	f(`{"max_seq_length":null}`, `{"model_max_length":7}`, 7)
}

func TestFingerprintCoversWhatMovesVectors(t *testing.T) {
	base := fingerprintOf(t, newTiny())
	f := func(what string, same bool, change func(c *tiny)) {
		t.Helper()
		c := newTiny()
		change(c)
		if got := fingerprintOf(t, c); (got == base) != same {
			t.Errorf("%s: same fingerprint is %v, want %v", what, got == base, same)
		}
	}
	edit := func(file, old, by string) func(*tiny) {
		return func(c *tiny) { c.files[file] = strings.Replace(c.files[file], old, by, 1) }
	}
	f("nothing", true, func(*tiny) {})
	f("weights", false, func(c *tiny) { c.weights["embeddings.LayerNorm.bias"][3] += 1e-6 })
	f("vocabulary", false, edit("tokenizer.json", `"a":1`, `"a":2`))
	f("padding and truncation", true, edit("tokenizer.json", `"truncation":{"max_length":4},"padding":null`, `"padding":{"pad_id":0}`))
	f("white space", true, edit("tokenizer.json", `{`, "{\n  "))
	f("maximum length", false, edit("sentence_bert_config.json", "10", "9"))
	f("heads", false, edit("config.json", `"num_attention_heads":2`, `"num_attention_heads":4`))
	f("epsilon", false, edit("config.json", "1e-12", "1e-5"))
	f("activation", false, edit("config.json", `"gelu"`, `"relu"`))
	f("pooling", false, edit("1_Pooling/config.json", `mean_tokens":true,"pooling_mode_cls_token":false`,
		`mean_tokens":false,"pooling_mode_cls_token":true`))
	f("normalisation", false, edit("modules.json", `,
			{"path":"2_Normalize","type":"sentence_transformers.models.Normalize"}`, ""))
	f("prompts", true, func(c *tiny) { c.files[promptsFile] = `{"prompts":{"query":"q: "}}` }) // TextFingerprint has them
	f("a note", true, edit("config.json", "{", `{"_name_or_path":"x",`))
}

func fingerprintOf(t *testing.T, c *tiny) string {
	t.Helper()
	got, err := Open(c.write(t))
	if err != nil {
		t.Fatal(err)
	}
	return got.Fingerprint()
}

func TestTextFingerprintKeepsItsPartsApart(t *testing.T) {
	seen := map[string]bool{}
	for _, parts := range [][3]string{{"m", "a", "b"}, {"m", "", "ab"}, {"m", "ab", ""}, {"n", "a", "b"}, {"m", "a\nb", ""}} {
		got := TextFingerprint(parts[0], parts[1], parts[2], 1)
		if seen[got] || len(got) != fingerprintDigits {
			t.Errorf("%q: fingerprint %q is not new", parts, got)
		}
		seen[got] = true
	}
}

// TestEveryFileOfACheckpointIsAFile: a pipe would be waited for without end.
func TestEveryFileOfACheckpointIsAFile(t *testing.T) {
	for _, name := range []string{"config.json", "modules.json", "1_Pooling/config.json", "tokenizer.json", "model.safetensors"} {
		dir := newTiny().write(t)
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "is a pipe and not a file") && !strings.Contains(err.Error(), "missing") {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := hashFile(path); err == nil || !strings.Contains(err.Error(), "is a pipe and not a file") {
			t.Errorf("hashing %s: %v", name, err)
		}
		w := &weights{}
		if err := w.add(path); err == nil || !strings.Contains(err.Error(), "is a pipe and not a file") {
			t.Errorf("weights in %s: %v", name, err)
		}
	}
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, manifestFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readManifest(dir); err == nil || !strings.Contains(err.Error(), "is a pipe and not a file") {
		t.Errorf("manifest: %v", err)
	}
}
