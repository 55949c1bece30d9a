package ort

import (
	"fmt"
	"strconv"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/wal2vec/wal2vec/models"
)

// What one GPU is given at a time. Measured on an H200 in millions of tokens a second, by tokens of
// a run and runs in flight:
//
//	tokens     1      2      3      4
//	16,384    8.5   10.5   10.4   10.4
//	32,768    9.7   10.4   10.8   10.8
//	65,536   10.5   10.6   11.1   10.9
//	98,304   10.6   10.8   10.9   10.8
//
// Several sessions on one GPU gain nothing. A run of any size takes 0.6 ms, so that runs below
// 4,096 tokens (0.9 ms) are not made to keep more of them in flight. With runs of 65,536 tokens the
// process takes 3.5 GB of the GPU's memory.
const (
	cudaInFlight     = 3
	cudaRunTokens    = 65_536
	cudaRunRows      = 16_384
	cudaMinRunTokens = 4_096
)

// Limits are the sizes and the number of runs that suit a device; zeros leave the choice to the
// encoder.
type Limits struct {
	// InFlight is the number of runs at a time on a device of its own; 0 where a run computes on
	// its caller's thread.
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
	l := Limits{
		InFlight: cudaInFlight * len(s.spread.engines), RunTokens: cudaRunTokens, RunRows: cudaRunRows, MinRunTokens: cudaMinRunTokens,
	}
	for _, e := range s.spread.engines {
		if g, ok := e.(*cudaGraph); ok {
			l.RunTokens = min(l.RunTokens, g.runTokens)
		}
	}
	return l
}

// cudaOptions are the provider's settings for a GPU of which so many bytes are free; 0 says that
// they are not known.
func cudaOptions(gpu int, left int64) map[string]string {
	options := map[string]string{
		"device_id": strconv.Itoa(gpu),
		// Runs have hundreds of shapes; doubling the arena for each would take all of the GPU's
		// memory.
		"arena_extend_strategy": "kSameAsRequested",
		// TF32 keeps 10 bits of the fraction, too few for guarantee 4.
		"use_tf32": "0",
		// The attention of CUTLASS: see models for its gain. The forms that other numbers choose
		// take padded texts, and would give wrong vectors.
		"sdpa_kernel": "2",
	}
	if left > 0 {
		options["gpu_mem_limit"] = strconv.FormatInt(arenaLimit(left), 10)
	}
	return options
}

// withCUDA calls do with the provider's settings for a GPU.
func withCUDA(gpu int, left int64, do func(*onnx.CUDAProviderOptions) error) error {
	cuda, err := onnx.NewCUDAProviderOptions()
	if err != nil {
		return fmt.Errorf("asking for CUDA: %w", err)
	}
	defer cuda.Destroy()
	if err := cuda.Update(cudaOptions(gpu, left)); err != nil {
		return fmt.Errorf("setting CUDA's options: %w", err)
	}
	return do(cuda)
}

func appendCUDA(options *onnx.SessionOptions, at place) error {
	return withCUDA(at.gpu, at.left, options.AppendExecutionProviderCUDA)
}

// maxGPUs bounds the search for GPUs; no host has that many.
const maxGPUs = 64

// place is where a session runs: the number of a GPU, and its free bytes, or 0 where they are not
// known.
type place struct {
	gpu  int
	left int64
}

// gpus returns the GPUs, of those that CUDA_VISIBLE_DEVICES leaves. The runtime refuses a number
// that no GPU has, which is the only way it offers to count them. An error says why there is none.
func gpus() ([]place, error) {
	n, err := countGPUs(there)
	places := make([]place, n)
	for gpu := range places {
		places[gpu] = place{gpu: gpu, left: freeMemory(gpu)}
	}
	return places, err
}

func countGPUs(there func(gpu int) error) (int, error) {
	for gpu := range maxGPUs {
		if err := there(gpu); err != nil {
			if gpu == 0 {
				return 0, err
			}
			return gpu, nil
		}
	}
	return maxGPUs, nil
}

// there says why there is no GPU of a number.
func there(gpu int) error {
	return withCUDA(gpu, 0, func(*onnx.CUDAProviderOptions) error { return nil })
}
