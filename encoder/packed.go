package encoder

import (
	"context"
	"sync/atomic"
)

// encodePacked encodes distinct texts with a runner that takes texts of any lengths together. Every
// worker claims texts, tokenizes them into a run of its own until that is full, and has it run.
func (e *Encoder) encodePacked(ctx context.Context, texts []string, vectors [][]float32, free lane) error {
	share := e.shareOut(texts)
	queue := &queue{texts: texts, block: share.block}
	return e.parallel(ctx, share.workers, func(ctx context.Context, _ int) error {
		p := packing{e: e, queue: queue, vectors: vectors, budget: share.budget, starts: make([]int32, 1, e.options.RunRows+1)}
		for !p.idle() {
			filled := false
			err := free.onThread(ctx, func() (err error) {
				if filled, err = p.fill(); err != nil || !filled || free.runs != nil {
					return err
				}
				return p.run(ctx) // it computes on this thread
			})
			if err != nil || !filled {
				return err
			}
			if free.runs != nil {
				if err := free.run(ctx, func() error { return p.run(ctx) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// share says how the texts of a call are divided.
type share struct {
	workers int // that have something to do
	block   int // texts claimed at a time
	budget  int // tokens of a run
}

// guess is about the number of tokens of a text, as prose has them; it only steers how evenly work
// is shared out.
func guess(text string) int { return 2 + len(text)/4 }

// shareOut divides a call so that all lanes end at about the same time: into a multiple of the
// lanes, in runs that are neither over the budget nor needlessly small.
func (e *Encoder) shareOut(texts []string) share {
	total := 0
	for _, text := range texts {
		total += guess(text)
	}
	most, least, lanes := int(e.runTokens.Load()), e.options.MinRunTokens, e.atATime()
	runs := 1
	if total > least {
		rounds := (total + lanes*most - 1) / (lanes * most)
		runs = min(lanes*rounds, (total+least-1)/least)
	}
	return share{
		workers: min(max(e.options.Workers, e.options.InFlight), runs),
		block:   min(blockTexts, max(1, len(texts)/(4*runs))),
		budget:  min(most, max(least, total/runs)),
	}
}

// queue is the texts of a call that nothing has claimed.
type queue struct {
	texts []string
	block int
	next  atomic.Int64
}

// claim takes some texts; none when from equals to.
func (q *queue) claim() (from, to int) {
	end := int(q.next.Add(int64(q.block)))
	return min(end-q.block, len(q.texts)), min(end, len(q.texts))
}

// packing is a worker's run in the making.
type packing struct {
	e       *Encoder
	queue   *queue
	vectors [][]float32
	budget  int

	from, to  int // claimed and not yet tokenized
	ids       []int32
	starts    []int32 // text i of the run is ids[starts[i]:starts[i+1]]
	at        []int   // its index
	left      int     // index of a text whose ids follow the run's, because the run was full
	leftOver  bool
	truncated uint64
}

// idle reports whether there is nothing left to fill a run with: a call that has ended does not
// wait for a slot to find that out.
func (p *packing) idle() bool {
	return !p.leftOver && p.from == p.to && int(p.queue.next.Load()) >= len(p.queue.texts)
}

// fill begins a run and adds texts until it is full or none is left; false when there is nothing to
// run.
func (p *packing) fill() (bool, error) {
	end := p.starts[len(p.starts)-1]
	p.ids = append(p.ids[:0], p.ids[end:]...) // the text that was left over, or nothing
	p.starts, p.at = p.starts[:1], p.at[:0]
	if p.leftOver {
		p.leftOver = false
		p.add(p.left)
	}
	for len(p.at) < p.e.options.RunRows && p.takesMore() {
		if p.from == p.to {
			if p.from, p.to = p.queue.claim(); p.from == p.to {
				break
			}
		}
		i := p.from
		p.from++
		ids, cut, err := p.e.tokenize(p.ids, p.queue.texts[i])
		if err != nil {
			return false, err
		}
		p.ids = ids
		if cut {
			p.truncated++
		}
		if len(p.at) > 0 && len(ids) > p.budget {
			p.left, p.leftOver = i, true
			break
		}
		p.add(i)
	}
	return len(p.at) > 0, nil
}

// takesMore reports whether the next text seems to fit: one that does not is better left to another
// worker.
func (p *packing) takesMore() bool {
	next := p.from
	if p.from == p.to {
		next = int(p.queue.next.Load())
	}
	if len(p.at) == 0 || next >= len(p.queue.texts) {
		return len(p.ids) < p.budget
	}
	return len(p.ids)+guess(p.queue.texts[next]) <= p.budget
}

// add makes the ids behind the last text a text of the run.
func (p *packing) add(i int) {
	p.starts, p.at = append(p.starts, int32(len(p.ids))), append(p.at, i)
}

// run runs what was filled.
func (p *packing) run(ctx context.Context) error {
	tokens := p.starts[len(p.starts)-1]
	out, err := p.e.runBatch(ctx, p.ids[:tokens], p.starts)
	if err != nil {
		return err
	}
	for row, i := range p.at {
		p.vectors[i] = out[row]
	}
	p.e.counts.encoded.Add(uint64(len(p.at)))
	p.e.counts.tokens.Add(uint64(tokens))
	p.e.counts.truncated.Add(p.truncated)
	p.truncated = 0
	return nil
}
