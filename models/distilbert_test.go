package models

import (
	"bytes"
	"strings"
	"testing"
)

// newDistil is the tiny checkpoint with the names of DistilBERT, behind a prefix.
func newDistil(prefix string) *tiny {
	c := newTiny()
	c.files["config.json"] = `{"model_type":"distilbert","activation":"gelu","dim":8,"hidden_dim":16,"max_position_embeddings":12,
		"n_heads":2,"n_layers":2,"vocab_size":20}`
	weights, shapes := map[string][]float32{}, map[string][]int{}
	for name, values := range c.weights {
		if name != segmentEmbeddings {
			weights[prefix+distilName(name)], shapes[prefix+distilName(name)] = values, c.shapes[name]
		}
	}
	c.weights, c.shapes = weights, shapes
	return c
}

func TestDistilBERTIsBERTWithoutSegments(t *testing.T) {
	bert := newTiny()
	clear(bert.weights[segmentEmbeddings])
	_, plain := built(t, bert, t.TempDir())
	for _, prefix := range []string{"", "distilbert."} {
		_, g := built(t, newDistil(prefix), t.TempDir())
		one, two := parsed(t, plain.Path).Graph, parsed(t, g.Path).Graph
		if len(one.Node) != len(two.Node) || len(one.Initializer) != len(two.Initializer) {
			t.Fatalf("prefix %q: %d nodes instead of %d", prefix, len(two.Node), len(one.Node))
		}
		for i := range one.Initializer {
			if !bytes.Equal(one.Initializer[i].RawData, two.Initializer[i].RawData) {
				t.Fatalf("prefix %q: constant %s differs", prefix, one.Initializer[i].GetName())
			}
		}
	}
}

func TestOpenRefusesDistilBERTsThatItDoesNotKnow(t *testing.T) {
	c := newDistil("distilbert.")
	c.files["config.json"] = strings.Replace(c.files["config.json"], `"gelu"`, `"silu"`, 1)
	refused(t, `hidden_act "silu" is not supported (gelu, gelu_new, gelu_pytorch_tanh, relu are)`, c)
	c = newDistil("distilbert.")
	delete(c.weights, "distilbert.transformer.layer.1.ffn.lin2.bias")
	refused(t, `model.safetensors: tensor "distilbert.transformer.layer.1.ffn.lin2.bias": tensor is missing`, c)
	c = newDistil("")
	c.files["config.json"] = strings.Replace(c.files["config.json"], `"dim":8`, `"dim":0`, 1)
	refused(t, "config.json: hidden_size is missing or out of range (0)", c)
}
