package models

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// What the bytes of a ready export may hold. An empty message has two bytes in a file and some 300
// in memory.
const (
	// maxExportDepth is the depth of messages within messages that protobuf's own reader in ONNX
	// Runtime takes.
	maxExportDepth = 100
	// maxExportParts bounds messages and texts. An export of twelve layers has some 30,000.
	maxExportParts = 1 << 20
	// maxExportNumbers bounds numbers that are written one by one, each in as little as a byte;
	// weights stand there as bytes.
	maxExportNumbers = 1 << 28
)

// errNoExport says that bytes are no ONNX model at all.
var errNoExport = errors.New("not an ONNX model")

var (
	modelKind  = (*onnxpb.ModelProto)(nil).ProtoReflect().Descriptor()
	tensorKind = (*onnxpb.TensorProto)(nil).ProtoReflect().Descriptor()
	nodeKind   = (*onnxpb.NodeProto)(nil).ProtoReflect().Descriptor()
)

// The fields that name another file.
const (
	nodeOperator       = "op_type"
	tensorExternal     = "external_data"
	tensorDataLocation = "data_location"
	// compiledOperator stands for a graph that was compiled for one device, which it may read from
	// a path.
	compiledOperator = "EPContext"
)

// exportScan looks through the bytes of a ready export before they are decoded. It goes by the
// description of the messages, so that it comes through everything that can hold a tensor: the
// bodies of If, Loop and Scan, functions and the defaults of their attributes, sparse tensors, what
// training needs.
type exportScan struct {
	// partsLeft and numbersLeft are how many more there may be.
	partsLeft, numbersLeft int
}

// scanExport refuses an export that names other files, that would take much more memory than its
// file, or that has parts which this program does not know and so cannot judge.
func scanExport(data []byte) error {
	s := exportScan{partsLeft: maxExportParts, numbersLeft: maxExportNumbers}
	return s.message(data, modelKind, 0)
}

func (s *exportScan) message(data []byte, kind protoreflect.MessageDescriptor, depth int) error {
	if depth >= maxExportDepth {
		return fmt.Errorf("its parts are nested deeper than %d levels", maxExportDepth)
	}
	fields := kind.Fields()
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errNoExport
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(number, wire, data); n < 0 {
			return errNoExport
		}
		field := fields.ByNumber(number)
		if field == nil || !fits(field, wire) {
			return fmt.Errorf("it has a part that is not known (field %d of %s); export it with an older operator set", number, kind.Name())
		}
		if err := s.field(data[:n], field, wire, depth); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// fits reports whether a field may be encoded so. Another encoding would pass through the decoder
// as an unknown field.
func fits(field protoreflect.FieldDescriptor, wire protowire.Type) bool {
	own := protowire.BytesType
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.StringKind, protoreflect.BytesKind:
		return wire == own
	case protoreflect.FloatKind:
		own = protowire.Fixed32Type
	case protoreflect.DoubleKind:
		own = protowire.Fixed64Type
	default: // integers and enumerations
		own = protowire.VarintType
	}
	return wire == own || wire == protowire.BytesType && field.IsList()
}

// field looks at the value of a field, which is whole.
func (s *exportScan) field(value []byte, field protoreflect.FieldDescriptor, wire protowire.Type, depth int) error {
	if wire != protowire.BytesType {
		s.numbersLeft--
		if v, _ := protowire.ConsumeVarint(value); v != 0 && field.Parent() == tensorKind && field.Name() == tensorDataLocation {
			return errExternal
		}
		return s.bounded()
	}
	inner, _ := protowire.ConsumeBytes(value)
	switch field.Kind() {
	case protoreflect.MessageKind:
		s.partsLeft--
		if field.Parent() == tensorKind && field.Name() == tensorExternal {
			return errExternal
		}
		if err := s.bounded(); err != nil {
			return err
		}
		return s.message(inner, field.Message(), depth+1)
	case protoreflect.StringKind, protoreflect.BytesKind:
		s.partsLeft--
		if field.Parent() == nodeKind && field.Name() == nodeOperator && string(inner) == compiledOperator {
			return fmt.Errorf("a graph that is compiled already (%s) is not supported", compiledOperator)
		}
	case protoreflect.FloatKind, protoreflect.DoubleKind: // as many bytes in memory
	default:
		for _, b := range inner {
			if b < 0x80 { // the last byte of a number
				s.numbersLeft--
			}
		}
	}
	return s.bounded()
}

var errExternal = errors.New("weights in a file beside it (model.onnx_data) are not supported; export it as one file")

func (s *exportScan) bounded() error {
	if s.partsLeft < 0 {
		return fmt.Errorf("it has more than %d parts", maxExportParts)
	}
	if s.numbersLeft < 0 {
		return fmt.Errorf("it has more than %d numbers that are written one by one", maxExportNumbers)
	}
	return nil
}
