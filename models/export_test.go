package models

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// ready is an export small enough to read: an embedding table, and a branch that only its second
// output needs.
func ready() *onnxpb.ModelProto {
	node := func(name, kind string, inputs []string, output string, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
		return &onnxpb.NodeProto{Name: new(name), OpType: new(kind), Input: inputs, Output: []string{output}, Attribute: attributes}
	}
	table := &onnxpb.TensorProto{
		Name: new("table"), Dims: []int64{20, 8}, DataType: new(int32(onnxpb.TensorProto_FLOAT)), RawData: make([]byte, 4*20*8),
	}
	unused := &onnxpb.TensorProto{Name: new("unused"), Dims: []int64{1}, DataType: new(int32(onnxpb.TensorProto_FLOAT)), RawData: make([]byte, 4)}
	then := &onnxpb.GraphProto{
		Name: new("then"), Node: []*onnxpb.NodeProto{node("inside", "Identity", []string{"looked_up"}, "chosen")},
		Output: []*onnxpb.ValueInfoProto{valueInfo("chosen", onnxpb.TensorProto_FLOAT, "b", "s", 8)},
	}
	otherwise := &onnxpb.GraphProto{ // has a value from outside as it is
		Name: new("otherwise"), Output: []*onnxpb.ValueInfoProto{valueInfo("fallback", onnxpb.TensorProto_FLOAT, "b", "s", 8)},
	}
	g := &onnxpb.GraphProto{
		Name: new("main"),
		Node: []*onnxpb.NodeProto{
			node("n0", "Gather", []string{"table", InputIDs}, "looked_up"),
			node("n5", "Neg", []string{"looked_up"}, "fallback"),
			node("n1", "Cast", []string{attentionMask}, "mask", intAttribute("to", int(onnxpb.TensorProto_BOOL))),
			node("n2", "ReduceMin", []string{"mask_number"}, "least"),
			node("n3", "Add", []string{"looked_up", "unused"}, "pooler_output"),
			node("n4", "If", []string{"mask"}, "last_hidden_state", &onnxpb.AttributeProto{
				Name: new("then_branch"), Type: onnxpb.AttributeProto_GRAPH.Enum(), G: then,
			}, &onnxpb.AttributeProto{Name: new("else_branch"), Type: onnxpb.AttributeProto_GRAPH.Enum(), G: otherwise}),
		},
		Initializer: []*onnxpb.TensorProto{table, unused},
		Input: []*onnxpb.ValueInfoProto{
			valueInfo(InputIDs, onnxpb.TensorProto_INT64, "b", "s"), valueInfo(attentionMask, onnxpb.TensorProto_INT64, "b", "s"),
		},
		Output: []*onnxpb.ValueInfoProto{
			valueInfo("last_hidden_state", onnxpb.TensorProto_FLOAT, "b", "s", 8), valueInfo("pooler_output", onnxpb.TensorProto_FLOAT, "b", 8),
		},
	}
	return &onnxpb.ModelProto{
		IrVersion: new(int64(8)), Graph: g, OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: new(""), Version: new(int64(17))}},
	}
}

// newReady is a tiny checkpoint that has a ready export instead of weights.
func newReady(t *testing.T, change func(m *onnxpb.ModelProto)) *tiny {
	t.Helper()
	m := ready()
	change(m)
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	c := newTiny()
	c.weights = nil
	c.files["onnx/model.onnx"] = string(data)
	return c
}

func unchangedExport(*onnxpb.ModelProto) {}

func TestOpenRefusesExportsThatItDoesNotKnow(t *testing.T) {
	f := func(want string, change func(m *onnxpb.ModelProto)) {
		t.Helper()
		refused(t, "onnx/model.onnx: "+want, newReady(t, change))
	}
	input := func(at int, v *onnxpb.ValueInfoProto) func(*onnxpb.ModelProto) {
		return func(m *onnxpb.ModelProto) { m.Graph.Input[at] = v }
	}
	output := func(v ...*onnxpb.ValueInfoProto) func(*onnxpb.ModelProto) {
		return func(m *onnxpb.ModelProto) { m.Graph.Output = v }
	}
	f("operator set 10 is too old (11 or later is supported)", func(m *onnxpb.ModelProto) { m.OpsetImport[0].Version = new(int64(10)) })
	f("weights in a file beside it (model.onnx_data) are not supported; export it as one file", func(m *onnxpb.ModelProto) {
		m.Graph.Initializer[0].DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
	})
	f(`input "position_ids" is not supported (input_ids, attention_mask and token_type_ids are)`,
		input(1, valueInfo("position_ids", onnxpb.TensorProto_INT64, "b", "s")))
	f("input input_ids is of type FLOAT, not INT64 or INT32", input(0, valueInfo(InputIDs, onnxpb.TensorProto_FLOAT, "b", "s")))
	f("input input_ids has 1 dimensions, not 2", input(0, valueInfo(InputIDs, onnxpb.TensorProto_INT64, "b")))
	f("input input_ids is fixed to the length 128; export it with dynamic axes", input(0, valueInfo(InputIDs, onnxpb.TensorProto_INT64, "b", 128)))
	f("there is no input input_ids", func(m *onnxpb.ModelProto) { m.Graph.Input = m.Graph.Input[1:] })
	f("no output is sentence_embedding, last_hidden_state, token_embeddings (there is logits)",
		output(valueInfo("logits", onnxpb.TensorProto_FLOAT, "b", 2)))
	f("output last_hidden_state is of type INT8, not FLOAT", output(valueInfo("last_hidden_state", onnxpb.TensorProto_INT8, "b", "s", 8)))
	f("output last_hidden_state has 2 dimensions, not 3", output(valueInfo("last_hidden_state", onnxpb.TensorProto_FLOAT, "b", 8)))
	f("output sentence_embedding has 3 dimensions, not 2", output(valueInfo(OutputEmbedding, onnxpb.TensorProto_FLOAT, "b", "s", 8)))
}

func TestOpenRefusesTheFolderOfAnExport(t *testing.T) {
	f := func(want string, change func(c *tiny)) {
		t.Helper()
		c := newReady(t, unchangedExport)
		change(c)
		refused(t, want, c)
	}
	f("onnx/model.onnx is not an ONNX model", adding("onnx/model.onnx", "version https://git-lfs.github.com/spec/v1\n"))
	f("onnx/model.onnx is not an ONNX model", adding("onnx/model.onnx", ""))
	f("modules.json is missing, so its pooling and normalisation are unknown", removing("modules.json"))
	f("tokenizer.json is missing", removing("tokenizer.json"))
	f("config.json: vocab_size is missing or out of range (0)", replacing("config.json", `"vocab_size":20`, `"vocab_size":0`))
	f("config.json: max_position_embeddings is out of range (-5)", replacing("config.json", `"max_position_embeddings":12`, `"max_position_embeddings":-5`))
	f("nothing says how long a text may be (max_seq_length in sentence_bert_config.json, model_max_length in tokenizer_config.json)",
		func(c *tiny) {
			c.files["config.json"] = `{"vocab_size":20,"model_type":"rope"}`
			delete(c.files, "sentence_bert_config.json")
			c.files["tokenizer_config.json"] = `{"model_max_length":1e30}`
		})
	open := newReady(t, func(m *onnxpb.ModelProto) {
		m.Graph.Output[0] = valueInfo("last_hidden_state", onnxpb.TensorProto_FLOAT, "b", "s", "h")
	})
	open.files["config.json"] = `{"vocab_size":20}`
	refused(t, "config.json: hidden_size is missing or out of range (0)", open)
}

func TestOpenReadsAnExport(t *testing.T) {
	f := func(c *tiny, tokens, dimension int, pooling Pooling, normalised bool) {
		t.Helper()
		got, err := Open(c.write(t))
		if err != nil {
			t.Error(err)
			return
		}
		if !got.Export() || got.MaxTokens() != tokens || got.Dimension() != dimension || got.Pooling() != pooling || got.Normalised() != normalised {
			t.Errorf("%d tokens, dimension %d, pooling %s, normalised %v", got.MaxTokens(), got.Dimension(), got.Pooling(), got.Normalised())
		}
	}
	with := func(change func(c *tiny)) *tiny {
		c := newReady(t, unchangedExport)
		change(c)
		return c
	}
	pooled := func(dimension any, change func(c *tiny)) *tiny {
		c := newReady(t, func(m *onnxpb.ModelProto) {
			m.Graph.Output = append(m.Graph.Output, valueInfo(OutputEmbedding, onnxpb.TensorProto_FLOAT, "b", dimension))
		})
		change(c)
		return c
	}
	nothing := func(*tiny) {}
	f(with(nothing), 10, 8, PoolingMean, true)
	f(with(removing("sentence_bert_config.json")), 12, 8, PoolingMean, true)
	f(with(func(c *tiny) { // positions of RoBERTa's kind begin behind the padding's id
		delete(c.files, "sentence_bert_config.json")
		replacing("config.json", `"bert"`, `"xlm-roberta"`)(c)
	}), 10, 8, PoolingMean, true)
	f(with(func(c *tiny) {
		delete(c.files, "sentence_bert_config.json")
		replacing("config.json", `"bert"`, `"mpnet","pad_token_id":3`)(c)
	}), 8, 8, PoolingMean, true)
	f(with(func(c *tiny) { c.files["model.onnx"] = "not read: onnx/model.onnx comes first" }), 10, 8, PoolingMean, true)
	f(with(func(c *tiny) {
		c.files["model.onnx"] = c.files["onnx/model.onnx"]
		delete(c.files, "onnx/model.onnx")
	}), 10, 8, PoolingMean, true)
	f(pooled(5, nothing), 10, 5, PoolingInside, true)
	f(pooled("d", nothing), 10, 8, PoolingInside, true)
	f(pooled("d", removing("modules.json")), 10, 8, PoolingInside, false)
	f(pooled("d", removing("1_Pooling/config.json")), 10, 8, PoolingInside, true)
	f(pooled("d", func(c *tiny) {
		c.files["modules.json"] = `[{"path":"","type":"a.Transformer"},{"path":"1_Pooling","type":"a.Pooling"},{"path":"2_Dense","type":"a.Dense"}]`
		c.files["2_Dense/config.json"] = `{"in_features":8,"out_features":6}`
	}), 10, 6, PoolingInside, false)
}

func TestWeightsComeBeforeAnExportWhereTheirKindIsKnown(t *testing.T) {
	c := newTiny()
	export := newReady(t, unchangedExport)
	c.files["onnx/model.onnx"] = export.files["onnx/model.onnx"]
	got, err := Open(c.write(t))
	if err != nil || got.Export() || got.Fingerprint() != fingerprintOf(t, newTiny()) {
		t.Errorf("bert: %+v, %v", got, err)
	}
	c.files["config.json"] = strings.Replace(c.files["config.json"], `"bert"`, `"deberta"`, 1)
	if got, err = Open(c.write(t)); err != nil || !got.Export() {
		t.Errorf("deberta: %+v, %v", got, err)
	}
}

func TestExportKeepsWhatTheOutputNeeds(t *testing.T) {
	_, g := built(t, newReady(t, unchangedExport), t.TempDir())
	m := parsed(t, g.Path)
	var kinds, constants []string
	for _, n := range m.Graph.Node {
		kinds = append(kinds, n.GetOpType())
	}
	for _, c := range m.Graph.Initializer {
		constants = append(constants, c.GetName())
	}
	want := []string{"Shape", "Cast", "ConstantOfShape", "Gather", "Neg", "Cast", "If", "ReduceMean", "ReduceL2", "Max", "Div"}
	if !slices.Equal(kinds, want) || !slices.Equal(constants, []string{"export.table", "c.0"}) {
		t.Errorf("nodes %v, constants %v", kinds, constants)
	}
	branch := m.Graph.Node[6].Attribute[0].G
	if in := branch.Node[0].Input[0]; in != "export.looked_up" || branch.Output[0].GetName() != "export.chosen" {
		t.Errorf("the inner graph reads %s and writes %s", in, branch.Output[0].GetName())
	}
	if len(m.Graph.Input) != 1 || len(m.Graph.Output) != 1 || m.Graph.Output[0].GetName() != OutputEmbedding || !g.Manifest.Export {
		t.Errorf("%v %v %+v", m.Graph.Input, m.Graph.Output, g.Manifest)
	}
}

func TestTheTailFollowsTheOperatorSet(t *testing.T) {
	for _, version := range []int64{11, 17, 18, 23} {
		_, g := built(t, newReady(t, func(m *onnxpb.ModelProto) { m.OpsetImport[0].Version = new(version) }), t.TempDir())
		for _, n := range parsed(t, g.Path).Graph.Node {
			if !strings.HasPrefix(n.GetOpType(), "Reduce") {
				continue
			}
			asAttribute := slices.ContainsFunc(n.Attribute, func(a *onnxpb.AttributeProto) bool { return a.GetName() == "axes" })
			if asAttribute != (version < 18) || asAttribute == (len(n.Input) == 2) {
				t.Errorf("operator set %d: %v", version, n)
			}
		}
	}
}

func TestTheSameExportGivesTheSameBytesAndADamagedOneIsBuiltAgain(t *testing.T) {
	cache := t.TempDir()
	c, one := built(t, newReady(t, unchangedExport), cache)
	_, two := built(t, newReady(t, unchangedExport), t.TempDir())
	if one.Manifest.GraphSHA256 != two.Manifest.GraphSHA256 || one.Manifest.Fingerprint != two.Manifest.Fingerprint {
		t.Errorf("two builds differ: graphs %s and %s, fingerprints %s and %s",
			one.Manifest.GraphSHA256, two.Manifest.GraphSHA256, one.Manifest.Fingerprint, two.Manifest.Fingerprint)
	}
	data, err := os.ReadFile(one.Path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, one.Path, append(bytes.Clone(data), 0))
	if g, err := Build(t.Context(), c, cache, cpu); err != nil || !g.Built || g.Manifest.GraphSHA256 != one.Manifest.GraphSHA256 {
		t.Errorf("%+v, %v", g, err)
	}
	writeFile(t, filepath.Join(c.dir, "onnx", "model.onnx"), append(data, 0))
	if _, err := Build(t.Context(), c, t.TempDir(), cpu); err == nil {
		t.Error("an export that changed after Open was built")
	}
	_, err = Build(t.Context(), c, t.TempDir(), Target{Device: DeviceCPU, Precision: PrecisionINT8})
	if err == nil || err.Error() != "there is no graph for cpu-int8 of model tiny, which is a ready export" || fault.KindOf(err) != fault.Usage {
		t.Errorf("int8: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(cancelled, c, t.TempDir(), cpu); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFingerprintOfAnExport(t *testing.T) {
	base := fingerprintOf(t, newReady(t, unchangedExport))
	if base == fingerprintOf(t, newReady(t, func(m *onnxpb.ModelProto) { m.Graph.Initializer[0].RawData[5] = 1 })) {
		t.Error("other weights have the same fingerprint")
	}
	raw := newReady(t, unchangedExport)
	raw.files["modules.json"] = `[{"path":"","type":"a.Transformer"},{"path":"1_Pooling","type":"a.Pooling"}]`
	if base == fingerprintOf(t, raw) {
		t.Error("vectors of another length have the same fingerprint")
	}
}
