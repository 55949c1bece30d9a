package hub

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
)

func TestATokenGoesOverHTTPSOrToThisMachineAlone(t *testing.T) {
	f := func(address string, goes bool) {
		t.Helper()
		c, err := newClient(address, testToken)
		if err == nil {
			c.close()
		}
		if (err == nil) != goes {
			t.Errorf("%s: %v", address, err)
		}
		if !goes {
			u, _ := url.Parse(address)
			want := "a token goes over https or to this machine alone, and encoder.hub is http://" + u.Host
			if err == nil || err.Error() != want || fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), "encoder.hub_token") ||
				strings.Contains(fault.Try(err), testToken) {
				t.Errorf("%s: %v, try %q", address, err, fault.Try(err))
			}
		}
		without, err := newClient(address, "")
		if err != nil {
			t.Errorf("%s without a token: %v", address, err)
			return
		}
		without.close()
	}
	f("https://hub.example", true)
	f("http://127.0.0.1:8080", true)
	f("http://127.8.9.1", true)
	f("http://[::1]:8080", true)
	f("http://[::ffff:127.0.0.1]", true)
	f("http://localhost:8080", true)
	f("http://hub.example", false)
	f("http://localhost.hub.example", false)
	f("http://127.0.0.1.hub.example", false)
	f("http://192.168.0.7", false)
	f("http://0.0.0.0", false)
	f("http://2130706433", false) // 127.0.0.1 to some resolvers
	f("http://localhost.", false)
}

// TestNothingIsSentWithATokenThatMustNotGo: 0.0.0.0 leads to a server of this machine, and is an
// address of no machine.
func TestNothingIsSentWithATokenThatMustNotGo(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	o := f.options(t.TempDir())
	o.Address = strings.Replace(f.hub.URL, "127.0.0.1", "0.0.0.0", 1)
	if _, err := Pull(t.Context(), o); len(f.requests) == 0 {
		t.Fatalf("the server is not reached without a token either: %v", err)
	}
	f.requests, o.Token = nil, testToken
	if _, err := Pull(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "a token goes over https or to this machine alone") {
		t.Errorf("%v", err)
	}
	if len(f.requests) > 0 {
		t.Errorf("asked for %v", f.requests)
	}
}

func TestRedirectsToALessSafePlaceAreNotFollowed(t *testing.T) {
	f := func(from, to string, want bool) {
		t.Helper()
		a, errA := url.Parse(from)
		b, errB := url.Parse(to)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if got := mayFollow(a, b); got != want {
			t.Errorf("%s to %s: %v", from, to, got)
		}
	}
	f("https://hub.example", "https://cdn.example", true)
	f("https://hub.example", "http://hub.example", false)
	f("https://hub.example", "http://cdn.example", false)
	f("https://hub.example", "http://127.0.0.1", false)
	f("https://hub.example", "https://localhost", false)
	f("https://hub.example", "http://169.254.169.254", false)
	f("http://hub.example", "http://cdn.example", true) // without a token, by the user's own choice
	f("http://hub.example", "https://cdn.example", true)
	f("http://hub.example", "http://127.0.0.1", false)
	f("http://127.0.0.1:1", "http://127.0.0.1:2", true)
	f("http://127.0.0.1:1", "https://cdn.example", true)
	f("http://127.0.0.1:1", "http://cdn.example", false)
	f("http://127.0.0.1:1", "http://10.0.0.1", false)
}

// scripted answers requests by their address: with a redirect, or with a body where it holds no
// "://".
type scripted struct {
	answers map[string]string
	asked   []string
	tokens  []string
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	address := r.URL.String()
	s.asked = append(s.asked, address)
	if r.Header.Get("Authorization") != "" {
		s.tokens = append(s.tokens, address)
	}
	answer := s.answers[address]
	response := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r, ContentLength: -1}
	if strings.Contains(answer, "://") {
		response.StatusCode = http.StatusFound
		response.Header.Set("Location", answer)
	}
	return response, nil
}

func TestARedirectIsFollowedAsFarAsItIsSafe(t *testing.T) {
	const begin = "https://hub.example/begin"
	f := func(chain []string, wantAsked int, wantTokens []string, want string) {
		t.Helper()
		s := &scripted{answers: map[string]string{}}
		from := begin
		for _, to := range chain {
			s.answers[from] = to
			from = to
		}
		s.answers[from] = "content"
		c, err := newClient("https://hub.example", testToken)
		if err != nil {
			t.Fatal(err)
		}
		c.http.Transport = s
		target, _ := url.Parse(begin)
		a, err := c.get(t.Context(), target, Reference{Name: testName, Revision: "main"}, "a file")
		got := ""
		if err != nil {
			got = err.Error()
			if fault.KindOf(err) != fault.Usage {
				t.Errorf("kind %v", fault.KindOf(err))
			}
		} else {
			a.close()
		}
		if got != want || len(s.asked) != wantAsked {
			t.Errorf("%v: %q, want %q; asked for %v", chain, got, want, s.asked)
		}
		if strings.Join(s.tokens, " ") != strings.Join(append([]string{begin}, wantTokens...), " ") {
			t.Errorf("%v: the token went to %v", chain, s.tokens)
		}
	}
	f(nil, 1, nil, "")
	f([]string{"https://cdn.example/x"}, 2, nil, "")
	// net/http itself would send the token to a subdomain; back at the hub it is the hub's again.
	f([]string{"https://cdn.hub.example/x", "https://hub.example/y"}, 3, []string{"https://hub.example/y"}, "")
	f([]string{"https://hub.example:8443/x"}, 2, nil, "")
	f([]string{"https://HUB.example/x"}, 2, nil, "")
	f([]string{"http://hub.example/x"}, 1, nil,
		"https://hub.example redirects to http://hub.example for a file of model acme/tiny, which is not followed: it is less safe")
	f([]string{"https://cdn.example/x", "http://cdn.example/y", "https://hub.example/z"}, 2, nil,
		"https://cdn.example redirects to http://cdn.example for a file of model acme/tiny, which is not followed: it is less safe")
	f([]string{"https://cdn.example/x", "http://127.0.0.1:9187/y"}, 2, nil,
		"https://cdn.example redirects to http://127.0.0.1:9187 for a file of model acme/tiny, which is not followed: it is less safe")
	f([]string{"https://user:secret@cdn.example/x"}, 1, nil, "hub.example redirects to something that is no address for a file of model acme/tiny")
	endless := make([]string, maxRedirects)
	for i := range endless {
		endless[i] = "https://cdn.example/" + strings.Repeat("x", i+1)
	}
	f(endless, maxRedirects, nil, "cdn.example redirects without end for a file of model acme/tiny")
}

func TestAHubOfThisMachineLeadsToNoPlainAddress(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/resolve/"+testCommit+"/"+weightsFile) {
			return false
		}
		http.Redirect(w, r, "http://cdn.example/weights", http.StatusFound)
		return true
	}
	folder := t.TempDir()
	_, err := Pull(t.Context(), f.options(folder))
	want := f.hub.URL + " redirects to http://cdn.example for model.safetensors of model acme/tiny, which is not followed: it is less safe"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	nothingLeft(t, folder)
}
