package models

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// The versions that graphs are written in: operator set 23 is the first with Attention, and IR 11
// belongs to it.
const (
	opset     = 23
	irVersion = 11
)

// Field numbers of onnx.proto that are written by hand, because the weights never stand in memory
// together.
const (
	modelGraphField       = 7
	graphInitializerField = 5
	tensorRawDataField    = 9
)

// writeModel writes a graph as one ONNX file, reading the weights one tensor at a time. The bytes
// are those of an ordinary ModelProto, and the same for the same graph.
func writeModel(ctx context.Context, w io.Writer, g *graph, metadata map[string]string) error {
	frame := &onnxpb.ModelProto{
		IrVersion: proto.Int64(irVersion), ProducerName: new("wal2vec"),
		OpsetImport:   []*onnxpb.OperatorSetIdProto{{Domain: new(""), Version: proto.Int64(opset)}},
		MetadataProps: entries(metadata),
	}
	if g.domain != "" {
		frame.OpsetImport = append(frame.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: new(g.domain), Version: proto.Int64(1)})
	}
	body := &onnxpb.GraphProto{Name: new("encoder"), Node: g.nodes, Input: g.inputs, Output: g.outputs}
	deterministic := proto.MarshalOptions{Deterministic: true}
	head, err := deterministic.Marshal(frame)
	if err != nil {
		return fmt.Errorf("encoding the model's head: %w", err)
	}
	nodes, err := deterministic.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the graph: %w", err)
	}
	descriptions := make([][]byte, len(g.constants))
	total := len(nodes)
	for i, c := range g.constants {
		if descriptions[i], err = deterministic.Marshal(c.describe()); err != nil {
			return fmt.Errorf("encoding constant %s: %w", c.name, err)
		}
		total += protowire.SizeTag(graphInitializerField) + protowire.SizeBytes(c.size(descriptions[i]))
	}
	out := bufio.NewWriterSize(w, 1<<20)
	_, _ = out.Write(head) // a bufio.Writer keeps its first error for Flush
	writeLength(out, modelGraphField, total)
	_, _ = out.Write(nodes)
	for i, c := range g.constants {
		if err := ctx.Err(); err != nil {
			return err
		}
		writeLength(out, graphInitializerField, c.size(descriptions[i]))
		_, _ = out.Write(descriptions[i])
		if err := c.writeData(out); err != nil {
			return fmt.Errorf("writing constant %s: %w", c.name, err)
		}
	}
	return out.Flush()
}

// entries turns metadata into ONNX's form, by name, so that the bytes do not depend on the map's
// order.
func entries(metadata map[string]string) []*onnxpb.StringStringEntryProto {
	var list []*onnxpb.StringStringEntryProto
	for _, key := range sortedKeys(metadata) {
		list = append(list, &onnxpb.StringStringEntryProto{Key: new(key), Value: new(metadata[key])})
	}
	return list
}

func writeLength(out *bufio.Writer, field protowire.Number, length int) {
	_, _ = out.Write(protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.BytesType), uint64(length)))
}

// describe is the tensor's message without its data.
func (c initializer) describe() *onnxpb.TensorProto {
	element := c.element
	switch {
	case c.floats != nil:
		element = onnxpb.TensorProto_FLOAT
	case c.ints != nil:
		element = onnxpb.TensorProto_INT64
	}
	return &onnxpb.TensorProto{Dims: c.shape, DataType: new(int32(element)), Name: new(c.name)}
}

// elementBytes are the sizes of the element types that graphs hold.
var elementBytes = map[onnxpb.TensorProto_DataType]int{
	onnxpb.TensorProto_FLOAT: 4, onnxpb.TensorProto_FLOAT16: 2, onnxpb.TensorProto_INT8: 1, onnxpb.TensorProto_UINT8: 1,
	onnxpb.TensorProto_INT32: 4,
}

// dataBytes is the size of the tensor's data.
func (c initializer) dataBytes() int {
	if c.ints != nil {
		return 8 * len(c.ints)
	}
	n := 4
	if c.floats == nil {
		n = elementBytes[c.element]
	}
	for _, d := range c.shape {
		n *= int(d)
	}
	return n
}

// size is the size of the tensor's message.
func (c initializer) size(description []byte) int {
	return len(description) + protowire.SizeTag(tensorRawDataField) + protowire.SizeBytes(c.dataBytes())
}

// data makes the whole data of a constant.
func (c initializer) data() ([]byte, error) {
	var raw []byte
	for _, v := range c.ints {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	if c.floats == nil {
		return raw, nil
	}
	values, err := c.floats()
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return raw, err
}

// writeData writes the data field; its length was promised before the data is made.
func (c initializer) writeData(out *bufio.Writer) error {
	writeLength(out, tensorRawDataField, c.dataBytes())
	var word [8]byte
	for _, v := range c.ints {
		binary.LittleEndian.PutUint64(word[:], uint64(v))
		_, _ = out.Write(word[:])
	}
	switch {
	case c.ints != nil:
		return nil
	case c.bytes != nil:
		data, err := c.bytes()
		if err != nil {
			return err
		}
		if len(data) != c.dataBytes() {
			return fmt.Errorf("%d bytes for shape %v", len(data), c.shape)
		}
		_, err = out.Write(data)
		return err
	}
	data, err := c.floats()
	if err != nil {
		return err
	}
	if 4*len(data) != c.dataBytes() {
		return fmt.Errorf("%d elements for shape %v", len(data), c.shape)
	}
	for _, v := range data {
		binary.LittleEndian.PutUint32(word[:4], math.Float32bits(v))
		if _, err := out.Write(word[:4]); err != nil {
			return err
		}
	}
	return nil
}
