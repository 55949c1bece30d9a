package encoder

import (
	"context"
	"fmt"
	"sync/atomic"
)

// window is the number of distinct texts whose token ids are in memory together: at most 1 KiB each
// with 256 tokens. It is large enough that texts of one length fill their runs.
const window = 8192

// encodeByLength encodes distinct texts with a runner that takes texts of one length only.
func (e *Encoder) encodeByLength(ctx context.Context, texts []string, vectors [][]float32, free lane) error {
	for start := 0; start < len(texts); start += window {
		end := min(start+window, len(texts))
		if err := e.encodeWindow(ctx, texts[start:end], vectors[start:end], free); err != nil {
			return err
		}
	}
	return nil
}

// encodeWindow fills in the vectors of distinct texts.
func (e *Encoder) encodeWindow(ctx context.Context, texts []string, vectors [][]float32, free lane) error {
	ids := make([][]int32, len(texts))
	var truncated atomic.Uint64
	err := e.parallel(ctx, blocks(len(texts)), func(ctx context.Context, block int) error {
		return free.onThread(ctx, func() error {
			for i := block * blockTexts; i < min((block+1)*blockTexts, len(texts)); i++ {
				found, cut, err := e.tokenize(nil, texts[i])
				if err != nil {
					return err
				}
				if cut {
					truncated.Add(1)
				}
				ids[i] = found
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	runs := plan(ids, limits{
		tokens: int(e.runTokens.Load()), rows: e.options.RunRows, least: e.options.MinRunTokens, lanes: e.atATime(),
	})
	err = e.parallel(ctx, len(runs), func(ctx context.Context, i int) error {
		return free.run(ctx, func() error { return e.runEqual(ctx, ids, runs[i], vectors) })
	})
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

// tokenize appends the ids of a text.
func (e *Encoder) tokenize(ids []int32, text string) (out []int32, cut bool, err error) {
	out, cut, err = e.tokenizer.Append(ids, text)
	if err != nil {
		return nil, false, fmt.Errorf("tokenizing a text: %w", err)
	}
	if len(out) == len(ids) {
		return nil, false, fmt.Errorf("tokenizing a text of %d bytes: no tokens", len(text))
	}
	return out, cut, nil
}

// runEqual encodes one run: texts of one length.
func (e *Encoder) runEqual(ctx context.Context, ids [][]int32, texts []int, vectors [][]float32) error {
	tokens := len(ids[texts[0]])
	input, starts := make([]int32, 0, len(texts)*tokens), make([]int32, 1, len(texts)+1)
	for _, i := range texts {
		input = append(input, ids[i]...)
		starts = append(starts, int32(len(input)))
	}
	out, err := e.runBatch(ctx, input, starts)
	if err != nil {
		return err
	}
	for row, i := range texts {
		vectors[i] = out[row]
	}
	return nil
}

// blockTexts is the number of texts that a worker tokenizes between two looks at the slots; a text
// takes 0.1 ms at most.
const blockTexts = 64

func blocks(texts int) int { return (texts + blockTexts - 1) / blockTexts }
