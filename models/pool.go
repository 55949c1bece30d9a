package models

// Pooling says how the tokens' vectors become one vector of the text.
type Pooling string

// The poolings. PoolingInside is that of a ready ONNX export that writes one vector a text by
// itself.
const (
	PoolingMean   Pooling = "mean"
	PoolingCLS    Pooling = "cls"
	PoolingInside Pooling = "inside"
)

// tail is what follows the transformer: it makes one vector of the vectors of a text's tokens.
type tail struct {
	pooling Pooling
	// normalised scales a vector to length 1.
	normalised bool
}

// String is the tail's part of a fingerprint.
func (t tail) String() string {
	normalise := "none"
	if t.normalised {
		normalise = "l2"
	}
	return "pooling " + string(t.pooling) + "\nnormalise " + normalise
}

// pool writes OutputEmbedding [rows, dimension] from vectors of tokens, [rows, tokens, dimension],
// without padding. Of PoolingInside the vectors are [rows, dimension].
func (g *graph) pool(vectors string, t tail) {
	switch t.pooling {
	case PoolingMean:
		vectors = g.reduce("ReduceMean", vectors, 0)
	case PoolingCLS:
		vectors = g.op("Gather", []string{vectors, g.index(0)}, intAttribute("axis", 1))
	case PoolingInside:
	}
	if !t.normalised {
		g.opTo(OutputEmbedding, "Identity", []string{vectors})
		return
	}
	length := g.reduce("ReduceL2", vectors, 1)
	// The guard against a zero vector is PyTorch's.
	g.opTo(OutputEmbedding, "Div", []string{vectors, g.op("Max", []string{length, g.scalar(1e-12)})})
}

// reduce folds the second axis. The axes are an input since operator set 18; before, they were an
// attribute.
func (g *graph) reduce(kind, vectors string, keepDimensions int) string {
	keep := intAttribute("keepdims", keepDimensions)
	if g.opset != 0 && g.opset < 18 {
		return g.op(kind, []string{vectors}, intsAttribute("axes", 1), keep)
	}
	return g.op(kind, []string{vectors, g.ints(1)}, keep)
}
