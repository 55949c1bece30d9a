package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/api"
	"github.com/wal2vec/wal2vec/internal/config"
)

// cameIn is a request on a connection to the given address of this machine.
func cameIn(t *testing.T, local, host string) *http.Request {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/status", http.NoBody)
	request.Host = host
	return request.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP(local), Port: 9187})))
}

// TestOnlyRequestsToThisMachineAreAnswered: a page in a browser whose name leads to this machine
// reads nothing.
func TestOnlyRequestsToThisMachineAreAnswered(t *testing.T) {
	const loopback, other = "127.0.0.1", "192.0.2.7"
	f := func(want int, local, host string, allowed ...string) {
		t.Helper()
		b := &bundle{opts: api.Options{AllowedHosts: allowed}, status: guarded}
		recorder := httptest.NewRecorder()
		b.server().Handler().ServeHTTP(recorder, cameIn(t, local, host))
		if recorder.Code != want || strings.Contains(recorder.Body.String(), guarded) != (want == http.StatusOK) {
			t.Errorf("Host: %s at %s, with %q allowed: %d %s, want %d", host, local, allowed, recorder.Code, recorder.Body, want)
		}
	}
	for _, host := range []string{
		"localhost", "localhost:9187", "LocalHost:1", "localhost.", "localhost.:80", "127.0.0.1", "127.0.0.1:9187", "127.9.8.7", "[::1]", "[::1]:9187", "[::ffff:127.0.0.1]:9187",
	} {
		f(200, loopback, host)
		f(200, "::1", host)
		f(200, other, host, "wal2vec.internal") // no other site can have these names
	}
	for _, host := range []string{
		"evil.example", "evil.example:9187", "localhost.evil.example", "evil.localhost", "127.0.0.1.evil.example", "127.0.0.1.nip.io:9187", "", ":9187",
		"localhost:evil", "localhost:80:80", "[localhost]evil", "u@localhost", "localhost,evil.example", "localhost/", "192.0.2.7", "0.0.0.0", "[::]", "127.1", "2130706433",
		"0x7f000001", "[fe80::1%25lo]", "[::1%25lo]:80", "::1:evil", "xn--localhost",
	} {
		f(421, loopback, host)
		f(421, "::1", host)
		f(200, other, host) // other machines may ask there, and no list is set
		if host != other {
			f(421, other, host, "wal2vec.internal")
		}
	}
	f(200, loopback, "wal2vec.internal:443", "wal2vec.internal")
	f(200, loopback, "WAL2VEC.Internal.", "wal2vec.internal")
	f(200, loopback, "wal2vec.internal", "Wal2vec.INTERNAL")
	f(200, other, "wal2vec.internal", "10.0.0.9", "wal2vec.internal")
	f(200, other, "10.0.0.9:9187", "10.0.0.9")
	f(200, other, "[2001:db8::1]:9187", "2001:db8::1")
	f(421, other, "evil.wal2vec.internal", "wal2vec.internal")
	f(200, other, other+":9187", "wal2vec.internal") // the probe of a container, by its address
	f(200, "2001:db8::7", "[2001:db8::7]:9187", "wal2vec.internal")
	f(421, other, "192.0.2.8", "wal2vec.internal")
}

// exchangeRaw sends the bytes over a connection of its own and returns the first answer.
func exchangeRaw(t *testing.T, address, request string) (*http.Response, string) {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// TestTheHostIsThatOfTheRequestLine: what a real connection brings, with the name in either place.
func TestTheHostIsThatOfTheRequestLine(t *testing.T) {
	b := &bundle{opts: api.Options{Listen: "127.0.0.1:0"}, status: guarded}
	s := b.server()
	stop := b.serve(t, s)
	f := func(want int, request string) {
		t.Helper()
		response, body := exchangeRaw(t, s.Addr(), request+"\r\nConnection: close\r\n\r\n")
		if response.StatusCode != want || strings.Contains(body, guarded) != (want == http.StatusOK) {
			t.Errorf("%q: %d %s, want %d", request, response.StatusCode, body, want)
		}
		if want == http.StatusMisdirectedRequest && !strings.Contains(body, "http.allowed_hosts") {
			t.Errorf("the answer does not say what to do: %s", body)
		}
	}
	f(200, "GET /status HTTP/1.1\r\nHost: localhost:1")
	f(200, "GET /status HTTP/1.1\r\nHost: "+s.Addr())
	f(421, "GET /status HTTP/1.1\r\nHost: evil.example")
	f(421, "GET /healthz HTTP/1.1\r\nHost: evil.example")
	f(421, "GET /nothing HTTP/1.1\r\nHost: evil.example")
	f(421, "GET http://evil.example/status HTTP/1.1\r\nHost: localhost")
	f(421, "GET http://evil.example:80/status HTTP/1.1\r\nHost: evil.example")
	f(200, "GET http://localhost/status HTTP/1.1\r\nHost: localhost")
	f(421, "GET http://localhost@evil.example/status HTTP/1.1\r\nHost: localhost")
	f(400, "GET /status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example")
	f(400, "GET /status HTTP/1.1\r\nX: y")
	f(421, "GET /status HTTP/1.0\r\nX: y")
	f(421, "OPTIONS * HTTP/1.1\r\nHost: evil.example")
	f(404, "OPTIONS * HTTP/1.1\r\nHost: localhost")
	f(421, "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443")
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestEveryAnswerIsProtected: also the errors, for any method, with a token or without.
func TestEveryAnswerIsProtected(t *testing.T) {
	seen := map[int]bool{}
	check := func(what string, code int, header http.Header) {
		t.Helper()
		seen[code] = true
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store", "Server": "", "Access-Control-Allow-Origin": "",
		} {
			if got := strings.Join(header.Values(name), "|"); got != want {
				t.Errorf("%s: %d: %s: %q, want %q", what, code, name, got, want)
			}
		}
		if asks := header.Get("WWW-Authenticate") != ""; asks != (code == http.StatusUnauthorized) {
			t.Errorf("%s: %d with WWW-Authenticate: %q", what, code, header.Get("WWW-Authenticate"))
		}
	}
	for _, token := range []string{"", keptKey} {
		for _, err := range []error{nil, errors.New("out of order"), context.DeadlineExceeded} {
			b := &bundle{opts: api.Options{Token: config.Secret(token), Listen: "127.0.0.1:0"}, err: err}
			for _, path := range []string{"/healthz", "/readyz", "/status", "/metrics", "/", "//status", "/healthz/../status"} {
				for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
					for _, key := range []string{keptKey, "another"} {
						r := b.do(method, path, "Authorization", "Bearer "+key)
						check(fmt.Sprintf("%s %s with the token %q, given %q", method, path, token, key), r.Code, r.Header())
					}
				}
			}
			s := b.server()
			stop := b.serve(t, s)
			for _, request := range []string{"GET /status HTTP/1.1\r\nHost: evil.example", "OPTIONS * HTTP/1.1\r\nHost: localhost", "GET /metrics HTTP/1.1\r\nHost: localhost"} {
				response, _ := exchangeRaw(t, s.Addr(), request+"\r\nConnection: close\r\n\r\n")
				check(request, response.StatusCode, response.Header)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	}
	for _, code := range []int{200, 401, 404, 405, 421, 500, 503} {
		if !seen[code] {
			t.Errorf("no answer had status %d", code)
		}
	}
}

// keptKey is a token that no log may hold.
const keptKey = "k3pt-out-of-every-log"

// TestTheTokenIsNeverLogged gives it in every place that people put one, right and wrong, with
// answers that fail, at the lowest level of the log.
func TestTheTokenIsNeverLogged(t *testing.T) {
	b := &bundle{opts: api.Options{Token: keptKey, Listen: "127.0.0.1:0"}, err: errors.New("out of order")}
	s := b.server()
	stop := b.serve(t, s)
	for _, request := range []string{
		"GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + keptKey,
		"GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x" + keptKey,
		"GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic " + keptKey,
		"GET /status?token=" + keptKey + ";x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + keptKey,
		"GET /" + keptKey + " HTTP/1.1\r\nHost: localhost",
		"GET /status HTTP/1.1\r\nHost: " + keptKey,
		"GET http://u:" + keptKey + "@localhost/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + keptKey,
		"GET /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + keptKey,
		"GET /status HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: " + keptKey,
		keptKey,
	} {
		_, body := exchangeRaw(t, s.Addr(), request+"\r\nConnection: close\r\n\r\n")
		if strings.Contains(body, keptKey) {
			t.Errorf("%q is answered with the token: %s", request, body)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if log := b.log.String(); !strings.Contains(log, "out of order") || strings.Contains(log, keptKey) {
		t.Errorf("the log holds no failure, or the token: %s", log)
	}
}
