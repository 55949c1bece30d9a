package encoder

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Tokenizer turns a text into token ids, special tokens included; cut is true where the text was longer than the model's limit.
// It must be safe for concurrent use; the caller owns the ids.
type Tokenizer interface {
	Tokenize(text string) (ids []int32, cut bool, err error)
	Close() error
}

// Runner runs the model on texts of one exact length. ids holds rows texts of tokens ids each, one after the other; Run writes
// rows vectors into out, one after the other, and keeps neither slice. It must be safe for concurrent use. An error with the
// method OutOfMemory() bool that returns true makes the encoder try smaller runs.
type Runner interface {
	Run(ids []int32, rows, tokens int, out []float32) error
	Device() string
	Close() error
}

// ErrClosed is returned by calls on a closed Encoder.
var ErrClosed = errors.New("the encoder is closed")

// The defaults of Options. 512 tokens fill the kernels of the matrix products; measured from 120 to 1,000 tokens a run the
// throughput of a core varies by less than 10 %, and memory and the wait for a stop grow with the run.
const (
	DefaultRunTokens = 512
	DefaultRunRows   = 256
)

// Options says what an Encoder works with. It owns Tokenizer and Runner from Open on, also where Open fails.
type Options struct {
	Tokenizer Tokenizer
	Runner    Runner
	// Dimension is the length of the runner's vectors.
	Dimension int
	// Fingerprint is the model's; it finds the stored vectors that Open compares with. A model without any is checked for sanity.
	Fingerprint string
	// Workers is the number of runs at a time; 0 takes one a core.
	Workers int
	// RunTokens and RunRows bound one run; 0 takes the default. A single longer text goes alone.
	RunTokens int
	RunRows   int
}

// Stats counts what an Encoder did since Open, its self-test left out.
type Stats struct {
	// Texts are those given, Encoded those that went through the model: equal texts of a call go once.
	Texts   uint64
	Encoded uint64
	// Tokens are those of the encoded texts, special tokens included; Truncated counts encoded texts that were cut.
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
	dimension int
	workers   int
	runRows   int
	// runTokens is the budget of a run; it falls when memory runs out.
	runTokens atomic.Int64
	// bulk and queries hold the free slots. Queries have their own, so that none waits for the runs of a batch.
	bulk, queries chan struct{}

	counts counters
	// open is held for reading by every call, so that Close waits for them.
	open   sync.RWMutex
	closed bool
}

// counters are the numbers of Stats.
type counters struct {
	texts, encoded, tokens, truncated, runs, shrunk atomic.Uint64
}

// Open makes an encoder and tests it: see ErrSelfTest. The test takes about 50 ms on one core.
func Open(ctx context.Context, o Options) (*Encoder, error) {
	e := &Encoder{tokenizer: o.Tokenizer, runner: o.Runner, dimension: o.Dimension, workers: o.Workers, runRows: o.RunRows}
	if e.workers < 1 {
		e.workers = runtime.GOMAXPROCS(0)
	}
	if e.runRows < 1 {
		e.runRows = DefaultRunRows
	}
	e.runTokens.Store(int64(o.RunTokens))
	if o.RunTokens < 1 {
		e.runTokens.Store(DefaultRunTokens)
	}
	e.bulk, e.queries = slots(e.workers), slots(e.workers)
	if err := e.selfTest(ctx, o.Fingerprint); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func slots(n int) chan struct{} {
	free := make(chan struct{}, n)
	for range n {
		free <- struct{}{}
	}
	return free
}

// Dimension is the length of a vector.
func (e *Encoder) Dimension() int { return e.dimension }

// Stats returns the counts so far.
func (e *Encoder) Stats() Stats {
	return Stats{
		Texts: e.counts.texts.Load(), Encoded: e.counts.encoded.Load(), Tokens: e.counts.tokens.Load(),
		Truncated: e.counts.truncated.Load(), Runs: e.counts.runs.Load(), Shrunk: e.counts.shrunk.Load(), Device: e.runner.Device(),
	}
}

// Encode returns the vectors of texts, of length 1 and of Dimension components each: result i belongs to texts[i] and is the
// caller's. The empty text has a vector too. When ctx ends it waits for the runs that have begun, then returns ctx's error.
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

// window is the number of distinct texts whose token ids are in memory together: at most 1 KiB each with 256 tokens. It is large
// enough that texts of one length fill their runs.
const window = 8192

func (e *Encoder) encode(ctx context.Context, texts []string, free chan struct{}) ([][]float32, error) {
	e.open.RLock()
	defer e.open.RUnlock()
	if e.closed {
		return nil, ErrClosed
	}
	distinct, positions := unique(texts)
	vectors := make([][]float32, len(distinct))
	for start := 0; start < len(distinct); start += window {
		end := min(start+window, len(distinct))
		if err := e.encodeWindow(ctx, distinct[start:end], vectors[start:end], free); err != nil {
			return nil, err
		}
	}
	e.counts.texts.Add(uint64(len(texts)))
	return spread(vectors, positions), nil
}

// encodeWindow fills in the vectors of distinct texts.
func (e *Encoder) encodeWindow(ctx context.Context, texts []string, vectors [][]float32, free chan struct{}) error {
	ids := make([][]int32, len(texts))
	var truncated atomic.Uint64
	err := e.parallel(ctx, free, blocks(len(texts)), func(block int) error {
		for i := block * blockTexts; i < min((block+1)*blockTexts, len(texts)); i++ {
			found, cut, err := e.tokenizer.Tokenize(texts[i])
			if err != nil {
				return fmt.Errorf("tokenizing a text: %w", err)
			}
			if len(found) == 0 {
				return fmt.Errorf("tokenizing a text of %d bytes: no tokens", len(texts[i]))
			}
			if cut {
				truncated.Add(1)
			}
			ids[i] = found
		}
		return nil
	})
	if err != nil {
		return err
	}
	runs := plan(ids, limits{tokens: int(e.runTokens.Load()), rows: e.runRows, workers: e.workers})
	err = e.parallel(ctx, free, len(runs), func(i int) error { return e.run(ctx, ids, runs[i], vectors) })
	if err != nil {
		return err
	}
	total := 0
	for _, list := range ids {
		total += len(list)
	}
	e.counts.encoded.Add(uint64(len(texts)))
	e.counts.tokens.Add(uint64(total))
	e.counts.truncated.Add(truncated.Load())
	return nil
}

// blockTexts is the number of texts that a worker tokenizes between two looks at the slots; a text takes 0.1 ms.
const blockTexts = 64

func blocks(texts int) int { return (texts + blockTexts - 1) / blockTexts }

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
