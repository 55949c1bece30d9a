package ort

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
)

// TestTokensAreNumbered checks the inputs that are made from the starts, for random texts.
func TestTokensAreNumbered(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	for range 200 {
		starts, longest := []int32{0}, 0
		for range 1 + random.IntN(40) {
			n := 1 + random.IntN(60)
			longest = max(longest, n)
			starts = append(starts, starts[len(starts)-1]+int32(n))
		}
		positions := make([]int32, starts[len(starts)-1])
		for i := range positions {
			positions[i] = -1 // none may be left
		}
		if got := number(starts, positions); got != longest {
			t.Fatalf("the longest has %d tokens instead of %d", got, longest)
		}
		for i := range positions {
			text, _ := slices.BinarySearch(starts, int32(i)+1)
			if want := int32(i) - starts[text-1]; positions[i] != want {
				t.Fatalf("starts %v: token %d stands at %d instead of %d", starts, i, positions[i], want)
			}
		}
	}
}

func TestWhatAGPUWouldReadBeyondIsRefused(t *testing.T) {
	g := &cudaGraph{dimension: 4, vocabulary: 10, maxTokens: 3}
	f := func(ids, starts []int32, want string) {
		t.Helper()
		err := g.check(ids, starts)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, %v: %v, want %q", ids, starts, err, want)
		}
	}
	f([]int32{0, 9, 5}, []int32{0, 3}, "")
	f([]int32{0, 9, 5}, []int32{0, 1, 3}, "")
	f([]int32{0, 10, 5}, []int32{0, 1, 3}, "token id 10 ")
	f([]int32{0, -1, 5}, []int32{0, 1, 3}, "token id -1 ")
	f([]int32{0, 1, 2, 3}, []int32{0, 4}, "4 tokens")
	f([]int32{0, 1, 2}, []int32{0, 0, 3}, "0 tokens")
	f([]int32{0, 1, 2}, []int32{0, 2, 1, 3}, "-1 tokens")
	if err := g.run([]int32{10}, []int32{0, 1}, make([]float32, 4)); err == nil || !strings.Contains(err.Error(), "running the model: the token id") {
		t.Error(err)
	}
}

func TestGPUsAreCounted(t *testing.T) {
	f := func(there, want int) {
		t.Helper()
		found, err := countGPUs(func(gpu int) error {
			if gpu >= there {
				return fmt.Errorf("no GPU %d", gpu)
			}
			return nil
		})
		if found != want || (err == nil) != (want > 0) {
			t.Errorf("%d: found %d, %v", there, found, err)
		}
		if want == 0 && err.Error() != "no GPU 0" {
			t.Error(err)
		}
	}
	f(0, 0)
	f(1, 1)
	f(8, 8)
	f(1000, maxGPUs)
}

func TestCUDAsOptions(t *testing.T) {
	one, three := cudaOptions(1, 0), cudaOptions(3, 5<<30)
	if one["device_id"] != "1" || three["device_id"] != "3" {
		t.Errorf("%v, %v", one, three)
	}
	// Without these, memory grows without end, vectors lose precision, or attention is that of
	// padded texts.
	if _, limited := one["gpu_mem_limit"]; limited || three["gpu_mem_limit"] != "4294967296" {
		t.Errorf("%v, %v", one, three)
	}
	for name, want := range map[string]string{"arena_extend_strategy": "kSameAsRequested", "use_tf32": "0", "sdpa_kernel": "2"} {
		if one[name] != want {
			t.Errorf("%s is %q", name, one[name])
		}
	}
}

func TestTheArenaLeavesMemoryForTheRest(t *testing.T) {
	f := func(left, want int64) {
		t.Helper()
		if got := arenaLimit(left); got != want {
			t.Errorf("of %d bytes it may take %d, want %d", left, got, want)
		}
	}
	f(80<<30, 79<<30)
	f(3<<30, 2<<30)
	f(1<<30, leastArena) // a GPU that has next to nothing left says so at its first run
	f(1, leastArena)
	if left := freeMemory(0); left != 0 {
		t.Errorf("%d bytes are free where the provider is not loaded", left)
	}
}

func TestRunsFitTheMemory(t *testing.T) {
	m := models.Manifest{Dimension: 384, GraphBytes: 45 << 20}
	f := func(left int64, least, most int) {
		t.Helper()
		if got := fittingTokens(left, m); got < least || got > most {
			t.Errorf("with %d bytes a run has %d tokens, want %d to %d", left, got, least, most)
		}
	}
	f(0, cudaRunTokens, cudaRunTokens) // not known
	f(80<<30, cudaRunTokens, cudaRunTokens)
	f(2500<<20, 20_000, 30_000)
	f(1<<30, leastFitting, 4096)
	f(1, leastFitting, 4096)
	m.Dimension, m.GraphBytes = 1024, 700<<20 // a large model on a small GPU
	f(8<<30, 30_000, 50_000)
	f(2<<30, leastFitting, leastFitting)
}

func TestCoreMLComputesInFP32(t *testing.T) {
	o := coreMLOptions()
	if o["ModelFormat"] != "MLProgram" || o["AllowLowPrecisionAccumulationOnGPU"] != "0" || o["MLComputeUnits"] != "ALL" {
		t.Errorf("%v", o)
	}
	target, without, err := Target(change.DeviceCoreML, "", "/absent")
	if want := (models.Target{Device: models.DeviceCPU, Precision: models.PrecisionFP32}); err != nil || without != nil || target != want {
		t.Errorf("%v, %v, %v", target, without, err)
	}
}

func TestTargets(t *testing.T) {
	f := func(device string, precision models.Precision, want string) {
		t.Helper()
		target, without, err := Target(device, precision, "/absent") // no graph here has the operators, so they are not tried
		if want == "" && err == nil || want != "" && (err != nil || target.String() != want) || without != nil {
			t.Errorf("%s in %q: %v, %v, %v", device, precision, target, without, err)
		}
	}
	f(change.DeviceCUDA, "", "cuda-fp16")
	f(change.DeviceCUDA, models.PrecisionFP16, "cuda-fp16")
	f(change.DeviceCUDA, models.PrecisionFP32, "cpu-fp32")
	f(change.DeviceCUDA, models.PrecisionINT8, "")
	f(change.DeviceCoreML, models.PrecisionFP32, "cpu-fp32")
	f(change.DeviceCoreML, models.PrecisionFP16, "")
	f(change.DeviceCPU, models.PrecisionFP32, "cpu-fp32")
	f(change.DeviceCPU, models.PrecisionFP16, "")
}

// TestTheFirstDeviceThatWorksIsChosen walks through the devices with a runtime that has only some.
func TestTheFirstDeviceThatWorksIsChosen(t *testing.T) {
	f := func(asked, works, chosen string, skipped ...string) {
		t.Helper()
		s, err := choose(t.Context(), asked, func(device string) (*Session, error) {
			if !strings.Contains(works, device) {
				return nil, errors.New("no\n" + device + " here")
			}
			return &Session{device: device}, nil
		})
		if chosen == "" {
			if err == nil || !strings.Contains(err.Error(), strings.Join(skipped, "; ")) {
				t.Errorf("%s of %s: %v", asked, works, err)
			}
			return
		}
		if err != nil || s.Device() != chosen {
			t.Fatalf("%s of %s: %v, %v", asked, works, s, err)
		}
		var reasons []string
		for _, skip := range s.Skipped() {
			reasons = append(reasons, skip.String())
		}
		if !slices.Equal(reasons, skipped) {
			t.Errorf("%s of %s: passed over %q", asked, works, reasons)
		}
	}
	f(change.DeviceAuto, "cuda coreml cpu", change.DeviceCUDA)
	f(change.DeviceAuto, "coreml cpu", change.DeviceCoreML, "cuda: no cuda here")
	f(change.DeviceAuto, "cpu", change.DeviceCPU, "cuda: no cuda here", "coreml: no coreml here")
	f(change.DeviceAuto, "", "", "cuda: no cuda here", "coreml: no coreml here", "cpu: no cpu here")
	f(change.DeviceCoreML, "coreml cpu", change.DeviceCoreML)
	f(change.DeviceCoreML, "cpu", "", "coreml: no coreml here")
	f(change.DeviceCPU, "cuda cpu", change.DeviceCPU)
	f("tpu", "cpu", "")
}

// TestAModelThatChangedIsTriedOnNoOtherDevice: the error keeps its kind and names the file.
func TestAModelThatChangedIsTriedOnNoOtherDevice(t *testing.T) {
	changed, tried := fault.New(fault.Model, "", "it changed"), 0
	_, err := choose(t.Context(), change.DeviceAuto, func(string) (*Session, error) {
		tried++
		return nil, fmt.Errorf("building: %w", changed)
	})
	if !errors.Is(err, changed) || fault.KindOf(err) != fault.Model || tried != 1 {
		t.Errorf("%v, tried %d devices", err, tried)
	}
}
