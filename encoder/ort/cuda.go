package ort

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/wal2vec/wal2vec/models"
)

// What one GPU is given at a time. Measured on an H200 in millions of tokens a second, by tokens of a run and runs in flight:
//
//	tokens     1      2      3      4
//	16,384    8.5   10.5   10.4   10.4
//	32,768    9.7   10.4   10.8   10.8
//	65,536   10.5   10.6   11.1   10.9
//	98,304   10.6   10.8   10.9   10.8
//
// Several sessions on one GPU gain nothing. A run of any size takes 0.6 ms, so that runs below 4,096 tokens (0.9 ms) are not made to
// keep more of them in flight. Three runs of 65,536 tokens take about 2.5 GB of the GPU's memory.
const (
	cudaInFlight     = 3
	cudaRunTokens    = 65_536
	cudaRunRows      = 16_384
	cudaMinRunTokens = 4_096
)

// Limits are the sizes and the number of runs that suit a device; zeros leave the choice to the encoder.
type Limits struct {
	// InFlight is the number of runs at a time on a device of its own; 0 where a run computes on its caller's thread.
	InFlight     int
	RunTokens    int
	RunRows      int
	MinRunTokens int
}

// Limits says what runs suit the session's device.
func (s *Session) Limits() Limits {
	if s.target.Device != models.DeviceCUDA {
		return Limits{}
	}
	return Limits{
		InFlight: cudaInFlight * len(s.spread.engines), RunTokens: cudaRunTokens, RunRows: cudaRunRows, MinRunTokens: cudaMinRunTokens,
	}
}

// cudaOptions are the provider's settings for a GPU.
func cudaOptions(gpu int) map[string]string {
	return map[string]string{
		"device_id": strconv.Itoa(gpu),
		// Runs have hundreds of shapes; doubling the arena for each would take all of the GPU's memory.
		"arena_extend_strategy": "kSameAsRequested",
		// TF32 keeps 10 bits of the fraction, too few for guarantee 4.
		"use_tf32": "0",
		// The attention of CUTLASS: see models for its gain. The forms that other numbers choose take padded texts, and would give
		// wrong vectors.
		"sdpa_kernel": "2",
	}
}

// withCUDA calls do with the provider's settings for a GPU.
func withCUDA(gpu int, do func(*onnx.CUDAProviderOptions) error) error {
	cuda, err := onnx.NewCUDAProviderOptions()
	if err != nil {
		return fmt.Errorf("asking for CUDA: %w", err)
	}
	defer cuda.Destroy()
	if err := cuda.Update(cudaOptions(gpu)); err != nil {
		return fmt.Errorf("setting CUDA's options: %w", err)
	}
	return do(cuda)
}

func appendCUDA(options *onnx.SessionOptions, gpu int) error {
	return withCUDA(gpu, options.AppendExecutionProviderCUDA)
}

// maxGPUs bounds the search for GPUs; no host has that many.
const maxGPUs = 64

// gpus returns the numbers of the GPUs, of those that CUDA_VISIBLE_DEVICES leaves. The runtime refuses a number that no GPU has, which
// is the only way it offers to count them. An error says why there is none.
func gpus() ([]int, error) {
	return countGPUs(func(gpu int) error {
		return withCUDA(gpu, func(*onnx.CUDAProviderOptions) error { return nil })
	})
}

func countGPUs(there func(gpu int) error) ([]int, error) {
	var found []int
	for gpu := range maxGPUs {
		if err := there(gpu); err != nil {
			if gpu == 0 {
				return nil, err
			}
			break
		}
		found = append(found, gpu)
	}
	return found, nil
}

// cudaGraph runs a packed graph on one GPU.
type cudaGraph struct {
	session *onnx.DynamicAdvancedSession
	// dimension is the length of a vector, vocabulary the number of token ids, and maxTokens the longest text.
	dimension, vocabulary, maxTokens int
}

func (g *cudaGraph) close() error { return g.session.Destroy() }

func (g *cudaGraph) run(ids, starts []int32, out []float32) error {
	if err := g.check(ids, starts); err != nil {
		return fmt.Errorf("running the model: %w", err)
	}
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

// check refuses what would make a kernel read beyond a table: unlike the CPU, the GPU does not look.
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

// warm runs the largest runs that the engine will see, all at a time: the arena then has the memory that it keeps, in one piece for each
// tensor, and the first texts do not wait for kernels to load. Memory that is too small shows here without harm, because the encoder
// makes runs smaller where it runs out.
func (g *cudaGraph) warm() error {
	text := min(g.maxTokens, cudaRunTokens)
	rows := cudaRunTokens / text
	starts := make([]int32, rows+1)
	for i := range starts {
		starts[i] = int32(i * text)
	}
	ids := make([]int32, rows*text)
	errs := make([]error, cudaInFlight)
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() { errs[i] = g.run(ids, starts, make([]float32, rows*g.dimension)) })
	}
	wait.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool {
		run, ok := errors.AsType[*runError](err)
		return err == nil || ok && run.OutOfMemory()
	})
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}
