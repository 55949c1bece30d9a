package api

import (
	"net"
	"net/http"
	"sync"
)

// connections bounds how many are open. At the bound a new one takes the place of another, so that
// clients that keep theirs open, or begin a request and do not end it, never keep a readiness probe
// out: first goes the one that has waited longest for a request or in the middle of one, then,
// where every one is being answered, the oldest.
type connections struct {
	most int

	mu   sync.Mutex
	turn uint64 // counts events, to tell what came first
	open map[net.Conn]*seat
}

// seat is what is known of an open connection.
type seat struct {
	since    uint64 // the turn at which it was opened or began to wait
	answered bool   // a request is at work
	cut      bool   // closed here; its goroutine has not ended yet
}

func newConnections(most int) *connections {
	return &connections{most: most, open: map[net.Conn]*seat{}}
}

// changed follows the life of each connection; it is the server's ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	switch state {
	case http.StateNew:
		c.admit(conn)
	case http.StateActive:
		if seat := c.open[conn]; seat != nil {
			seat.answered = true
		}
	case http.StateIdle:
		if seat := c.open[conn]; seat != nil {
			seat.answered, seat.since = false, c.turn
		}
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	}
}

// admit gives a connection a place. Those that were cut count until their goroutines have ended, up
// to as many again: then the new one is cut.
func (c *connections) admit(conn net.Conn) {
	c.open[conn] = &seat{since: c.turn}
	var victim net.Conn
	held := 0
	for other, seat := range c.open {
		if seat.cut {
			continue
		}
		held++
		if other != conn && (victim == nil || c.open[victim].after(seat)) {
			victim = other
		}
	}
	switch {
	case len(c.open) > 2*c.most:
		victim = conn
	case held <= c.most:
		return
	}
	c.open[victim].cut = true
	_ = victim.Close() // its goroutine notices and tells the end
}

// after reports whether a connection goes later than another when a place is needed.
func (s *seat) after(other *seat) bool {
	if s.answered != other.answered {
		return s.answered
	}
	return s.since > other.since
}
