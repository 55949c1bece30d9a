package models

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// everyPlace calls f with a model that holds one tensor, in each place where a message may hold
// one, and the place's name. It goes by the description of the messages, so that a place that a
// later version brings is among them.
func everyPlace(f func(place string, m *onnxpb.ModelProto, tensor protoreflect.Message)) {
	var path []protoreflect.FieldDescriptor
	var walk func(kind protoreflect.MessageDescriptor, above []protoreflect.MessageDescriptor)
	walk = func(kind protoreflect.MessageDescriptor, above []protoreflect.MessageDescriptor) {
		if kind == tensorKind {
			m := &onnxpb.ModelProto{}
			at, names := m.ProtoReflect(), make([]string, len(path))
			for i, field := range path {
				names[i] = string(field.Name())
				if field.IsList() {
					at = at.Mutable(field).List().AppendMutable().Message()
				} else {
					at = at.Mutable(field).Message()
				}
			}
			f(strings.Join(names, "."), m, at)
			return
		}
		repeated := 0
		for _, k := range above {
			if k == kind {
				repeated++
			}
		}
		if repeated > 1 { // a graph within a graph is enough
			return
		}
		fields := kind.Fields()
		for i := range fields.Len() {
			if field := fields.Get(i); field.Kind() == protoreflect.MessageKind {
				path = append(path, field)
				walk(field.Message(), append(slices.Clone(above), kind))
				path = path[:len(path)-1]
			}
		}
	}
	walk(modelKind, nil)
}

func TestAnExportNamesNoOtherFileInAnyPlace(t *testing.T) {
	places := map[string]bool{}
	everyPlace(func(place string, m *onnxpb.ModelProto, tensor protoreflect.Message) {
		places[place] = true
		f := func(want error, set func(*onnxpb.TensorProto)) {
			t.Helper()
			tp := tensor.Interface().(*onnxpb.TensorProto)
			proto.Reset(tp)
			set(tp)
			data, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if got := scanExport(data); !errorsEqual(got, want) {
				t.Errorf("%s: %v, want %v", place, got, want)
			}
		}
		f(nil, func(*onnxpb.TensorProto) {})
		f(nil, func(tp *onnxpb.TensorProto) {
			tp.DataLocation, tp.RawData = onnxpb.TensorProto_DEFAULT.Enum(), []byte{1, 2, 3, 4}
		})
		f(errExternal, func(tp *onnxpb.TensorProto) { tp.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum() })
		// A reader may go by the entries alone.
		f(errExternal, func(tp *onnxpb.TensorProto) {
			tp.ExternalData = []*onnxpb.StringStringEntryProto{{Key: new("location"), Value: new("/etc/passwd")}}
		})
		f(errExternal, func(tp *onnxpb.TensorProto) {
			tp.ExternalData = []*onnxpb.StringStringEntryProto{{Key: new("location"), Value: new("weights")}}
			tp.DataLocation = onnxpb.TensorProto_DEFAULT.Enum()
		})
	})
	for _, place := range []string{
		"graph.initializer", "graph.sparse_initializer.values", "graph.sparse_initializer.indices", "graph.node.attribute.t",
		"graph.node.attribute.tensors", "graph.node.attribute.sparse_tensor.values", "graph.node.attribute.sparse_tensors.indices",
		"graph.node.attribute.g.initializer", "graph.node.attribute.graphs.node.attribute.t",
		"functions.node.attribute.t", "functions.attribute_proto.t", "functions.attribute_proto.g.initializer",
		"training_info.initialization.initializer", "training_info.algorithm.node.attribute.g.initializer",
	} {
		if !places[place] {
			t.Errorf("%s was not tried (of %d places)", place, len(places))
		}
	}
}

func errorsEqual(a, b error) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error()
}

// TestOpenRefusesWhatABodyOrAFunctionReads is the same through Open, with the person's line.
func TestOpenRefusesWhatABodyOrAFunctionReads(t *testing.T) {
	external := &onnxpb.TensorProto{
		Name: new("w"), DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(),
		ExternalData: []*onnxpb.StringStringEntryProto{{Key: new("location"), Value: new("../../../etc/passwd")}},
	}
	f := func(want string, change func(m *onnxpb.ModelProto)) {
		t.Helper()
		refused(t, "onnx/model.onnx: "+want, newReady(t, change))
	}
	f(errExternal.Error(), func(m *onnxpb.ModelProto) {
		m.Graph.Node[5].Attribute[0].G.Initializer = append(m.Graph.Node[5].Attribute[0].G.Initializer, external)
	})
	f(errExternal.Error(), func(m *onnxpb.ModelProto) {
		m.Functions = append(m.Functions, &onnxpb.FunctionProto{AttributeProto: []*onnxpb.AttributeProto{{T: external}}})
	})
	f("a graph that is compiled already (EPContext) is not supported", func(m *onnxpb.ModelProto) {
		m.Graph.Node = append(m.Graph.Node, &onnxpb.NodeProto{OpType: new("EPContext"), Domain: new("com.microsoft")})
	})
	f("it has a part that is not known (field 99 of TensorProto); export it with an older operator set", func(m *onnxpb.ModelProto) {
		m.Graph.Initializer[0].ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	})
	// The decoder would pass a field of another wire type on as it came, to a reader that may take
	// it.
	f("it has a part that is not known (field 14 of TensorProto); export it with an older operator set", func(m *onnxpb.ModelProto) {
		m.Graph.Initializer[0].ProtoReflect().SetUnknown(protowire.AppendFixed32(protowire.AppendTag(nil, 14, protowire.Fixed32Type), 1))
	})
}

// TestTheLastOfTwoDoesNotHideTheFirst: a message that stands twice is merged when it is decoded.
func TestTheLastOfTwoDoesNotHideTheFirst(t *testing.T) {
	first, err := proto.Marshal(&onnxpb.ModelProto{Graph: &onnxpb.GraphProto{
		Initializer: []*onnxpb.TensorProto{{DataLocation: onnxpb.TensorProto_EXTERNAL.Enum()}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := proto.Marshal(ready())
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{slices.Concat(first, second), slices.Concat(second, first)} {
		if err := scanExport(data); !errorsEqual(err, errExternal) {
			t.Errorf("%v", err)
		}
	}
}

func TestAnExportHasBounds(t *testing.T) {
	within := func(field protowire.Number, data []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), data)
	}
	f := func(data []byte, want string) {
		t.Helper()
		c := newReady(t, unchangedExport)
		c.files["onnx/model.onnx"] = string(data)
		refused(t, "onnx/model.onnx: "+want, c)
	}
	// A node without anything takes two bytes here and some 300 when it is decoded.
	f(within(modelGraphField, bytes.Repeat([]byte{0x0a, 0}, maxExportParts)), "it has more than 1048576 parts")
	f(within(modelGraphField, within(1, bytes.Repeat([]byte{0x0a, 0}, maxExportParts))), "it has more than 1048576 parts") // names of inputs

	var nested []byte
	for range maxExportDepth { // an If within an If
		nested = within(1, within(5, within(6, nested)))
	}
	f(within(modelGraphField, nested), "its parts are nested deeper than 100 levels")
	nested = nil
	for range 2 * maxExportDepth { // a sequence of sequences
		nested = within(4, within(1, nested))
	}
	f(within(modelGraphField, within(11, within(2, nested))), "its parts are nested deeper than 100 levels")

	g := func(numbers []byte, want bool) {
		t.Helper()
		s := exportScan{partsLeft: 10, numbersLeft: 100}
		if err := s.message(within(modelGraphField, within(graphInitializerField, numbers)), modelKind, 0); (err == nil) != want {
			t.Errorf("%v", err)
		}
	}
	g(within(7, bytes.Repeat([]byte{1}, 100)), true) // int64_data, packed
	g(within(7, bytes.Repeat([]byte{1}, 101)), false)
	g(within(7, bytes.Repeat([]byte{0x80, 1}, 100)), true)
	g(bytes.Repeat([]byte{7 << 3, 1}, 101), false)     // one by one
	g(within(4, bytes.Repeat([]byte{1}, 4000)), true)  // float_data
	g(within(9, bytes.Repeat([]byte{1}, 4000)), true)  // raw_data
	g(bytes.Repeat([]byte{6<<3 | 2, 0}, 11), false)    // string_data
	g(within(4, bytes.Repeat([]byte{1}, 4001)), true)  // the decoder refuses it
	g(within(9, bytes.Repeat([]byte{1}, 1000)), true)  //
	g(within(13, bytes.Repeat([]byte{1}, 100)), false) // external_data
}

func TestFilesOfACheckpointHaveBounds(t *testing.T) {
	f := func(name string, most int64) {
		t.Helper()
		c := newReady(t, unchangedExport)
		dir := c.write(t)
		path := filepath.Join(dir, name)
		if err := os.Truncate(path, most+1); err != nil { // a hole, which takes no room
			t.Fatal(err)
		}
		_, err := Open(dir)
		if err == nil || !strings.HasSuffix(err.Error(), "the most that such a file may have") || fault.KindOf(err) != fault.Usage || fault.Try(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("config.json", MaxConfigBytes)
	f("modules.json", MaxConfigBytes)
	f("1_Pooling/config.json", MaxConfigBytes)
	f("tokenizer.json", MaxTokenizerBytes)
	f("onnx/model.onnx", MaxExportBytes)
}

// TestAPipeIsNotWaitedFor: a folder may hold anything; opening a pipe that nothing writes would
// never end.
func TestAPipeIsNotWaitedFor(t *testing.T) {
	f := func(name string) {
		t.Helper()
		dir := newTiny().write(t)
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir)
		if err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("config.json")
	f("modules.json")
	f("tokenizer.json")
	f("model.safetensors")
}

func TestSizesOfAConfigurationHaveBounds(t *testing.T) {
	f := func(want string, change func(c *tiny)) {
		t.Helper()
		c := newTiny()
		change(c)
		refused(t, want, c)
	}
	f("config.json: num_hidden_layers is missing or out of range (1025)", replacing("config.json", `"num_hidden_layers":2`, `"num_hidden_layers":1025`))
	f("config.json: hidden_size is missing or out of range (65538)", replacing("config.json", `"hidden_size":8`, `"hidden_size":65538`))
	c := newReady(t, unchangedExport)
	replacing("config.json", `"max_position_embeddings":12`, `"max_position_embeddings":0`)(c)
	replacing("sentence_bert_config.json", `"max_seq_length":10`, `"max_seq_length":4611686018427387904`)(c)
	refused(t, "a maximum of 4611686018427387904 tokens is out of range", c)
	c = newReady(t, func(m *onnxpb.ModelProto) {
		m.Graph.Output[0] = valueInfo("last_hidden_state", onnxpb.TensorProto_FLOAT, "b", "s", 1<<40)
	})
	refused(t, "config.json: hidden_size is missing or out of range (1099511627776)", c)
}

// FuzzExport: what the scan lets pass is decoded into no more than it counted, names no other file,
// and holds nothing that is not known.
func FuzzExport(f *testing.F) {
	whole, err := os.ReadFile(filepath.Join("testdata", "checkpoints", "onnx-f16", "onnx", "model.onnx"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	add := func(m *onnxpb.ModelProto) {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	add(ready())
	n := 0
	everyPlace(func(_ string, m *onnxpb.ModelProto, tensor protoreflect.Message) {
		tp := tensor.Interface().(*onnxpb.TensorProto)
		if n++; n%7 == 0 {
			tp.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
		} else {
			tp.Dims, tp.Int32Data, tp.DataLocation = []int64{1}, []int32{7}, onnxpb.TensorProto_DEFAULT.Enum()
		}
		add(m)
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := exportScan{partsLeft: 1 << 16, numbersLeft: 1 << 20}
		begun := s
		if s.message(data, modelKind, 0) != nil {
			return
		}
		var m onnxpb.ModelProto
		if (proto.UnmarshalOptions{RecursionLimit: maxExportDepth}).Unmarshal(data, &m) != nil {
			return
		}
		have := census{}
		have.count(t, m.ProtoReflect())
		if parts := begun.partsLeft - s.partsLeft; have.parts > parts {
			t.Fatalf("%d parts, %d were counted", have.parts, parts)
		}
		if numbers := begun.numbersLeft - s.numbersLeft; have.numbers > numbers {
			t.Fatalf("%d numbers, %d were counted", have.numbers, numbers)
		}
		if m.Graph == nil {
			return
		}
		e, err := describeExport("dir", "name", &m)
		rename(m.Graph)
		if err == nil {
			keep(m.Graph, exportScope+e.output)
		}
	})
}

// census counts what a decoded message holds.
type census struct{ parts, numbers int }

func (c *census) count(t *testing.T, m protoreflect.Message) {
	if tensor, ok := m.Interface().(*onnxpb.TensorProto); ok && (tensor.GetDataLocation() != onnxpb.TensorProto_DEFAULT || len(tensor.ExternalData) > 0) {
		t.Fatal("a tensor is in another file")
	}
	for unknown := m.GetUnknown(); len(unknown) > 0; { // numbers that an enumeration has not are kept there
		number, _, n := protowire.ConsumeField(unknown)
		if n < 0 {
			t.Fatalf("of %s passed what is no field: %v", m.Descriptor().Name(), protowire.ParseError(n))
		}
		if field := m.Descriptor().Fields().ByNumber(number); field == nil || field.Kind() != protoreflect.EnumKind {
			t.Fatalf("field %d of %s passed: %v", number, m.Descriptor().Name(), field)
		}
		unknown = unknown[n:]
	}
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch kind := field.Kind(); {
		case kind == protoreflect.MessageKind && field.IsList():
			for i := range v.List().Len() {
				c.parts++
				c.count(t, v.List().Get(i).Message())
			}
		case kind == protoreflect.MessageKind:
			c.parts++
			c.count(t, v.Message())
		case kind == protoreflect.StringKind || kind == protoreflect.BytesKind:
			if c.parts++; field.IsList() {
				c.parts += v.List().Len() - 1
			}
		case field.IsList() && kind != protoreflect.FloatKind && kind != protoreflect.DoubleKind:
			c.numbers += v.List().Len()
		}
		return true
	})
}
