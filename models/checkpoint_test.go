package models

import (
	"strings"
	"testing"

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

func TestOpenRefusesWhatItDoesNotKnow(t *testing.T) {
	f := func(want string, change func(c *tiny)) {
		t.Helper()
		c := newTiny()
		change(c)
		_, err := Open(c.write(t))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
			return
		}
		if fault.KindOf(err) != fault.Usage || fault.Try(err) == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: kind %v, try %q", err, fault.KindOf(err), fault.Try(err))
		}
	}
	replace := func(file, old, by string) func(*tiny) {
		return func(c *tiny) {
			if !strings.Contains(c.files[file], old) {
				t.Errorf("%s does not hold %q", file, old)
			}
			c.files[file] = strings.Replace(c.files[file], old, by, 1)
		}
	}
	remove := func(file string) func(*tiny) { return func(c *tiny) { delete(c.files, file) } }
	f("config.json is missing", remove("config.json"))
	f("1_Pooling/config.json is missing", remove("1_Pooling/config.json"))
	f("tokenizer.json is missing", remove("tokenizer.json"))
	f("model.safetensors is missing", func(c *tiny) { c.weights = nil })
	f(`model_type "roberta"`, replace("config.json", `"bert"`, `"roberta"`))
	f(`hidden_act "relu"`, replace("config.json", `"gelu"`, `"relu"`))
	f(`position_embedding_type "relative_key"`, replace("config.json", `{`, `{"position_embedding_type":"relative_key",`))
	f("layer_norm_eps", replace("config.json", `1e-12`, `0`))
	f("vocab_size", replace("config.json", `"vocab_size":20`, `"vocab_size":-1`))
	f("hidden_size 8 is not a multiple", replace("config.json", `"num_attention_heads":2`, `"num_attention_heads":3`))
	f("config.json is not valid", replace("config.json", `{`, `[`))
	f("CLS", replace("1_Pooling/config.json", `_mean_tokens":true,"pooling_mode_cls_token":false`, `_cls_token":true`))
	f("names 2 pooling modes", replace("1_Pooling/config.json", "false", "true"))
	f(`pooling "max_tokens"`, replace("1_Pooling/config.json", "pooling_mode_mean_tokens", "pooling_mode_max_tokens"))
	f("Dense", replace("modules.json", `]`, `,{"path":"2_Dense","type":"sentence_transformers.models.Dense"}]`))
	f("do_lower_case", replace("sentence_bert_config.json", "false", "true"))
	f("maximum of 2 tokens", replace("sentence_bert_config.json", "10", "2"))
	f("has no model", replace("tokenizer.json", `"model"`, `"mod"`))
	f("is missing", func(c *tiny) { delete(c.weights, "encoder.layer.1.output.dense.bias") })
	f("has shape", func(c *tiny) { c.shapes["embeddings.LayerNorm.bias"] = []int{2, 4} })
	f("does not fit", func(c *tiny) { c.weights = nil; c.files[weightsFile] = strings.Repeat("x", 100) })
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
		got := TextFingerprint(parts[0], parts[1], parts[2])
		if seen[got] || len(got) != fingerprintDigits {
			t.Errorf("%q: fingerprint %q is not new", parts, got)
		}
		seen[got] = true
	}
}
