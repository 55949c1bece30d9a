package encoder

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// Tokenizer turns a text into token ids, special tokens included, and appends them to ids; cut is
// true where the text was longer than the model's limit. It must be safe for concurrent use.
type Tokenizer interface {
	Append(ids []int32, text string) (out []int32, cut bool, err error)
	Close() error
}

// Runner runs the model on texts that stand one after the other without padding: text i is
// ids[starts[i]:starts[i+1]], the first starts at 0 and the last ends with ids. Run writes one
// vector a text into out, one after the other, and keeps none of the slices. It must be safe for
// concurrent use. An error with the method OutOfMemory() bool that returns true makes the encoder
// try smaller runs.
type Runner interface {
	Run(ids, starts []int32, out []float32) error
	// Packed reports whether the texts of a run may differ in length.
	Packed() bool
	// Device is the device it runs on.
	Device() string
	Close() error
}

// ErrClosed is returned by calls on a closed Encoder.
var ErrClosed = errors.New("the encoder is closed")

// The defaults of Options, for a CPU. 512 tokens fill the kernels of the matrix products; measured
// from 120 to 1,000 tokens a run the throughput of a core varies by less than 10 %, and memory and
// the wait for a stop grow with the run. Every run reads all weights once: a text of 47 tokens
// alone takes two thirds of the time of two, so that two workers answer two such texts sooner
// apart.
const (
	DefaultRunTokens    = 512
	DefaultRunRows      = 256
	DefaultMinRunTokens = 48
)

// Options says what an Encoder works with. It owns Tokenizer and Runner from Open on, also where
// Open fails.
type Options struct {
	Tokenizer Tokenizer
	Runner    Runner
	// Dimension is the length of the runner's vectors.
	Dimension int
	// Fingerprint is the model's; it finds the stored vectors that Open compares with. A model
	// without any is checked for sanity.
	Fingerprint string
	// MinCosine is the least cosine to the stored vectors that Open takes, for the runner's
	// precision; 0 takes that of fp32.
	MinCosine float64
	// Unnormalised says that the model's vectors are not of length 1.
	Unnormalised bool
	// Workers is the number of threads that tokenize, and that run the model unless InFlight is
	// set; 0 takes one a core.
	Workers int
	// InFlight is the number of runs at a time on a device of its own, beside which the workers go
	// on; 0 says that a run computes on the worker that calls it.
	InFlight int
	// RunTokens and RunRows bound one run; 0 takes the default. A single longer text goes alone.
	// Work is not cut into runs below MinRunTokens to keep all workers busy.
	RunTokens    int
	RunRows      int
	MinRunTokens int
}

// Stats counts what an Encoder did since Open, its self-test left out.
type Stats struct {
	// Texts are those given, Encoded those that went through the model: equal texts of a call go
	// once.
	Texts   uint64
	Encoded uint64
	// Tokens are those of the encoded texts, special tokens included; Truncated counts encoded
	// texts that were cut.
	Tokens    uint64
	Truncated uint64
	// Runs are calls of the model, Shrunk those that were split because memory ran out.
	Runs   uint64
	Shrunk uint64
	// Device is what the model runs on.
	Device string
}

// Encoder turns texts into vectors. It is safe for concurrent use.
type Encoder struct {
	tokenizer Tokenizer
	runner    Runner
	options   Options
	// runTokens is the budget of a run; it falls when memory runs out.
	runTokens atomic.Int64
	// bulk and queries hold the free slots. Queries have their own, so that none waits for the runs
	// of a batch.
	bulk, queries lane

	counts counters
	// open is held for reading by every call, so that Close waits for them.
	open   sync.RWMutex
	closed bool
}

// counters are the numbers of Stats.
type counters struct {
	texts, encoded, tokens, truncated, runs, shrunk atomic.Uint64
}

// Open makes an encoder and tests it: see ErrSelfTest. The test takes about 50 ms on one core in
// fp32.
func Open(ctx context.Context, o Options) (*Encoder, error) {
	o.Workers = cmp.Or(o.Workers, runtime.GOMAXPROCS(0))
	o.RunTokens, o.RunRows = cmp.Or(o.RunTokens, DefaultRunTokens), cmp.Or(o.RunRows, DefaultRunRows)
	o.MinRunTokens = cmp.Or(o.MinRunTokens, DefaultMinRunTokens)
	e := &Encoder{tokenizer: o.Tokenizer, runner: o.Runner, options: o, bulk: newLane(o), queries: newLane(o)}
	e.runTokens.Store(int64(o.RunTokens))
	if err := e.selfTest(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Dimension is the length of a vector.
func (e *Encoder) Dimension() int { return e.options.Dimension }

// Stats returns the counts so far.
func (e *Encoder) Stats() Stats {
	return Stats{
		Texts: e.counts.texts.Load(), Encoded: e.counts.encoded.Load(), Tokens: e.counts.tokens.Load(),
		Truncated: e.counts.truncated.Load(), Runs: e.counts.runs.Load(), Shrunk: e.counts.shrunk.Load(), Device: e.runner.Device(),
	}
}

// Encode returns the vectors of texts, of Dimension components each and of length 1 unless the
// options say otherwise: result i belongs to texts[i] and is the caller's. The empty text has a
// vector too. When ctx ends it waits for the runs that have begun, then returns ctx's error.
func (e *Encoder) Encode(ctx context.Context, texts []string) ([][]float32, error) {
	return e.encode(ctx, texts, e.bulk)
}

// EncodeQuery returns the vector of one text at once: it does not wait for the runs of a batch.
func (e *Encoder) EncodeQuery(ctx context.Context, text string) ([]float32, error) {
	vectors, err := e.encode(ctx, []string{text}, e.queries)
	if err != nil {
		return nil, err
	}
	return vectors[0], nil
}

func (e *Encoder) encode(ctx context.Context, texts []string, free lane) ([][]float32, error) {
	e.open.RLock()
	defer e.open.RUnlock()
	if e.closed {
		return nil, ErrClosed
	}
	distinct, positions := unique(texts)
	vectors := make([][]float32, len(distinct))
	var err error
	if e.runner.Packed() {
		err = e.encodePacked(ctx, distinct, vectors, free)
	} else {
		err = e.encodeByLength(ctx, distinct, vectors, free)
	}
	if err != nil {
		return nil, err
	}
	e.counts.texts.Add(uint64(len(texts)))
	return spread(vectors, positions), nil
}

// Close waits for running calls and closes runner and tokenizer. Later calls return ErrClosed.
func (e *Encoder) Close() error {
	e.open.Lock()
	defer e.open.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	return errors.Join(e.runner.Close(), e.tokenizer.Close())
}
