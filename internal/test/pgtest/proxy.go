package pgtest

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a program and a server and breaks their connections on demand. It outlives
// restarts of the server. Its methods may be called from any goroutine.
type Proxy struct {
	listener net.Listener
	target   string
	ctx      context.Context //nolint:containedctx // ends every wait of the proxy's goroutines when the test ends
	group    sync.WaitGroup

	mu       sync.Mutex
	links    map[*link]struct{}
	refusing bool
	flowing  flow
	slowness Slowness
}

// Slowness is what a slow network does to each read of up to 16 KB; the zero value does nothing.
type Slowness struct {
	// ToServer and ToClient are how much later the bytes arrive.
	ToServer, ToClient time.Duration
	// BytesPerSecond bounds each direction of each connection; zero means no bound.
	BytesPerSecond int
}

// NewProxy starts a proxy before the server; it ends with the test.
func NewProxy(tb testing.TB, h *Host) *Proxy {
	tb.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("pgtest: listening for a proxy: %v", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	p := &Proxy{
		listener: listener, target: net.JoinHostPort("127.0.0.1", strconv.Itoa(h.Port())), ctx: ctx,
		links: make(map[*link]struct{}), flowing: newFlow(),
	}
	p.group.Go(p.accept)
	tb.Cleanup(func() {
		cancel()
		_ = listener.Close()
		p.Reset()
		p.group.Wait()
	})
	return p
}

// flow is a channel that is closed while bytes are forwarded. Its owner's mutex guards it.
type flow chan struct{}

func newFlow() flow {
	f := make(flow)
	close(f)
	return f
}

func (f *flow) stop() {
	select {
	case <-*f:
		*f = make(flow)
	default: // stopped already
	}
}

func (f *flow) start() {
	select {
	case <-*f:
	default:
		close(*f)
	}
}

// DSN returns the database's connection string by way of the proxy.
func (p *Proxy) DSN(tb testing.TB, db *DB) string {
	tb.Helper()
	u, err := url.Parse(db.DSN)
	if err != nil {
		tb.Fatalf("pgtest: reading a DSN: %v", err)
	}
	u.Host = p.listener.Addr().String()
	return u.String()
}

// Connections counts the connections that are open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Reset breaks every connection as a failing machine does: the next read or write of either end is
// an error.
func (p *Proxy) Reset() { p.cut((*link).reset) }

// Hangup closes every connection in an orderly way: the next read of either end is its end.
func (p *Proxy) Hangup() { p.cut((*link).close) }

func (p *Proxy) cut(how func(*link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		how(l)
	}
}

// Refuse resets new connections; those that are open stay.
func (p *Proxy) Refuse() { p.refuse(true) }

// Admit lets new connections through again.
func (p *Proxy) Admit() { p.refuse(false) }

func (p *Proxy) refuse(refusing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = refusing
}

// Freeze forwards nothing more and closes nothing, as a network that lost its way: neither end
// notices.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flowing.stop()
}

// Strand freezes the connections that are open, as a firewall that forgot them; new ones work.
func (p *Proxy) Strand() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.flowing.stop()
	}
}

// Thaw takes Freeze and Strand back: what was held back is forwarded.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flowing.start()
	for l := range p.links {
		l.flowing.start()
	}
}

// Slow makes every connection slow; the zero Slowness ends that.
func (p *Proxy) Slow(s Slowness) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slowness = s
}

// Heal takes back Refuse, Freeze and Slow.
func (p *Proxy) Heal() {
	p.Admit()
	p.Thaw()
	p.Slow(Slowness{})
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.group.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	refusing := p.refusing
	p.mu.Unlock()
	var server net.Conn
	var err error
	if !refusing {
		var dialer net.Dialer
		server, err = dialer.DialContext(p.ctx, "tcp", p.target)
	}
	if refusing || err != nil {
		abort(client)
		return
	}
	l := &link{client: client, server: server, gone: make(chan struct{}), flowing: newFlow()}
	p.mu.Lock()
	p.links[l] = struct{}{}
	p.mu.Unlock()
	var pumps sync.WaitGroup
	pumps.Go(func() { p.pump(l, server, client, func(s Slowness) time.Duration { return s.ToServer }) })
	pumps.Go(func() { p.pump(l, client, server, func(s Slowness) time.Duration { return s.ToClient }) })
	pumps.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pump copies one direction until either end is gone.
func (p *Proxy) pump(l *link, to, from net.Conn, delay func(Slowness) time.Duration) {
	defer l.close()
	const buffer = 16 << 10
	bytes := make([]byte, buffer)
	for {
		n, err := from.Read(bytes)
		if n > 0 {
			if !p.pass(l, n, delay) {
				return
			}
			if _, err := to.Write(bytes[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass holds n bytes back for as long as the network is slow or frozen; false when the connection
// is gone.
func (p *Proxy) pass(l *link, n int, delay func(Slowness) time.Duration) bool {
	p.mu.Lock()
	slowness := p.slowness
	p.mu.Unlock()
	wait := delay(slowness)
	if slowness.BytesPerSecond > 0 {
		wait += time.Duration(n) * time.Second / time.Duration(slowness.BytesPerSecond)
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.gone:
			return false
		}
	}
	for {
		stopped := p.stopped(l)
		if stopped == nil {
			return true
		}
		select {
		case <-l.gone:
			return false
		case <-stopped:
		}
	}
}

// stopped returns what to wait for before a connection may forward bytes; nil when it may.
func (p *Proxy) stopped(l *link) flow {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range []flow{p.flowing, l.flowing} {
		select {
		case <-f:
		default:
			return f
		}
	}
	return nil
}

// link is a connection through the proxy.
type link struct {
	client, server net.Conn
	flowing        flow // with the proxy's mutex
	once           sync.Once
	gone           chan struct{}
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.gone)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

func (l *link) reset() {
	l.once.Do(func() {
		close(l.gone)
		abort(l.client)
		abort(l.server)
	})
}

// abort closes a connection so that the other end reads an error instead of its end.
func abort(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
