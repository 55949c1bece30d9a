package api

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// A connection keeps its place for a while whatever others do, so that its request can arrive and
// be answered: a client that has connected sends at once, and the answers of /healthz and /readyz
// wait for nothing. A while is most times perPlace, so that a flood is taken in and sent away at
// 12,000 connections a second, which two cores manage beside the encoder; but never more than
// longest.
const (
	perPlace = 80 * time.Microsecond
	longest  = 20 * time.Millisecond
)

// connections bounds how many are open. At the bound a new one takes the place of another, so that
// clients that keep theirs open, or begin a request and do not end it, never keep a readiness probe
// out. One that waits for a request, or is in the middle of one, goes before one that is being
// answered; then one of the address that has the most; then the one that has been so for longest.
//
// None goes within its first moments. While every place is so young, the server accepts
// nothing: a flood waits in the kernel's queue, and a probe behind it comes in its turn. Without
// that, a flood would close a probe's connection between its connect and its request.
type connections struct {
	most     int
	patience time.Duration // how long each keeps its place

	mu   sync.Mutex
	turn uint64 // counts events, to tell what came first
	open map[net.Conn]*seat
	left chan struct{} // closed when a connection ends
}

// seat is what is known of an open connection.
type seat struct {
	placed   time.Time    // when it got its place
	from     netip.Prefix // the other end: an address, or the network of an IPv6 one
	turn     uint64       // of the event at which it was opened or began to wait
	answered bool         // a request is at work
	cut      bool         // closed here; its goroutine has not ended yet
}

func newConnections(most int) *connections {
	return &connections{most: most, patience: min(time.Duration(most)*perPlace, longest), open: map[net.Conn]*seat{}, left: make(chan struct{})}
}

// changed follows the life of each connection; it is the server's ConnState. For a new one it
// returns when there is a place: the server accepts no other before.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.record(conn, state)
	if state != http.StateNew {
		return
	}
	for began := time.Now(); ; {
		wait, left := c.makeRoom(conn, began)
		if wait <= 0 {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-left:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (c *connections) record(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	switch state {
	case http.StateNew:
		c.open[conn] = &seat{placed: time.Now(), from: origin(conn.RemoteAddr()), turn: c.turn}
	case http.StateActive:
		if seat := c.open[conn]; seat != nil {
			seat.answered = true
		}
	case http.StateIdle:
		if seat := c.open[conn]; seat != nil {
			seat.answered, seat.turn = false, c.turn
		}
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
		close(c.left)
		c.left = make(chan struct{})
	}
}

// makeRoom cuts a connection where a new one is one too many. It returns how long to wait before it
// is asked again, and what ends that wait early; 0 when the new one has its place, or was cut.
// Those that were cut count until their goroutines have ended, up to as many again: where these do
// not end, the new one is cut.
func (c *connections) makeRoom(conn net.Conn, began time.Time) (wait time.Duration, left <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) > 2*c.most {
		if wait := c.patience - time.Since(began); wait > 0 {
			return wait, c.left
		}
		c.cut(conn)
		return 0, nil
	}
	if victim := c.victim(conn); victim != nil {
		if wait := c.patience - time.Since(c.open[victim].placed); wait > 0 {
			return wait, c.left
		}
		c.cut(victim)
	}
	c.open[conn].placed = time.Now()
	return 0, nil
}

// victim returns the connection that goes next, another than the new one; nil while there is room.
func (c *connections) victim(newest net.Conn) net.Conn {
	share := map[netip.Prefix]int{}
	held := 0
	for _, seat := range c.open {
		if !seat.cut {
			held++
			share[seat.from]++
		}
	}
	if held <= c.most {
		return nil
	}
	var victim net.Conn
	for conn, seat := range c.open {
		if conn != newest && !seat.cut && (victim == nil || seat.before(c.open[victim], share)) {
			victim = conn
		}
	}
	return victim
}

func (c *connections) cut(conn net.Conn) {
	c.open[conn].cut = true
	_ = conn.Close() // its goroutine notices and tells the end
}

// before reports whether a connection goes sooner than another when a place is needed.
func (s *seat) before(other *seat, share map[netip.Prefix]int) bool {
	if s.answered != other.answered {
		return other.answered
	}
	if share[s.from] != share[other.from] {
		return share[s.from] > share[other.from]
	}
	return s.turn < other.turn
}

// origin is whom a connection is counted with. One machine has a whole network of IPv6 addresses.
func origin(remote net.Addr) netip.Prefix {
	tcp, isTCP := remote.(*net.TCPAddr)
	if !isTCP {
		return netip.Prefix{}
	}
	address, _ := netip.AddrFromSlice(tcp.IP)
	address = address.Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	prefix, err := address.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address of IP
	}
	return prefix
}
