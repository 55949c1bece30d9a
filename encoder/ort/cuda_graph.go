package ort

import (
	"cmp"
	"errors"
	"fmt"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/wal2vec/wal2vec/models"
)

// cudaGraph runs a packed graph on one GPU, on threads of its own. The runtime makes a stream with
// handles of cuBLAS and cuDNN for every thread that comes by, and keeps them; with the many threads
// that goroutines run on, those took the GPU's last gigabyte where other programs had the rest, and
// then every run failed, however small.
type cudaGraph struct {
	session *onnx.DynamicAdvancedSession
	// dimension is the length of a vector, vocabulary the number of token ids, and maxTokens the
	// longest text.
	dimension, vocabulary, maxTokens int
	// runTokens is the size of the runs that fit the GPU's memory.
	runTokens int

	threads *threads
}

// cudaThreads are as many as runs come at a time: cudaInFlight of a batch, and the same number of
// queries.
const cudaThreads = 2 * cudaInFlight

func newCUDAGraph(session *onnx.DynamicAdvancedSession, at place, m models.Manifest) *cudaGraph {
	return &cudaGraph{
		session: session, dimension: m.Dimension, vocabulary: m.Vocabulary, maxTokens: m.MaxTokens, runTokens: fittingTokens(at.left, m),
		threads: newThreads(cudaThreads),
	}
}

func (g *cudaGraph) close() error {
	g.threads.close()
	return g.session.Destroy()
}

func (g *cudaGraph) run(ids, starts []int32, out []float32) error {
	if err := g.check(ids, starts); err != nil {
		return fmt.Errorf("running the model: %w", err)
	}
	return g.threads.do(func() error { return g.runHere(ids, starts, out) })
}

// runHere runs on the calling thread.
func (g *cudaGraph) runHere(ids, starts []int32, out []float32) error {
	positions := make([]int32, len(ids))
	grid := []int64{int64(len(starts) - 1), int64(number(starts, positions))}
	f := feed{}
	defer f.release()
	input(&f, ids, 1, int64(len(ids)))
	input(&f, starts, int64(len(starts)))
	input(&f, positions, 1, int64(len(ids)))
	input(&f, grid, 2)
	f.output(out, grid[0], int64(g.dimension))
	return f.run(g.session)
}

// cudaInputs are the inputs of run, in its order.
func cudaInputs() []string {
	return []string{models.InputIDs, models.InputStarts, models.InputPositions, models.InputGrid}
}

// check refuses what would make a kernel read beyond a table: unlike the CPU, the GPU does not
// look.
func (g *cudaGraph) check(ids, starts []int32) error {
	for i, start := range starts[1:] {
		if tokens := int(start) - int(starts[i]); tokens < 1 || tokens > g.maxTokens {
			return fmt.Errorf("a text has %d tokens; the model takes 1 to %d", tokens, g.maxTokens)
		}
	}
	for _, id := range ids {
		if uint32(id) >= uint32(g.vocabulary) {
			return fmt.Errorf("the token id %d is outside of the vocabulary of %d", id, g.vocabulary)
		}
	}
	return nil
}

// number writes each token's position in its text, and returns the tokens of the longest text.
func number(starts, positions []int32) (longest int) {
	for i, end := range starts[1:] {
		text := positions[starts[i]:end]
		for at := range text {
			text[at] = int32(at)
		}
		longest = max(longest, len(text))
	}
	return longest
}

// warm makes all that runs share, before the first texts wait for it. First as many small runs as
// there are threads, so that each has its stream and handles. Then the largest runs: the arena has
// the memory that it keeps, in one piece for each tensor. Where that is too much for the GPU no
// harm is done, because the encoder makes runs smaller where memory runs out.
func (g *cudaGraph) warm() error {
	if err := g.together(cudaThreads, 1); err != nil {
		return err
	}
	err := g.together(cudaInFlight, max(1, g.runTokens/g.maxTokens))
	if run, ok := errors.AsType[*runError](err); ok && run.OutOfMemory() {
		return nil
	}
	return err
}

// together runs a number of runs at a time, of so many of the longest texts each.
func (g *cudaGraph) together(runs, texts int) error {
	starts := make([]int32, texts+1)
	for i := range starts {
		starts[i] = int32(i * g.maxTokens)
	}
	ids := make([]int32, texts*g.maxTokens)
	errs := make([]error, runs)
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() { errs[i] = g.run(ids, starts, make([]float32, texts*g.dimension)) })
	}
	wait.Wait()
	return cmp.Or(errs...)
}
