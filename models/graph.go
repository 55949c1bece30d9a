package models

import (
	"fmt"
	"strconv"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// The names of a graph's inputs and output, the same for every graph that this package writes.
const (
	// InputIDs is int32: the token ids of the texts, special tokens included, no padding; [rows,
	// tokens] for texts of one length. Where the graph is packed (Target.Packed) they stand one
	// after the other, [tokens] for DeviceCPU and [1, tokens] for DeviceCUDA.
	InputIDs = "input_ids"
	// InputStarts is int32 [rows + 1], of packed graphs only: where each text starts among the ids,
	// and their number.
	InputStarts = "row_starts"
	// OutputEmbedding is float32 [rows, dimension]; the vectors are of length 1 where
	// Manifest.Normalised says so.
	OutputEmbedding = "sentence_embedding"
)

// microsoft is the domain of ONNX Runtime's own operators.
const microsoft = "com.microsoft"

// initializer is a constant of a graph. Floats and bytes are made when they are written, one tensor
// at a time, so that building a graph takes the memory of its largest tensor and not of the model.
// One of ints, floats and bytes is set.
type initializer struct {
	name   string
	shape  []int64
	ints   []int64
	floats func() ([]float32, error)
	// bytes are the elements of a tensor of another type, little-endian.
	bytes   func() ([]byte, error)
	element onnxpb.TensorProto_DataType
}

// graph collects nodes and constants. Names are numbered in order, so that the same calls always
// give the same bytes.
type graph struct {
	// opset is the version of the standard operators; 0 is the one that graphs are written in.
	opset     int
	nodes     []*onnxpb.NodeProto
	constants []initializer
	inputs    []*onnxpb.ValueInfoProto
	outputs   []*onnxpb.ValueInfoProto
	// domain is that of operators beyond the standard ones; empty where there are none.
	domain string
	// scope stands before the names of nodes, for profiles and error messages.
	scope string
}

// special adds a node of the graph's other domain, with one output, and returns the output's name.
func (g *graph) special(kind string, inputs []string, attributes ...*onnxpb.AttributeProto) string {
	out := g.op(kind, inputs, attributes...)
	g.nodes[len(g.nodes)-1].Domain = new(g.domain)
	return out
}

// specialTo is special with a given name for the output.
func (g *graph) specialTo(out, kind string, inputs []string, attributes ...*onnxpb.AttributeProto) {
	g.opTo(out, kind, inputs, attributes...)
	g.nodes[len(g.nodes)-1].Domain = new(g.domain)
}

// op adds a node with one output and returns the output's name.
func (g *graph) op(kind string, inputs []string, attributes ...*onnxpb.AttributeProto) string {
	out := fmt.Sprintf("%s%s.%d", g.scope, kind, len(g.nodes))
	g.opTo(out, kind, inputs, attributes...)
	return out
}

// opTo adds a node whose output has a given name.
func (g *graph) opTo(out, kind string, inputs []string, attributes ...*onnxpb.AttributeProto) {
	g.nodes = append(g.nodes, &onnxpb.NodeProto{
		Name: new(out), OpType: new(kind), Input: inputs, Output: []string{out}, Attribute: attributes,
	})
}

// floats adds a constant whose elements are read or computed when the graph is written.
func (g *graph) floats(read func() ([]float32, error), shape ...int) string {
	dims := make([]int64, len(shape))
	for i, n := range shape {
		dims[i] = int64(n)
	}
	return g.constant(initializer{shape: dims, floats: read})
}

// typed adds a constant of another element type; bytes are its elements, little-endian, made when
// the graph is written.
func (g *graph) typed(element onnxpb.TensorProto_DataType, bytes func() ([]byte, error), shape ...int) string {
	dims := make([]int64, len(shape))
	for i, n := range shape {
		dims[i] = int64(n)
	}
	return g.constant(initializer{shape: dims, bytes: bytes, element: element})
}

// scalar adds a float constant without dimensions.
func (g *graph) scalar(v float32) string {
	return g.floats(func() ([]float32, error) { return []float32{v}, nil })
}

// ints adds a vector of int64.
func (g *graph) ints(v ...int64) string {
	return g.constant(initializer{shape: []int64{int64(len(v))}, ints: v})
}

// index adds an int64 without dimensions.
func (g *graph) index(v int64) string {
	return g.constant(initializer{shape: []int64{}, ints: []int64{v}})
}

func (g *graph) constant(c initializer) string {
	c.name = "c." + strconv.Itoa(len(g.constants))
	g.constants = append(g.constants, c)
	return c.name
}

func intAttribute(name string, v int) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: new(name), Type: onnxpb.AttributeProto_INT.Enum(), I: new(int64(v))}
}

// boolAttribute is 1 for true, as operators have it.
func boolAttribute(name string, v bool) *onnxpb.AttributeProto {
	if v {
		return intAttribute(name, 1)
	}
	return intAttribute(name, 0)
}

func intsAttribute(name string, v ...int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: new(name), Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}

func stringAttribute(name, v string) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: new(name), Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

func floatAttribute(name string, v float64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: new(name), Type: onnxpb.AttributeProto_FLOAT.Enum(), F: new(float32(v))}
}

// valueInfo describes an input or output; a dimension is a number or, where it varies, a name.
func valueInfo(name string, element onnxpb.TensorProto_DataType, dims ...any) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case int:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case string:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{
		Name: new(name),
		Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
			TensorType: &onnxpb.TypeProto_Tensor{ElemType: new(int32(element)), Shape: shape},
		}},
	}
}
