package models

import (
	"slices"
	"testing"

	"github.com/wal2vec/wal2vec/models/onnxpb"
)

// lastNodes are the kinds of the nodes behind the last layer.
func lastNodes(g *graph) []string {
	var kinds []string
	for _, n := range g.nodes {
		if n.GetOpType() == "LayerNormalization" {
			kinds = nil
			continue
		}
		kinds = append(kinds, n.GetOpType())
	}
	return kinds
}

func TestGraphsOfStandardOperatorsFollowTheTail(t *testing.T) {
	f := func(tail tail, want ...string) {
		t.Helper()
		for _, g := range []*graph{&newBERT(tinyArchitecture, tail, nil).graph, newInt8(tinyArchitecture, tail, nil)} {
			if got := lastNodes(g); !slices.Equal(got, append([]string{"Reshape"}, want...)) {
				t.Errorf("%v: %v", tail, got)
			}
			if last := g.nodes[len(g.nodes)-1]; !slices.Equal(last.Output, []string{OutputEmbedding}) {
				t.Errorf("%v: the last node writes %v", tail, last.Output)
			}
		}
	}
	f(tail{pooling: PoolingMean, normalised: true}, "ReduceMean", "ReduceL2", "Max", "Div")
	f(tail{pooling: PoolingMean}, "ReduceMean", "Identity")
	f(tail{pooling: PoolingCLS, normalised: true}, "Gather", "ReduceL2", "Max", "Div")
	f(tail{pooling: PoolingCLS}, "Gather", "Identity")
}

func TestTheOperatorsFollowTheTail(t *testing.T) {
	f := func(tail tail, normalise, first int64) {
		t.Helper()
		g := newVNNI(tinyArchitecture, tail, nil)
		last := g.nodes[len(g.nodes)-1]
		value := func(name string) int64 {
			at := slices.IndexFunc(last.Attribute, func(a *onnxpb.AttributeProto) bool { return a.GetName() == name })
			return last.Attribute[at].GetI()
		}
		if last.GetOpType() != "Pool" || value("normalise") != normalise || value("first") != first {
			t.Errorf("%v: %v", tail, last)
		}
	}
	f(tail{pooling: PoolingMean, normalised: true}, 1, 0)
	f(tail{pooling: PoolingMean}, 0, 0)
	f(tail{pooling: PoolingCLS, normalised: true}, 1, 1)
	f(tail{pooling: PoolingCLS}, 0, 1)
}
