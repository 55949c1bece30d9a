package pipeline

import (
	"errors"
	"testing"
	"time"
)

func TestPendingCommitsFollowTheBatches(t *testing.T) {
	var p pendingCommits
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	f := func(want time.Time) {
		t.Helper()
		if got := p.oldest(); !got.Equal(want) {
			t.Errorf("oldest is %s, want %s", got, want)
		}
	}
	f(time.Time{})
	p.note(at(1))
	f(at(1))
	p.cut()
	f(at(1))
	p.cut() // an idle position
	p.note(at(2))
	f(at(1))
	p.cut()
	p.note(at(3))
	p.done()
	f(at(2)) // behind the position, which holds no change
	p.done()
	f(at(2))
	p.done()
	f(at(3))
	p.cut()
	p.note(at(4))
	p.reset()
	f(time.Time{})
}

func TestHealthFollowsTheSessions(t *testing.T) {
	now := time.Unix(1, 0)
	b := healthBox{now: func() time.Time { return now }}
	f := func(streaming bool, err error, since int64, attempts int) {
		t.Helper()
		h := b.get()
		if h.Streaming != streaming || !errors.Is(h.Err, err) || h.Attempts != attempts || (since != 0 && h.Since.Unix() != since) {
			t.Errorf("health is %+v", h)
		}
	}
	f(false, nil, 0, 0)
	b.up(100)
	f(true, nil, 1, 0)
	now = time.Unix(2, 0)
	b.down(errMoved)
	f(false, errMoved, 2, 1)
	now = time.Unix(3, 0)
	b.up(100)
	f(true, nil, 3, 1) // a lost connection is over with the next one
	b.batchFailed(200)
	b.down(ErrEncoding)
	f(false, ErrEncoding, 3, 2)
	now = time.Unix(4, 0)
	b.up(150)
	b.committed(199)
	f(true, ErrEncoding, 4, 2) // the batch has not been passed
	b.committed(200)
	f(true, nil, 4, 0)
	if !b.get().Ready() {
		t.Error("not ready")
	}
	b.batchFailed(300)
	b.down(ErrEncoding)
	b.up(300) // the commit of unknown outcome happened
	f(true, nil, 4, 1)
	b.committed(300)
	f(true, nil, 4, 0)
	b.batchFailed(900)
	b.down(ErrEncoding)
	b.renumbered()
	b.up(10) // after a resync
	f(true, nil, 4, 1)
	b.committed(11)
	f(true, nil, 4, 0)
	now = time.Unix(5, 0)
	b.down(nil)
	f(false, nil, 5, 0)
}
