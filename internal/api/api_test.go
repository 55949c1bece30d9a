package api_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/wal2vec/wal2vec/internal/api"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
)

var update = flag.Bool("update", false, "write golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is a server whose sources the test sets.
type bundle struct {
	components []api.Component
	status     any
	err        error
	log        strings.Builder
	opts       api.Options
}

func (b *bundle) server() *api.Server {
	registry := prometheus.NewRegistry()
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "wal2vec_up", Help: "1 while the process answers."})
	up.Set(1)
	registry.MustRegister(up)
	b.opts.Logger = zerolog.New(&b.log)
	return api.New(api.Sources{
		Ready:   func() []api.Component { return b.components },
		Status:  func(context.Context) (any, error) { return b.status, b.err },
		Metrics: registry,
	}, b.opts)
}

func (b *bundle) do(method, path string, headers ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, nil)
	request.Host = "localhost"
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	b.server().Handler().ServeHTTP(recorder, request)
	return recorder
}

// golden compares the status line, the headers that matter and the body.
func golden(t *testing.T, name string, r *httptest.ResponseRecorder) {
	t.Helper()
	got := fmt.Sprintf("%d\nContent-Type: %s\nAllow: %s\nWWW-Authenticate: %s\n\n%s", r.Code, r.Header().Get("Content-Type"),
		r.Header().Get("Allow"), r.Header().Get("WWW-Authenticate"), r.Body)
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it); got\n%s", path, got)
	}
}

func TestAnswers(t *testing.T) {
	b := &bundle{
		opts:       api.Options{Version: "v1.2.3"},
		components: []api.Component{{Name: "stream", Ready: true}, {Name: "source", Ready: true, Reason: "answered 3 s ago"}},
		status:     map[string]any{"phase": "streaming", "query": "a<b", "lag_seconds": nil},
	}
	golden(t, "healthz.txt", b.do(http.MethodGet, "/healthz"))
	golden(t, "ready.txt", b.do(http.MethodGet, "/readyz"))
	golden(t, "status.txt", b.do(http.MethodGet, "/status"))
	golden(t, "metrics.txt", b.do(http.MethodGet, "/metrics"))
	golden(t, "not_found.txt", b.do(http.MethodGet, "/"))
	golden(t, "method.txt", b.do(http.MethodPost, "/status"))
	b.components = append(b.components, api.Component{Name: "sink", Reason: "connection refused"})
	golden(t, "not_ready.txt", b.do(http.MethodGet, "/readyz"))
	b.components = nil
	golden(t, "ready_empty.txt", b.do(http.MethodGet, "/readyz"))
	if r := b.do(http.MethodHead, "/healthz"); r.Code != http.StatusOK {
		t.Errorf("HEAD /healthz: %d", r.Code)
	}
}

func TestErrorsKeepTheirDetailsInTheLog(t *testing.T) {
	b := &bundle{}
	f := func(err error, name string) {
		t.Helper()
		b.err = err
		golden(t, name, b.do(http.MethodGet, "/status"))
	}
	f(errors.New("secret detail"), "internal.txt")
	f(fmt.Errorf("reading slot: secret detail: %w", context.DeadlineExceeded), "unavailable.txt")
	f(fault.New(fault.Usage, "wal2vec init", "secret detail"), "not_set_up.txt")
	if n := strings.Count(b.log.String(), "secret detail"); n != 3 {
		t.Errorf("%d errors in the log:\n%s", n, b.log.String())
	}
	b.err, b.status = nil, make(chan int) // cannot be marshalled
	golden(t, "unmarshallable.txt", b.do(http.MethodGet, "/status"))
}

// TestWhoAsksForWhatIsNotThereIsTold: what is wrong with the request, and not what led there.
func TestWhoAsksForWhatIsNotThereIsTold(t *testing.T) {
	b := &bundle{}
	f := func(err error, name string) {
		t.Helper()
		b.err = err
		golden(t, name, b.do(http.MethodGet, "/status"))
	}
	f(fmt.Errorf("secret detail: %w", fault.Unanswerable("check the columns", `column "colour" does not exist`)), "bad_request.txt")
	f(fault.Wrap(fault.Unanswerable("", "secret detail"), fault.Unavailable, "", "secret detail"), "unavailable.txt")
	f(fault.New(fault.Usage, "", "secret detail"), "not_set_up.txt")
}

func TestTheTokenIsAskedForEverywhereButAtHealthz(t *testing.T) {
	b := &bundle{opts: api.Options{Token: "s3cret"}}
	golden(t, "unauthorized.txt", b.do(http.MethodGet, "/metrics"))
	f := func(want int, path string, headers ...string) {
		t.Helper()
		if r := b.do(http.MethodGet, path, headers...); r.Code != want {
			t.Errorf("%s with %q: %d, want %d", path, headers, r.Code, want)
		}
	}
	f(200, "/healthz")
	for _, path := range []string{"/readyz", "/status", "/metrics"} {
		f(401, path)
		f(401, path, "Authorization", "Bearer wrong!")
		f(401, path, "Authorization", "Bearer ")
		f(401, path, "Authorization", "Bearer s3cret2")
		f(401, path, "Authorization", "Basic s3cret")
		f(401, path, "Authorization", "s3cret")
		f(200, path, "Authorization", "Bearer s3cret")
		f(200, path, "Authorization", "bearer s3cret")
	}
	f(404, "/nothing")
}

// serve runs a server on a free port until the returned function is called; that returns Run's
// error.
func (b *bundle) serve(t *testing.T, s *api.Server) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestRunServesAndFinishesWhatIsInFlight(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	b := &bundle{opts: api.Options{Listen: "127.0.0.1:0"}}
	b.opts.Logger = zerolog.New(&b.log)
	s := api.New(api.Sources{
		Ready: func() []api.Component { return nil },
		Status: func(ctx context.Context) (any, error) {
			close(entered)
			<-release
			return "done", ctx.Err() // the request outlives the end of the server
		},
		Metrics: prometheus.NewRegistry(),
	}, b.opts)
	if s.Addr() != "" {
		t.Error("it does not listen yet")
	}
	stop := b.serve(t, s)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	if code, body := get(t, client, "http://"+s.Addr()+"/healthz"); code != 200 || !strings.Contains(body, "alive") {
		t.Errorf("%d %s", code, body)
	}
	type answer struct {
		code int
		body string
	}
	answered := make(chan answer, 1)
	go func() {
		code, body := get(t, client, "http://"+s.Addr()+"/status")
		answered <- answer{code, body}
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	refused(t, s.Addr())
	close(release)
	if a := <-answered; a.code != 200 || !strings.Contains(a.body, "done") {
		t.Errorf("%+v", a)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if b.log.Len() != 0 {
		t.Errorf("the log is not silent: %s", b.log.String())
	}
}

// refused waits until no process listens.
func refused(t *testing.T, addr string) {
	t.Helper()
	var dialer net.Dialer
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for range ticker.C {
		conn, err := dialer.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

func TestATakenAddressIsNamed(t *testing.T) {
	var config net.ListenConfig
	taken, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	b := &bundle{opts: api.Options{Listen: taken.Addr().String()}}
	err = b.server().Run(t.Context())
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(fault.Try(err), "http.listen") {
		t.Errorf("%v", err)
	}
}

func TestAnOpenAddressWithoutTokenIsWarnedOf(t *testing.T) {
	f := func(want bool, listen, token string) {
		t.Helper()
		b := &bundle{opts: api.Options{Listen: listen, Token: config.Secret(token)}}
		s := b.server()
		if err := b.serve(t, s)(); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(b.log.String(), "set http.token"); got != want {
			t.Errorf("%s with token %q: warned %t", listen, token, got)
		}
	}
	f(false, "127.0.0.1:0", "")
	f(true, "0.0.0.0:0", "")
	f(false, "0.0.0.0:0", "t")
}

// Oversized requests are refused before anything of ours sees them.
func TestLimits(t *testing.T) {
	b := &bundle{opts: api.Options{Listen: "127.0.0.1:0"}}
	s := b.server()
	stop := b.serve(t, s)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+"/healthz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 64 KiB: %d", response.StatusCode)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
