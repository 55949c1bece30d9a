package replication

import (
	"context"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
)

func TestQueueKeepsOneIdlePosition(t *testing.T) {
	q := newQueue(10, 1000)
	q.push(change.Fragment{End: 1}, true)
	q.push(change.Fragment{End: 2}, true)
	q.push(change.Fragment{LSN: 3, End: 4, Bytes: 10}, false)
	q.push(change.Fragment{End: 5}, true)
	q.push(change.Fragment{LSN: 6, End: 7}, true)
	want := []change.LSN{2, 4, 7}
	if items, bytes := q.size(); items != len(want) || bytes != 10 {
		t.Fatalf("%d items, %d bytes", items, bytes)
	}
	for _, end := range want {
		item, found := q.head()
		if !found || item.fragment.End != end {
			t.Fatalf("got %+v, want %d", item, end)
		}
		q.taken(item.serial)
	}
	if _, found := q.head(); found {
		t.Fatal("not empty")
	}
}

func TestQueueDoesNotLoseAPositionReplacedWhileItWasTaken(t *testing.T) {
	q := newQueue(10, 1000)
	q.push(change.Fragment{End: 1}, true)
	item, _ := q.head()
	q.push(change.Fragment{End: 2}, true)
	q.taken(item.serial)
	if item, found := q.head(); !found || item.fragment.End != 2 {
		t.Fatalf("got %+v", item)
	}
}

func TestQueueStopsAtItsBoundsAndGoesOnAtHalf(t *testing.T) {
	f := func(name string, items, bytes int) {
		q := newQueue(items, bytes)
		for i := range 4 {
			if q.full() {
				t.Fatalf("%s: full after %d", name, i)
			}
			q.push(change.Fragment{LSN: 1, Bytes: 10}, false)
		}
		for i := range 2 {
			if !q.full() {
				t.Fatalf("%s: not full with %d taken", name, i)
			}
			item, _ := q.head()
			q.taken(item.serial)
		}
		if q.full() {
			t.Fatalf("%s: still full at half", name)
		}
		select {
		case <-q.room:
		default:
			t.Fatalf("%s: nobody was told of the room", name)
		}
	}
	f("items", 4, 1000)
	f("bytes", 100, 40)
}

func TestQueueDeliversInOrderUntilTheEnd(t *testing.T) {
	q := newQueue(1000, 1000)
	out := make(chan change.Fragment)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.deliver(ctx, out)
	}()
	for i := range 100 {
		q.push(change.Fragment{LSN: change.LSN(i)}, false)
	}
	for i := range 100 {
		if f := <-out; f.LSN != change.LSN(i) {
			t.Fatalf("got %d, want %d", f.LSN, i)
		}
	}
	q.push(change.Fragment{LSN: 100}, false)
	cancel()
	<-done
}

// R16: a position that takes the place of a transaction without events names it.
func TestQueueKeepsTheLastTransactionOfPositions(t *testing.T) {
	q := newQueue(10, 1000)
	q.push(change.Fragment{XID: 6, LSN: 6, End: 7}, true)
	q.push(change.Fragment{XID: 8, LSN: 8, End: 9}, true)
	q.push(change.Fragment{End: 11}, true)
	q.push(change.Fragment{End: 12}, true)
	if item, _ := q.head(); item.fragment.End != 12 || item.fragment.XID != 8 || item.fragment.LSN != 8 {
		t.Fatalf("got %+v", item)
	}
}
