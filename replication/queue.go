package replication

import (
	"context"
	"sync"

	"github.com/wal2vec/wal2vec/internal/change"
)

// queue holds what the stream has read and the consumer has not taken, bounded in fragments and in
// bytes. Its owner, the reader, looks at full before it reads on; pushing never blocks. An idle
// position that comes while an older one is still here takes its place, so that a slow consumer
// finds one position, the newest, with the transaction that came last.
type queue struct {
	maxItems, maxBytes int

	mu    sync.Mutex
	items []queued
	bytes int
	// serial numbers what is at the head or behind it; a replaced item gets a new number.
	serial uint64
	// high is true from reaching a bound until half of it is free again: stopping and starting at
	// every item costs more.
	high bool

	// changed wakes the deliverer, room the reader; both hold one token.
	changed, room chan struct{}
}

type queued struct {
	fragment change.Fragment
	serial   uint64
	// replaceable is true for a position that no transaction's fragments lead up to.
	replaceable bool
}

func newQueue(maxItems, maxBytes int) *queue {
	return &queue{maxItems: maxItems, maxBytes: maxBytes, changed: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// push adds a fragment behind all others.
func (q *queue) push(f change.Fragment, replaceable bool) {
	q.mu.Lock()
	q.serial++
	item := queued{fragment: f, serial: q.serial, replaceable: replaceable}
	if last := len(q.items) - 1; replaceable && last >= 0 && q.items[last].replaceable {
		older := &q.items[last].fragment
		q.bytes -= older.Bytes
		if f.LSN == 0 {
			item.fragment.XID, item.fragment.LSN, item.fragment.CommitTime = older.XID, older.LSN, older.CommitTime
		}
		q.items[last] = item
	} else {
		q.items = append(q.items, item)
	}
	q.bytes += f.Bytes
	if len(q.items) >= q.maxItems || q.bytes >= q.maxBytes {
		q.high = true
	}
	q.mu.Unlock()
	signal(q.changed)
}

// full reports whether the reader must wait for room.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.high
}

func (q *queue) head() (queued, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return queued{}, false
	}
	return q.items[0], true
}

// taken removes the head unless a newer position has taken its place in the meantime.
func (q *queue) taken(serial uint64) {
	q.mu.Lock()
	if len(q.items) > 0 && q.items[0].serial == serial {
		q.bytes -= q.items[0].fragment.Bytes
		q.items[0] = queued{} // let go of the events
		q.items = q.items[1:]
	}
	roomy := q.high && len(q.items) <= q.maxItems/2 && q.bytes <= q.maxBytes/2
	if roomy {
		q.high = false
	}
	q.mu.Unlock()
	if roomy {
		signal(q.room)
	}
}

// deliver sends the items to out in order until ctx ends.
func (q *queue) deliver(ctx context.Context, out chan<- change.Fragment) {
	for {
		item, found := q.head()
		if !found {
			select {
			case <-ctx.Done():
				return
			case <-q.changed:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case out <- item.fragment:
			q.taken(item.serial)
		case <-q.changed: // the head may have been replaced
		}
	}
}

// signal leaves a token in a channel of capacity one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
