package models

import (
	"fmt"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// The inputs that graphs for CUDA have beside InputIDs [1, tokens] and InputStarts. All follow from
// the ids and starts; the caller makes them, because on the GPU each would be a kernel, and on the
// CPU a wait for it in the middle of the graph.
const (
	// InputPositions is int32 [1, tokens]: the position of each token in its text.
	InputPositions = "positions"
	// InputGrid is int64 [2]: the number of texts and the tokens of the longest. The attention
	// takes them as a tensor's shape.
	InputGrid = "grid"
)

// packedBERT writes BERT in fp16 for the CUDA provider. Texts of any lengths stand one after the
// other without padding; every sum over a text (attention, pooling) knows where it starts. Pooling
// and normalisation end in fp32. Nothing in it waits for the GPU.
//
// The form is the fastest of those measured on an H200 (ONNX Runtime 1.31.1, 65,536 tokens in 1,170
// texts; times are of one run's 5.3 ms):
//   - three products for query, key and value, which the attention reads as they are: 38 us each;
//     one product and the copy that takes it apart are 95 and 97 us a layer;
//   - the attention adds no biases, for which it would copy all three as well. The key's bias is
//     dropped: it adds the same number to every score of a query. The value's goes through the
//     output product into the bias there. The query's is a part of its weights: see steady;
//   - the attention of CUTLASS (the option sdpa_kernel=2): 160 us a layer, against 290 us for the
//     flash attention, whose blocks of 128 tokens are mostly empty;
//   - exact BiasGelu: 170 us, against 202 us for the tanh form;
//   - EmbedLayerNormalization: 146 us, against 221 us for two lookups and a norm;
//   - the mean over a text as an attention whose scores are all equal: 110 us, against 393 us for
//     adding with ScatterND and 690 us for the product with a matrix of zeros and ones.
//
// Products are 45 % of a run, attention 20 %, GELU 20 %, norms 11 %.
type packedBERT struct {
	graph
	tail
	a architecture
	w *weights
	// shape is a tensor of the shape that InputGrid says. Only the slow form of the attention reads
	// its elements, and that is never used.
	shape string
}

// newPackedBERT lays out the whole graph; no weight is read yet.
func newPackedBERT(a architecture, t tail, w *weights) *packedBERT {
	b := &packedBERT{a: a, w: w, tail: t}
	b.domain = microsoft
	b.inputs = []*onnxpb.ValueInfoProto{
		valueInfo(InputIDs, onnxpb.TensorProto_INT32, 1, "tokens"), valueInfo(InputStarts, onnxpb.TensorProto_INT32, "ends"),
		valueInfo(InputPositions, onnxpb.TensorProto_INT32, 1, "tokens"), valueInfo(InputGrid, onnxpb.TensorProto_INT64, 2),
	}
	b.outputs = []*onnxpb.ValueInfoProto{valueInfo(OutputEmbedding, onnxpb.TensorProto_FLOAT, "rows", a.HiddenSize)}
	x := b.embeddings()
	for i := range a.Layers {
		b.scope = fmt.Sprintf("layer.%d.", i)
		x = b.feedForward(i, b.attention(i, x))
	}
	b.scope = "pool."
	b.pool(x)
	return b
}

// embeddings adds up word, position and segment; the segment is always the first, so that it is in
// the position table.
func (b *packedBERT) embeddings() string {
	b.scope = "embeddings."
	b.shape = b.op("ConstantOfShape", []string{InputGrid}, &onnxpb.AttributeProto{
		Name: new("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(),
		T: &onnxpb.TensorProto{Dims: []int64{1}, DataType: new(int32(onnxpb.TensorProto_INT32)), Int32Data: []int32{0}},
	})
	h := b.a.HiddenSize
	words := b.weight(wordEmbeddings, b.a.VocabularySize, h)
	positions := b.half((&bertGraph{a: b.a, w: b.w}).positionTable, b.a.MaxPositions, h)
	gamma, beta := b.weight(normBefore(0)+".weight", h), b.carryingBias(0)
	const none = ""
	x := b.special("EmbedLayerNormalization", []string{InputIDs, none, words, positions, none, gamma, beta, none, InputPositions},
		floatAttribute("epsilon", b.a.LayerNormEps))
	node := b.nodes[len(b.nodes)-1]
	node.Output = append(node.Output, x+".lengths") // its schema wants the output; nothing reads it
	return b.op("Reshape", []string{x, b.ints(-1, int64(h))})
}

// attention reads x, which carries the vector that steady describes.
func (b *packedBERT) attention(layer int, x string) string {
	h := b.a.HiddenSize
	self := layerName(layer, "attention.self.")
	query := b.op("MatMul", []string{x, b.half(func() ([]float32, error) { return b.steadyQuery(layer) }, h, h)})
	key := b.op("MatMul", []string{x, b.transposed(self+"key.weight", h, h)})
	value := b.op("MatMul", []string{x, b.transposed(self+"value.weight", h, h)})
	mixed := b.attend([]string{query, key, value}, b.a.Heads)
	output := layerName(layer, "attention.output.dense")
	sum := b.op("MatMul", []string{mixed, b.transposed(output+".weight", h, h)})
	bias := b.half(func() ([]float32, error) { return b.outputBias(layer) }, h)
	name := layerName(layer, "attention.output.LayerNorm")
	return b.addAndNorm([]string{sum, x, b.weight(name+".weight", h), b.weight(name+".bias", h), bias})
}

// attend mixes values within each text.
func (b *packedBERT) attend(inputs []string, heads int, attributes ...*onnxpb.AttributeProto) string {
	const noBias = ""
	inputs = append(inputs, noBias, b.shape, InputStarts)
	return b.special("PackedMultiHeadAttention", inputs, append(attributes, intAttribute("num_heads", heads))...)
}

func (b *packedBERT) feedForward(layer int, x string) string {
	h, f := b.a.HiddenSize, b.a.IntermediateSize
	inner, outer := layerName(layer, "intermediate.dense"), layerName(layer, "output.dense")
	wide := b.op("MatMul", []string{x, b.transposed(inner+".weight", f, h)})
	wide = b.special("BiasGelu", []string{wide, b.weight(inner+".bias", f)})
	sum := b.op("MatMul", []string{wide, b.transposed(outer+".weight", h, f)})
	gamma := b.weight(normBefore(layer+1)+".weight", h)
	return b.addAndNorm([]string{sum, x, gamma, b.carryingBias(layer + 1), b.weight(outer+".bias", h)})
}

// addAndNorm normalises the sum of two tensors and a bias, in fp32. inputs are the two, the norm's
// weight and bias, and the bias.
func (b *packedBERT) addAndNorm(inputs []string) string {
	return b.special("SkipLayerNormalization", inputs, floatAttribute("epsilon", b.a.LayerNormEps))
}

// pool makes one vector of each text. The mean of a text's tokens stands at each of them when every
// score is the same, and scores are when their scale is next to nothing; the sum is in fp32. (The
// scale 0 is the operator's word for its default.)
func (b *packedBERT) pool(x string) {
	if b.pooling == PoolingMean {
		x = b.attend([]string{x, x, x}, b.poolingHeads(), floatAttribute("scale", 1e-30))
	}
	first := b.op("Slice", []string{InputStarts, b.ints(0), b.ints(-1), b.ints(0)})
	toFloat := intAttribute("to", int(onnxpb.TensorProto_FLOAT))
	if !b.normalised {
		b.opTo(OutputEmbedding, "Cast", []string{b.op("Gather", []string{x, first})}, toFloat)
		return
	}
	pooled := b.op("Cast", []string{b.op("Gather", []string{x, first})}, toFloat)
	length := b.op("ReduceL2", []string{pooled, b.ints(1)}, intAttribute("keepdims", 1))
	b.opTo(OutputEmbedding, "Div", []string{pooled, b.op("Max", []string{length, b.scalar(1e-12)})})
}

// poolingHeads cuts a vector into parts of 64 numbers, the widest that the attention's fast kernel
// takes; the mean does not see the cut.
func (b *packedBERT) poolingHeads() int {
	if b.a.HiddenSize%64 == 0 {
		return b.a.HiddenSize / 64
	}
	return b.a.Heads
}
