package api_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wal2vec/wal2vec/internal/api"
)

// crowd is a server of at most three connections and the ways to fill them, within the bubble of a
// test: no time passes there while anything can go on, so that a probe that waits for a time limit
// is seen.
type crowd struct {
	t        *testing.T
	listener *pipe
	// release lets the answers of /status go out.
	release chan struct{}
}

const seats = 3

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{t: t, listener: &pipe{connections: make(chan net.Conn), closed: make(chan struct{})}, release: make(chan struct{})}
	server := api.New(api.Sources{
		Ready: func() []api.Component { return nil },
		Status: func(ctx context.Context) (any, error) {
			select {
			case <-c.release:
				return "done", nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		Metrics: prometheus.NewRegistry(),
	}, api.Options{MaxConnections: seats}).Server(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(c.listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return c
}

// client opens a connection and sends some bytes; told is closed when the server hangs up, and
// holds the status of each answer before.
func (c *crowd) client(sent string) (conn net.Conn, told chan int) {
	c.t.Helper()
	return c.clientFrom("192.0.2.1", sent)
}

// far is the server's end of a connection with an address.
type far struct {
	net.Conn

	address string
}

func (f far) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.address), Port: 40000} }

func (c *crowd) clientFrom(address, sent string) (conn net.Conn, told chan int) {
	c.t.Helper()
	conn, remote := net.Pipe()
	c.listener.connections <- far{remote, address}
	told = make(chan int, 16)
	c.t.Cleanup(func() { _ = conn.Close() })
	if sent != "" { // a pipe waits for who reads nothing, too
		go func() { _, _ = io.WriteString(conn, sent) }()
	}
	go func() {
		defer close(told)
		reader := bufio.NewReader(conn)
		for {
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			told <- response.StatusCode
		}
	}()
	synctest.Wait()
	return conn, told
}

// probe asks for readiness over a connection of its own, and wants the answer long before a time
// limit ends another connection.
func (c *crowd) probe() {
	c.t.Helper()
	begun := time.Now()
	conn, told := c.client(readiness)
	if code, ok := <-told; !ok || code != http.StatusOK {
		c.t.Errorf("the probe is not answered: %d", code)
	}
	if waited := time.Since(begun); waited > 10*time.Millisecond {
		c.t.Errorf("the probe waited %s", waited)
	}
	_ = conn.Close()
	synctest.Wait()
}

const readiness = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"

// open reports whether the server has not hung up; answers before that are passed over.
func open(told chan int) bool {
	for {
		select {
		case _, ok := <-told:
			if !ok {
				return false
			}
		default:
			return true
		}
	}
}

// TestNoClientKeepsAProbeOut: whatever those that were there before do with their connections.
func TestNoClientKeepsAProbeOut(t *testing.T) {
	f := func(name, sent string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t)
				var clients []chan int
				for range 5 * seats {
					_, told := c.client(sent)
					clients = append(clients, told)
				}
				for range 2 * seats {
					c.probe()
				}
				left := 0
				for _, told := range clients {
					if open(told) {
						left++
					}
				}
				if left != seats-1 {
					t.Errorf("%d of %d clients are left, want %d", left, len(clients), seats-1)
				}
			})
		})
	}
	f("they say nothing", "")
	f("they stop in the request line", "GET /hea")
	f("they stop in a header", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: y")
	f("they stop in the body", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
	f("they were answered and stay", readiness)
	f("they wait for an answer", "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

// TestAFloodKeepsNoProbeOut: many connect, all at once, after a probe has connected and before its
// request has come.
func TestAFloodKeepsNoProbeOut(t *testing.T) {
	f := func(name, sent string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t)
				for range 2 * seats {
					probe, told := c.client("")
					for range 10 * seats {
						go c.flood(sent)
					}
					synctest.Wait() // nothing goes on but by the clock
					go func() { _, _ = io.WriteString(probe, readiness) }()
					if code, ok := <-told; !ok || code != http.StatusOK {
						t.Errorf("the probe is not answered: %d", code)
					}
					_ = probe.Close()
				}
			})
		})
	}
	f("of those who say nothing", "")
	f("of slow headers", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: y")
	f("of requests that are answered", readiness)
	f("of requests that wait", "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

// flood is one connection that sends some bytes and stays until the server hangs up.
func (c *crowd) flood(sent string) {
	conn, remote := net.Pipe()
	defer conn.Close()
	select {
	case c.listener.connections <- far{remote, "192.0.2.1"}:
		go func() { _, _ = io.WriteString(conn, sent) }()
		_, _ = io.Copy(io.Discard, conn)
	case <-c.listener.closed:
	}
}

// TestOneAddressTakesNoPlaceOfAnother, no matter which waits longest.
func TestOneAddressTakesNoPlaceOfAnother(t *testing.T) {
	f := func(one string, others ...string) {
		t.Run(one, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t)
				conn, told := c.clientFrom(one, readiness)
				for range 3 * seats {
					for _, other := range others {
						c.clientFrom(other, "")
					}
				}
				if !open(told) {
					t.Fatalf("the connection of %s had to go for those of %q", one, others)
				}
				go func() { _, _ = io.WriteString(conn, readiness) }()
				if code, ok := <-told; !ok || code != http.StatusOK {
					t.Errorf("it is not answered: %d", code)
				}
			})
		})
	}
	f("192.0.2.1", "192.0.2.2")
	f("::ffff:192.0.2.1", "192.0.2.2", "::ffff:192.0.2.2")
	f("2001:db8:1::1", "2001:db8:2::1", "2001:db8:2::2", "2001:db8:2::3", "2001:db8:2:0:a::")
	f("192.0.2.1", "::1")
}

// TestWhoWaitsLongestGoesFirst: a connection that is being answered is the last to go.
func TestWhoWaitsLongestGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		_, answered := c.client("GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
		conn, first := c.client(readiness)
		_, second := c.client(readiness)
		if _, err := io.WriteString(conn, readiness); err != nil { // the first has been idle for less long now
			t.Fatal(err)
		}
		synctest.Wait()
		_, third := c.client("")
		for range second { // until the server hangs up
		}
		if !open(answered) || !open(first) || open(second) || !open(third) {
			t.Errorf("left are answered %t, first %t, second %t, third %t; want all but the second", open(answered), open(first), open(second), open(third))
		}
		close(c.release)
		if code := <-answered; code != http.StatusOK {
			t.Errorf("the answer that was at work: %d", code)
		}
	})
}

// TestCutConnectionsAreBoundedToo: handlers that do not end by themselves when their connection is
// cut cannot pile up.
func TestCutConnectionsAreBoundedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		atWork, release := make(chan struct{}, 100), make(chan struct{})
		server := api.New(api.Sources{
			Ready: func() []api.Component { return nil },
			Status: func(context.Context) (any, error) {
				atWork <- struct{}{}
				<-release
				return "done", nil
			},
			Metrics: prometheus.NewRegistry(),
		}, api.Options{MaxConnections: seats}).Server(t.Context())
		c := &crowd{t: t, listener: &pipe{connections: make(chan net.Conn), closed: make(chan struct{})}}
		served := make(chan error, 1)
		go func() { served <- server.Serve(c.listener) }()
		for range 10 * seats {
			c.client("GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
		}
		if n := len(atWork); n != 2*seats {
			t.Errorf("%d requests are at work, want %d", n, 2*seats)
		}
		close(release)
		synctest.Wait()
		c.probe()
		_ = server.Close()
		<-served
	})
}
