package api_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/api"
)

// dial begins a connection to a server that serves it in the bubble of the test.
func dial(t *testing.T, server *http.Server) net.Conn {
	t.Helper()
	listener := &pipe{connections: make(chan net.Conn), closed: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	client, remote := net.Pipe()
	listener.connections <- remote
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		<-served
	})
	return client
}

// TestASlowClientIsCutOff: whatever a client leaves undone, its connection does not stay.
func TestASlowClientIsCutOff(t *testing.T) {
	f := func(name, sent string, within time.Duration) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := (&bundle{}).server().Server(t.Context())
				client, begun := dial(t, server), time.Now()
				go func() { _, _ = io.WriteString(client, sent) }()
				_, _ = io.Copy(io.Discard, client) // until the server hangs up
				if took := time.Since(begun); took > within || took < time.Second {
					t.Errorf("cut off after %s, want %s", took, within)
				}
			})
		})
	}
	f("says nothing", "", 5*time.Second)
	f("stops in the request line", "GET /hea", 5*time.Second)
	f("stops in a header", "GET /healthz HTTP/1.1\r\nHost: h\r\nX-Long: y", 5*time.Second)
	f("stops in the body", "GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nx", 10*time.Second)
	f("asks for nothing more", "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 2*time.Minute)
}

// TestAClientThatDoesNotReadIsCutOff: an answer cannot hold the server's memory for long.
func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := (&bundle{status: strings.Repeat("x", 1<<20)}).server().Server(t.Context())
		ended := make(chan time.Time, 1)
		server.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				ended <- time.Now()
			}
		}
		client, begun := dial(t, server), time.Now()
		if _, err := io.WriteString(client, "GET /status HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if took := (<-ended).Sub(begun); took > time.Minute {
			t.Errorf("cut off after %s", took)
		}
	})
}

func TestAPanicIsAnAnswerAndALineInTheLog(t *testing.T) {
	b := &bundle{}
	b.opts.Logger = zerolog.New(&b.log)
	s := api.New(api.Sources{
		Ready: func() []api.Component { panic("out of order") }, Status: func(context.Context) (any, error) { return "never asked", nil },
		Metrics: prometheus.NewRegistry(),
	}, b.opts)
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, "/readyz?token="+keptKey, http.NoBody)
	request.Host = "localhost"
	request.Header.Set("Authorization", "Bearer "+keptKey)
	s.Handler().ServeHTTP(recorder, request)
	golden(t, "internal.txt", recorder)
	if log := b.log.String(); !strings.Contains(log, `"level":"error"`) || !strings.Contains(log, "out of order") || !strings.Contains(log, "limits_test.go") {
		t.Errorf("the log does not say where: %s", log)
	} else if !strings.Contains(log, `"route":"GET /readyz"`) || strings.Contains(log, keptKey) {
		t.Errorf("the log names no route, or a key: %s", log)
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	b := &bundle{}
	for _, path := range []string{"/healthz", "/readyz", "/status", "/metrics"} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"} {
			if r := b.do(method, path); r.Code != http.StatusMethodNotAllowed || r.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow: %s", method, path, r.Code, r.Header().Get("Allow"))
			}
		}
	}
}

// TestNoPathLeadsAroundTheToken: what the mux cleans, decodes or redirects must not reach a handler
// without it.
func TestNoPathLeadsAroundTheToken(t *testing.T) {
	b := &bundle{opts: api.Options{Token: "s3cret"}, status: guarded}
	b.components = []api.Component{{Name: guarded, Ready: true}}
	for _, path := range []string{
		"/status", "/%73tatus", "/./status", "//status", "/healthz/../status", "/status/", "/status?token=s3cret", "/healthz/%2e%2e/status", "/STATUS", "/status;x", "/readyz#",
	} {
		for _, header := range []string{
			"", "Bearer", "Bearer  s3cret", "Bearer\ts3cret", "Bearer s3cre", "Bearer S3CRET", "Bearer s3cret, s3cret", "Token s3cret", `Bearer "s3cret"`,
		} {
			request := httptest.NewRequest(http.MethodGet, "http://localhost"+path, http.NoBody)
			request.Header.Set("Authorization", header)
			recorder := httptest.NewRecorder()
			b.server().Handler().ServeHTTP(recorder, request)
			if recorder.Code == http.StatusOK || strings.Contains(recorder.Body.String(), guarded) || strings.Contains(fmt.Sprint(recorder.Header(), recorder.Body), "s3cret") {
				t.Errorf("%s with %q: %d %s", path, header, recorder.Code, recorder.Body)
			}
		}
	}
}
