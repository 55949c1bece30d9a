package models

import "strings"

// distilType is DistilBERT's model_type: BERT without segments, with names of its own for
// everything.
const distilType = "distilbert"

// readDistil reads a DistilBERT's config.json as that of the BERT that it is.
func readDistil(f *folder) (architecture, error) {
	var c struct {
		Activation     string `json:"activation"`
		Dim            int    `json:"dim"`
		HiddenDim      int    `json:"hidden_dim"`
		MaxPositions   int    `json:"max_position_embeddings"`
		Heads          int    `json:"n_heads"`
		Layers         int    `json:"n_layers"`
		VocabularySize int    `json:"vocab_size"`
	}
	_, err := readJSON(f, configFile, &c)
	return architecture{
		ModelType: distilType, HiddenAct: c.Activation, HiddenSize: c.Dim, IntermediateSize: c.HiddenDim, MaxPositions: c.MaxPositions,
		Heads: c.Heads, Layers: c.Layers, VocabularySize: c.VocabularySize, PositionType: "absolute", TypeVocabularySize: 1,
		LayerNormEps: 1e-12, // it has no setting
	}, err
}

// distilNames lists the parts of BERT's names with DistilBERT's.
var distilNames = strings.NewReplacer(
	"encoder.layer.", "transformer.layer.",
	".attention.self.query.", ".attention.q_lin.",
	".attention.self.key.", ".attention.k_lin.",
	".attention.self.value.", ".attention.v_lin.",
	".attention.output.dense.", ".attention.out_lin.",
	".attention.output.LayerNorm.", ".sa_layer_norm.",
	".intermediate.dense.", ".ffn.lin1.",
	".output.dense.", ".ffn.lin2.",
	".output.LayerNorm.", ".output_layer_norm.",
)

// distilName is what DistilBERT calls the tensor that BERT calls name.
func distilName(name string) string { return distilNames.Replace(name) }
