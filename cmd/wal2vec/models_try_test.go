package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// onlyMatch returns the one file that a pattern has below a folder.
func onlyMatch(t *testing.T, folder string, pattern ...string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(append([]string{folder}, pattern...)...))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	return found[0]
}

// endsItsProcess has an export infer a negative size before a Slice, of which the runtime's own
// assertion makes an end.
func endsItsProcess(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var model onnxpb.ModelProto
	if err := proto.Unmarshal(data, &model); err != nil {
		t.Fatal(err)
	}
	g := model.Graph
	output := g.Output[0].GetName()
	for _, node := range g.Node {
		for i, name := range node.Output {
			if name == output {
				node.Output[i] = "inner"
			}
		}
		for i, name := range node.Input {
			if name == output {
				node.Input[i] = "inner"
			}
		}
	}
	constant := func(name string, element onnxpb.TensorProto_DataType, count int64, raw ...byte) {
		g.Initializer = append(g.Initializer, &onnxpb.TensorProto{Name: new(name), Dims: []int64{count}, DataType: new(int32(element)), RawData: raw})
	}
	number := func(name string, v, rest byte) {
		constant(name, onnxpb.TensorProto_INT64, 1, v, rest, rest, rest, rest, rest, rest, rest)
	}
	constant("four", onnxpb.TensorProto_FLOAT, 4, make([]byte, 4*4)...)
	number("minus one", 0xff, 0xff)
	number("begin", 0, 0)
	number("end", 1, 0)
	node := func(kind, output string, inputs ...string) {
		g.Node = append(g.Node, &onnxpb.NodeProto{OpType: new(kind), Input: inputs, Output: []string{output}})
	}
	node("TopK", "most", "four", "minus one")
	g.Node[len(g.Node)-1].Output = []string{"most", "places"}
	node("Reshape", "flat", "most", "minus one")
	node("Slice", "first", "flat", "begin", "end")
	node("Add", output, "inner", "first")
	if data, err = proto.Marshal(&model); err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnExportThatEndsItsProcessIsRefused: ONNX Runtime ends a process on sizes that no exporter
// writes. One line, an exit code and an advice come of it, in each command that opens a model, and
// every time.
func TestAnExportThatEndsItsProcessIsRefused(t *testing.T) {
	t.Parallel()
	w, folder := newModelsProgram(t, "onnx-opset17")
	endsItsProcess(t, filepath.Join(folder, "onnx-opset17", "onnx", "model.onnx"))
	for _, args := range [][]string{{"encode", "--model", "onnx-opset17"}, {"models", "check", "onnx-opset17"}, {"encode", "--model", "onnx-opset17"}} {
		got := w.ends(nil, "a text\n", args...)
		if got.code != 7 || got.stdout != "" || strings.Count(got.stderr, "\n") != 2 || !strings.Contains(got.stderr, "\ntry: ") ||
			!strings.HasPrefix(got.stderr, "error: the ONNX export ") || !strings.Contains(got.stderr, "onnx-opset17 ends the process that opens it") {
			t.Errorf("%q: exit code %d\n%s%s", args, got.code, got.stdout, got.stderr)
		}
	}
	if marks, err := filepath.Glob(filepath.Join(folder, "..", "graphs", "*", "*", "tried-*")); err != nil || len(marks) != 0 {
		t.Errorf("it is marked as one that passed: %v, %v", marks, err)
	}
}

// TestAnExportIsTriedOnce: what passed has a mark that no other account can make, and one that does
// not open has none.
func TestAnExportIsTriedOnce(t *testing.T) {
	t.Parallel()
	w, folder := newModelsProgram(t, "onnx-opset17", "bert-mean")
	graphs := filepath.Join(folder, "..", "..", "graphs")
	w.env = append(w.env, "WAL2VEC_CACHE="+filepath.Dir(graphs))
	encode := func(model string) os.FileInfo {
		t.Helper()
		if got := w.ends(nil, "a text\n", "encode", "--model", model); got.code != 0 || got.stderr != "" {
			t.Fatalf("exit code %d: %s", got.code, got.stderr)
		}
		marks, err := filepath.Glob(filepath.Join(graphs, "*", "*", "tried-*"))
		if err != nil || len(marks) > 1 {
			t.Fatalf("%v, %v", marks, err)
		}
		if len(marks) == 0 {
			return nil
		}
		info, err := os.Stat(marks[0])
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if mark := encode("bert-mean"); mark != nil {
		t.Error("a graph that wal2vec wrote was tried")
	}
	first, second := encode("onnx-opset17"), encode("onnx-opset17")
	if first == nil || !os.SameFile(first, second) {
		t.Errorf("tried twice, or never: %v, %v", first, second)
	}
	path := onlyMatch(t, graphs, "*", "*", "tried-*")
	// As one that another account could have made, which can come there.
	if err := errors.Join(os.Chmod(path, 0o666), os.Chmod(filepath.Dir(t.TempDir()), 0o755)); err != nil {
		t.Fatal(err)
	}
	if third := encode("onnx-opset17"); os.SameFile(second, third) || third.Mode().Perm() != 0o644 {
		t.Errorf("a mark that any account may write is believed: %v", third.Mode())
	}
}
