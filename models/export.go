package models

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// The names of a ready export's inputs and outputs, as optimum and sentence-transformers write
// them.
const (
	attentionMask = "attention_mask"
	tokenTypes    = "token_type_ids" //nolint:gosec // G101: a tokenizer is no credential
)

// tokenOutputs are the vectors of the tokens, [rows, tokens, dimension]; OutputEmbedding is that of
// the text, [rows, dimension].
var tokenOutputs = []string{"last_hidden_state", "token_embeddings"}

// minExportOpset is the oldest operator set of an export: the tail's operators are the same from
// there to the newest.
const minExportOpset = 11

// export is what a ready ONNX export says about itself.
type export struct {
	// inputs are the names of its inputs, each int64 or int32 [rows, tokens].
	inputs []exportInput
	// output is the name of the output that is taken, half whether it is in a 16-bit format.
	output string
	half   bool
	// dimension is that of the output; 0 where the export leaves it open.
	dimension int
	opset     int
}

type exportInput struct {
	name    string
	element onnxpb.TensorProto_DataType
}

// openExport reads a checkpoint that is a ready ONNX export.
func (c *Checkpoint) openExport(name string) error {
	c.weights = []string{name}
	data, sum, err := c.readExport()
	if err != nil {
		return err
	}
	c.sources[name] = sum
	m, err := parseExport(c.dir, name, data)
	if err != nil {
		return err
	}
	if c.export, err = describeExport(c.dir, name, m); err != nil {
		return err
	}
	if c.export.output == OutputEmbedding {
		c.tail.pooling = PoolingInside
		c.tail.normalised, err = normalisesLast(c.files)
	} else {
		c.tail, err = readTail(c.files)
	}
	if err != nil {
		return err
	}
	return c.readExportConfig()
}

// readExport reads the ONNX file, which has less than 2 GiB, and returns its sum in hex too.
func (c *Checkpoint) readExport() (data []byte, sum string, err error) {
	name := c.weights[0]
	data, err = ReadFile(filepath.Join(c.dir, filepath.FromSlash(name)), MaxExportBytes)
	if err != nil {
		return nil, "", fmt.Errorf("reading %s of the model: %w", name, err)
	}
	h, first := newWeightsSum(int64(len(data)))
	h.Write(data[:min(first, int64(len(data)))])
	return data, hex.EncodeToString(h.Sum(nil)), nil
}

// parseExport parses an ONNX file, which names no other file.
func parseExport(dir, name string, data []byte) (m *onnxpb.ModelProto, err error) {
	m = &onnxpb.ModelProto{}
	if err = scanExport(data); err == nil {
		err = proto.UnmarshalOptions{RecursionLimit: maxExportDepth}.Unmarshal(data, m)
	} else if !errors.Is(err, errNoExport) {
		return nil, unsupported(dir, "%s: %v", name, err)
	}
	if err != nil || m.Graph == nil {
		return nil, unsupported(dir, "%s is not an ONNX model", name)
	}
	return m, nil
}

// describeExport checks that the graph takes what a text gives and returns what a text needs.
func describeExport(dir, name string, m *onnxpb.ModelProto) (*export, error) {
	refuse := func(what string, args ...any) (*export, error) {
		return nil, unsupported(dir, "%s: "+what, append([]any{name}, args...)...)
	}
	e := &export{}
	for _, set := range m.OpsetImport {
		if set.GetDomain() == "" || set.GetDomain() == "ai.onnx" {
			e.opset = int(set.GetVersion())
		}
	}
	if e.opset < minExportOpset {
		return refuse("operator set %d is too old (%d or later is supported)", e.opset, minExportOpset)
	}
	constants := map[string]bool{}
	for _, t := range m.Graph.Initializer {
		constants[t.GetName()] = true
	}
	for _, in := range m.Graph.Input {
		if constants[in.GetName()] { // an old file lists its constants among its inputs
			continue
		}
		input, err := describeInput(in)
		if err != nil {
			return refuse("%v", err)
		}
		e.inputs = append(e.inputs, input)
	}
	if !slices.ContainsFunc(e.inputs, func(in exportInput) bool { return in.name == InputIDs }) {
		return refuse("there is no input %s", InputIDs)
	}
	if err := e.describeOutput(m.Graph.Output); err != nil {
		return refuse("%v", err)
	}
	return e, nil
}

func describeInput(in *onnxpb.ValueInfoProto) (exportInput, error) {
	tensor := in.GetType().GetTensorType()
	input := exportInput{name: in.GetName(), element: onnxpb.TensorProto_DataType(tensor.GetElemType())}
	switch input.name {
	case InputIDs, attentionMask, tokenTypes:
	default:
		return input, fmt.Errorf("input %q is not supported (%s, %s and %s are)", input.name, InputIDs, attentionMask, tokenTypes)
	}
	if input.element != onnxpb.TensorProto_INT64 && input.element != onnxpb.TensorProto_INT32 {
		return input, fmt.Errorf("input %s is of type %s, not INT64 or INT32", input.name, input.element)
	}
	if tensor.Shape == nil {
		return input, nil
	}
	dims := tensor.Shape.Dim
	if len(dims) != 2 {
		return input, fmt.Errorf("input %s has %d dimensions, not 2", input.name, len(dims))
	}
	for _, d := range dims {
		if n, fixed := d.Value.(*onnxpb.TensorShapeProto_Dimension_DimValue); fixed {
			return input, fmt.Errorf("input %s is fixed to the length %d; export it with dynamic axes", input.name, n.DimValue)
		}
	}
	return input, nil
}

// describeOutput takes the vector of the text where there is one, else the vectors of the tokens.
func (e *export) describeOutput(outputs []*onnxpb.ValueInfoProto) error {
	var names []string
	byName := map[string]*onnxpb.ValueInfoProto{}
	for _, out := range outputs {
		names = append(names, out.GetName())
		byName[out.GetName()] = out
	}
	wanted := append([]string{OutputEmbedding}, tokenOutputs...)
	at := slices.IndexFunc(wanted, func(name string) bool { return byName[name] != nil })
	if at < 0 {
		return fmt.Errorf("no output is %s (there is %s)", strings.Join(wanted, ", "), strings.Join(names, ", "))
	}
	e.output = wanted[at]
	tensor := byName[e.output].GetType().GetTensorType()
	switch element := onnxpb.TensorProto_DataType(tensor.GetElemType()); element {
	case onnxpb.TensorProto_FLOAT:
	case onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16:
		e.half = true
	default:
		return fmt.Errorf("output %s is of type %s, not FLOAT", e.output, element)
	}
	if tensor.Shape == nil {
		return nil
	}
	dims, rank := tensor.Shape.Dim, 3
	if e.output == OutputEmbedding {
		rank = 2
	}
	if len(dims) != rank {
		return fmt.Errorf("output %s has %d dimensions, not %d", e.output, len(dims), rank)
	}
	e.dimension = int(dims[rank-1].GetDimValue())
	return nil
}

// offsetPositions are the model types that count positions from behind the padding's token id.
var offsetPositions = []string{"roberta", "xlm-roberta", "camembert", "mpnet"}

// readExportConfig reads the sizes that the export's file does not tell.
func (c *Checkpoint) readExportConfig() error {
	var config struct {
		ModelType      string `json:"model_type"`
		HiddenSize     int    `json:"hidden_size"`
		Dim            int    `json:"dim"` // DistilBERT's word for it
		VocabularySize int    `json:"vocab_size"`
		MaxPositions   int    `json:"max_position_embeddings"`
		Pad            *int   `json:"pad_token_id"`
	}
	if _, err := readJSON(c.files, configFile, &config); err != nil {
		return err
	}
	c.vocabulary = config.VocabularySize
	if err := c.findDimension(max(config.HiddenSize, config.Dim)); err != nil {
		return err
	}
	for _, f := range []struct {
		name        string
		value, most int
	}{{"vocab_size", c.vocabulary, maxSize}, {"hidden_size", c.dimension, maxDimension}} {
		if f.value < 1 || f.value > f.most {
			return unsupported(c.dir, "%s: %s is missing or out of range (%d)", configFile, f.name, f.value)
		}
	}
	positions := config.MaxPositions
	if positions < 0 || positions > maxSize {
		return unsupported(c.dir, "%s: max_position_embeddings is out of range (%d)", configFile, positions)
	}
	if positions > 0 && slices.Contains(offsetPositions, config.ModelType) {
		pad := 1
		if config.Pad != nil {
			pad = *config.Pad
		}
		positions = max(1, positions-pad-1)
	}
	var err error
	c.maxTokens, err = readMaxTokens(c.files, positions)
	return err
}

// findDimension takes the dimension from the export's output, which may leave it open; then it is
// that of the last Dense, as an export that pools may hold some, else hiddenSize. A wrong one is
// found out where the graph first runs.
func (c *Checkpoint) findDimension(hiddenSize int) error {
	if c.dimension = c.export.dimension; c.dimension != 0 {
		return nil
	}
	c.dimension = hiddenSize
	modules, _, err := readModules(c.files)
	if err != nil {
		return err
	}
	for _, m := range modules {
		var dense struct {
			Out int `json:"out_features"`
		}
		if m.kind() != "Dense" {
			continue
		}
		if _, err := readJSON(c.files, path.Join(m.Path, configFile), &dense); err != nil {
			return err
		}
		c.dimension = dense.Out
	}
	return nil
}
