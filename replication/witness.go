package replication

import (
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// witness tells from what the slot brings again, below the watermark, whether the log is still the
// one that the watermark belongs to: a source that was put back from an older copy of its disks has
// the same identifier, timeline and slot, and soon a log of the same length (R16).
//
// The slot's copy is confirmed no further than the sink had written when the copy was made. So
// either it brings the last transaction that the sink has written, or that transaction is older
// than the copy; and in that case the log of before holds no further one up to the watermark.
type witness struct {
	place change.Place
	// confirmed is the slot's position at the start.
	confirmed change.LSN
	// due is true while the last transaction has to come, settled once all up to the watermark has
	// come.
	due, settled bool
}

// witnessOf returns the witness of a slot that is confirmed up to a position. The server sends what
// committed at that position or later.
func witnessOf(place change.Place, confirmed change.LSN) witness {
	return witness{place: place, confirmed: confirmed, due: place.Last.XID != 0 && place.Last.LSN > confirmed, settled: place.Last.LSN == 0}
}

// mayConfirm returns what may be told to the server of a position that it asks for: a slot that is
// confirmed beyond what was compared would bring nothing to compare with at the next start.
func (w *witness) mayConfirm(position change.LSN) change.LSN {
	if w.settled {
		return position
	}
	return min(position, w.confirmed)
}

// knows reports whether there is anything to compare with.
func (w *witness) knows() bool { return w.place.Last.LSN != 0 }

// transaction looks at the next transaction of the log. It returns a fault of kind Gap where that
// is not what the sink was written from.
func (w *witness) transaction(t change.Transaction) error {
	last := w.place.Last
	switch {
	case last.Is(t):
		w.due = false
	case w.due && t.LSN >= last.LSN:
		return w.gap("transaction %d, which the sink has, is not in the log at %s", last.XID, last.LSN)
	case w.knows() && t.LSN > last.LSN && t.LSN <= w.place.Watermark:
		return w.gap("transaction %d of %s came below the watermark %s without having been there before",
			t.XID, t.CommitTime.UTC().Format(time.RFC3339), w.place.Watermark)
	}
	w.settled = w.settled || t.LSN > w.place.Watermark
	return nil
}

// position looks at a position up to which all has been sent.
func (w *witness) position(end change.LSN) error {
	if w.due && end >= w.place.Last.LSN {
		return w.gap("transaction %d, which the sink has, is not in the log at %s", w.place.Last.XID, w.place.Last.LSN)
	}
	w.settled = w.settled || end >= w.place.Watermark
	return nil
}

func (w *witness) gap(what string, args ...any) error {
	return fault.New(fault.Gap, resync, "the source was put back to an older state: "+what, args...)
}
