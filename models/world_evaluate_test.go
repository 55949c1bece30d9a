package models

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// tensor is a matrix, the only shape that evaluate needs: a vector is one row.
type tensor struct {
	rows, columns int
	data          []float64
}

func (a tensor) row(i int) []float64 { return a.data[i*a.columns : (i+1)*a.columns] }

func matrixOf(rows, columns int) tensor {
	return tensor{rows, columns, make([]float64, rows*columns)}
}

// evaluation computes a packed graph in float64, operator by operator as ONNX Runtime documents
// them: the provider that runs such a graph exists on a GPU alone.
type evaluation struct {
	values map[string]tensor
	starts []int
}

func evaluate(t *testing.T, m *onnxpb.ModelProto, texts [][]int32) [][]float64 {
	t.Helper()
	e := evaluation{values: map[string]tensor{}, starts: []int{0}}
	var ids, positions []float64
	longest := 0
	for _, text := range texts {
		for i, id := range text {
			ids, positions = append(ids, float64(id)), append(positions, float64(i))
		}
		e.starts = append(e.starts, len(ids))
		longest = max(longest, len(text))
	}
	starts := make([]float64, len(e.starts))
	for i, start := range e.starts {
		starts[i] = float64(start)
	}
	for name, list := range map[string][]float64{
		InputIDs: ids, InputPositions: positions, InputStarts: starts, InputGrid: {float64(len(texts)), float64(longest)},
	} {
		e.values[name] = tensor{1, len(list), list}
	}
	for _, c := range m.Graph.Initializer {
		e.values[c.GetName()] = decoded(c)
	}
	for _, n := range m.Graph.Node {
		out, known := e.operator(n)
		if !known {
			t.Fatalf("operator %s", n.GetOpType())
		}
		e.values[n.Output[0]] = out
	}
	out := e.values[OutputEmbedding]
	if out.rows != len(texts) {
		t.Fatalf("%d vectors for %d texts", out.rows, len(texts))
	}
	vectors := make([][]float64, out.rows)
	for i := range vectors {
		vectors[i] = out.row(i)
	}
	return vectors
}

func decoded(c *onnxpb.TensorProto) tensor {
	rows, columns := 1, 1
	for i, d := range c.Dims {
		if i < len(c.Dims)-1 {
			rows *= int(d)
		} else {
			columns = int(d)
		}
	}
	out := matrixOf(rows, columns)
	for i := range out.data {
		switch c.GetDataType() {
		case int32(onnxpb.TensorProto_FLOAT16):
			bits := binary.LittleEndian.Uint16(c.RawData[2*i:])
			exponent, fraction := int(bits>>10&31), float64(bits&1023)
			v := math.Ldexp(1024+fraction, exponent-25)
			if exponent == 0 {
				v = math.Ldexp(fraction, -24)
			}
			if bits>>15 == 1 {
				v = -v
			}
			out.data[i] = v
		case int32(onnxpb.TensorProto_INT64):
			out.data[i] = float64(int64(binary.LittleEndian.Uint64(c.RawData[8*i:])))
		default:
			out.data[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(c.RawData[4*i:])))
		}
	}
	return out
}

func (e evaluation) operator(n *onnxpb.NodeProto) (out tensor, known bool) {
	var in []tensor
	for _, name := range n.Input {
		in = append(in, e.values[name])
	}
	attributes := map[string]*onnxpb.AttributeProto{}
	for _, a := range n.Attribute {
		attributes[a.GetName()] = a
	}
	epsilon := float64(attributes["epsilon"].GetF())
	switch n.GetOpType() {
	case "ConstantOfShape", "Reshape", "Cast": // a shape of two dimensions, which all tensors here have anyway
		return in[0], true
	case "EmbedLayerNormalization":
		return normalised(plus(gather(in[2], in[0]), gather(in[3], in[8])), in[5], in[6], epsilon), true
	case "SkipLayerNormalization":
		return normalised(plus(plus(in[0], in[1]), in[4]), in[2], in[3], epsilon), true
	case "MatMul":
		return times(in[0], in[1]), true
	case "BiasGelu":
		return each(plus(in[0], in[1]), gelu), true
	case "PackedMultiHeadAttention":
		return e.attention(in, int(attributes["num_heads"].GetI()), float64(attributes["scale"].GetF())), true
	case "Slice":
		list := in[0].data
		end := int(in[2].data[0])
		if end < 0 {
			end += len(list)
		}
		return tensor{1, end - int(in[1].data[0]), list[int(in[1].data[0]):end]}, true
	case "Gather":
		return gather(in[0], in[1]), true
	case "ReduceL2":
		out = matrixOf(in[0].rows, 1)
		for i := range out.data {
			out.data[i] = length(in[0].row(i))
		}
		return out, true
	case "Max":
		return each(in[0], func(v float64) float64 { return max(v, in[1].data[0]) }), true
	case "Div":
		out = matrixOf(in[0].rows, in[0].columns)
		for i, v := range in[0].data {
			out.data[i] = v / in[1].data[i/in[0].columns]
		}
		return out, true
	}
	return tensor{}, false
}

// attention is that of texts between e's starts. It refuses a bias, which the graph promises to do
// without.
func (e evaluation) attention(in []tensor, heads int, scale float64) tensor {
	query, key, value := in[0], in[1], in[2]
	if in[3].data != nil || in[4].data[0] != float64(len(e.starts)-1) {
		return tensor{}
	}
	size := query.columns / heads
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(size))
	}
	out := matrixOf(query.rows, query.columns)
	for text := range len(e.starts) - 1 {
		for i := e.starts[text]; i < e.starts[text+1]; i++ {
			for from := 0; from < query.columns; from += size {
				weights := scores(query.row(i)[from:from+size], key, e.starts[text:text+2], from, scale)
				for j, w := range weights {
					for c := from; c < from+size; c++ {
						out.row(i)[c] += w * value.row(e.starts[text] + j)[c]
					}
				}
			}
		}
	}
	return out
}

// scores is the softmax of a query's products with a head's keys of one text.
func scores(query []float64, key tensor, text []int, from int, scale float64) []float64 {
	weights := make([]float64, text[1]-text[0])
	largest, total := math.Inf(-1), 0.0
	for j := range weights {
		for c, q := range query {
			weights[j] += scale * q * key.row(text[0] + j)[from+c]
		}
		largest = max(largest, weights[j])
	}
	for j, w := range weights {
		weights[j] = math.Exp(w - largest)
		total += weights[j]
	}
	for j := range weights {
		weights[j] /= total
	}
	return weights
}

func gather(table, indices tensor) tensor {
	out := matrixOf(len(indices.data), table.columns)
	for i, at := range indices.data {
		copy(out.row(i), table.row(int(at)))
	}
	return out
}

// plus adds a tensor, or one row to every row.
func plus(a, b tensor) tensor {
	out := matrixOf(a.rows, a.columns)
	for i, v := range a.data {
		out.data[i] = v + b.data[i%len(b.data)]
	}
	return out
}

func times(a, b tensor) tensor {
	out := matrixOf(a.rows, b.columns)
	for i := range a.rows {
		for k, v := range a.row(i) {
			for j, w := range b.row(k) {
				out.row(i)[j] += v * w
			}
		}
	}
	return out
}

func normalised(a, scale, bias tensor, epsilon float64) tensor {
	out := matrixOf(a.rows, a.columns)
	for i := range a.rows {
		var mean, variance float64
		for _, v := range a.row(i) {
			mean += v / float64(a.columns)
		}
		for _, v := range a.row(i) {
			variance += (v - mean) * (v - mean) / float64(a.columns)
		}
		for j, v := range a.row(i) {
			out.row(i)[j] = (v-mean)/math.Sqrt(variance+epsilon)*scale.data[j] + bias.data[j]
		}
	}
	return out
}

func each(a tensor, f func(float64) float64) tensor {
	out := matrixOf(a.rows, a.columns)
	for i, v := range a.data {
		out.data[i] = f(v)
	}
	return out
}

func gelu(v float64) float64 { return v / 2 * (1 + math.Erf(v/math.Sqrt2)) }

func length(v []float64) float64 {
	var squares float64
	for _, x := range v {
		squares += x * x
	}
	return math.Sqrt(squares)
}

// plainBERT is the model as its paper has it, for one text, with the checkpoint's own weights.
func plainBERT(a architecture, values map[string][]float32, text []int32, pooling Pooling, unit bool) []float64 {
	get := func(name string) tensor {
		out := tensor{1, len(values[name]), nil}
		for _, v := range values[name] {
			out.data = append(out.data, float64(v))
		}
		return out
	}
	dense := func(x tensor, name string) tensor {
		w, bias := get(name+".weight"), get(name+".bias")
		transposed := matrixOf(x.columns, bias.columns)
		for i, v := range w.data {
			transposed.row(i % x.columns)[i/x.columns] = v
		}
		return plus(times(x, transposed), bias)
	}
	norm := func(x tensor, name string) tensor {
		return normalised(x, get(name+".weight"), get(name+".bias"), a.LayerNormEps)
	}
	x := matrixOf(len(text), a.HiddenSize)
	for i, id := range text {
		for j := range x.row(i) {
			x.row(i)[j] = get(wordEmbeddings).data[int(id)*a.HiddenSize+j] +
				get("embeddings.position_embeddings.weight").data[i*a.HiddenSize+j] + get("embeddings.token_type_embeddings.weight").data[j]
		}
	}
	x = norm(x, "embeddings.LayerNorm")
	one := evaluation{starts: []int{0, len(text)}}
	for l := range a.Layers {
		self := layerName(l, "attention.self.")
		in := []tensor{dense(x, self+"query"), dense(x, self+"key"), dense(x, self+"value"), {}, {data: []float64{1}}}
		mixed := one.attention(in, a.Heads, 0)
		x = norm(plus(dense(mixed, layerName(l, "attention.output.dense")), x), layerName(l, "attention.output.LayerNorm"))
		wide := each(dense(x, layerName(l, "intermediate.dense")), gelu)
		x = norm(plus(dense(wide, layerName(l, "output.dense")), x), layerName(l, "output.LayerNorm"))
	}
	pooled := make([]float64, a.HiddenSize)
	for i := range x.rows {
		for j, v := range x.row(i) {
			if pooling == PoolingMean {
				pooled[j] += v / float64(x.rows)
			} else if i == 0 {
				pooled[j] = v
			}
		}
	}
	if unit {
		by := length(pooled)
		for j := range pooled {
			pooled[j] /= by
		}
	}
	return pooled
}
