package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/api"
)

// pipe is a listener with connections within the process, so that a fuzzer is not bound by the
// machine's ports.
type pipe struct {
	connections chan net.Conn
	closed      chan struct{}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error   { close(p.closed); return nil }
func (p *pipe) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

const (
	fuzzToken = "t0ken-of-the-fuzzed-server"
	// guarded stands in everything that only the token opens.
	guarded = "guarded_answer"
)

// fuzzedServer answers with guarded at every path that asks for the token.
func fuzzedServer(log io.Writer) *http.Server {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: guarded, Help: "Of the metrics."}))
	handler := api.New(api.Sources{
		Ready:   func() []api.Component { return []api.Component{{Name: guarded, Ready: true}} },
		Status:  func(context.Context) (any, error) { return guarded, nil },
		Metrics: registry,
	}, api.Options{Token: fuzzToken, AllowedHosts: []string{"h"}, Version: "v1", Logger: zerolog.New(log)})
	return handler.Server(context.Background())
}

// FuzzHTTP sends any bytes to the server, which serves them as it does outside of tests. Whatever
// they are, it does not panic or fail, each of its answers is well formed and short, nothing that
// the token guards is given without it, and the connection ends.
func FuzzHTTP(f *testing.F) {
	for _, path := range []string{"/healthz", "/readyz", "/status", "/metrics", "/", "/healthz/../status", "//status", "/status?x=%zz", "/%73tatus", "*", "http://h/status"} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "CONNECT"} {
			f.Add([]byte(method + " " + path + " HTTP/1.1\r\nHost: h\r\n\r\n"))
		}
	}
	for _, header := range []string{
		"Authorization: Bearer " + fuzzToken, "Authorization: bearer  " + fuzzToken, "Authorization: Bearer", "Authorization:", "authorization: Basic x:y",
		"Authorization: Bearer wrong\r\nAuthorization: Bearer " + fuzzToken, "Content-Length: 5\r\n\r\nabcde", "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0",
		"Content-Length: -1", "Content-Length: 9\r\nTransfer-Encoding: chunked", "Accept-Encoding: gzip", "Expect: 100-continue\r\nContent-Length: 1",
		"Connection: close", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__", "X: " + strings.Repeat("y", 20<<10),
	} {
		f.Add([]byte("GET /metrics HTTP/1.1\r\nHost: h\r\n" + header + "\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n"))
	}
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
	f.Add([]byte("GET /status HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"))
	f.Add([]byte("GET\t/status\tHTTP/9.9\n\n"))
	for _, host := range []string{"evil.example", "localhost:9187", "[::1]", "127.0.0.1:1", "h:h", "", "h.", "[h]", "u@h", "127.0.0.1.evil.example"} {
		f.Add([]byte("GET /status HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer " + fuzzToken + "\r\n\r\n"))
		f.Add([]byte("GET http://" + host + "/healthz HTTP/1.1\r\nHost: h\r\n\r\n"))
	}

	log := &panicWatch{}
	server, listener := fuzzedServer(log), &pipe{connections: make(chan net.Conn), closed: make(chan struct{})}
	go func() { _ = server.Serve(listener) }()
	f.Cleanup(func() { _ = server.Close() })
	f.Fuzz(func(t *testing.T, request []byte) {
		answers := exchange(t, listener, request)
		checkAnswers(t, request, answers)
		if log.seen.Load() {
			t.Fatalf("%q made it panic", request)
		}
	})
}

// panicWatch is a log that keeps only whether there was a panic.
type panicWatch struct{ seen atomic.Bool }

func (w *panicWatch) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("panic")) {
		w.seen.Store(true)
	}
	return len(p), nil
}

// exchange sends the bytes as the whole of a connection and returns all that came back.
func exchange(t *testing.T, listener *pipe, request []byte) []byte {
	client, server := net.Pipe()
	if err := client.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	listener.connections <- &halfClosed{Conn: server, request: bytes.NewReader(request)}
	answers, err := io.ReadAll(client)
	if err != nil {
		t.Fatalf("%q: the connection does not end: %v", request, err)
	}
	return answers
}

// halfClosed is a connection whose client has sent everything and waits for the answers.
type halfClosed struct {
	net.Conn
	request *bytes.Reader
}

func (h *halfClosed) Read(p []byte) (int, error) { return h.request.Read(p) }

func checkAnswers(t *testing.T, request, answers []byte) {
	open := bytes.Contains(request, []byte(fuzzToken))
	if bytes.Contains(answers, []byte(fuzzToken)) || !open && bytes.Contains(answers, []byte(guarded)) {
		t.Fatalf("%q was told a secret: %q", request, answers)
	}
	if len(answers) > 16<<10+64*len(request) {
		t.Fatalf("%d bytes for a request of %d", len(answers), len(request))
	}
	reader := bufio.NewReader(bytes.NewReader(answers))
	for range 1 + len(request)/16 {
		if _, err := reader.Peek(1); err != nil {
			return
		}
		if checkAnswer(t, request, reader) {
			return
		}
	}
}

// checkAnswer checks the next answer; last is true when nothing can be told of what follows it.
func checkAnswer(t *testing.T, request []byte, reader *bufio.Reader) (last bool) {
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return true // behind the answer to a HEAD, or a HTTP/0.9 refusal
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
	case http.StatusServiceUnavailable: // the metrics of a client that has gone
	default:
		if response.StatusCode >= http.StatusInternalServerError {
			t.Fatalf("%q: %s", request, response.Status)
		}
	}
	if bytes.Contains(request, []byte("HEAD")) {
		return true // its answer announces a body that does not come
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%q: the body ends early: %v", request, err)
	}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") && !json.Valid(body) {
		t.Fatalf("%q: no JSON: %q", request, body)
	}
	return false
}
