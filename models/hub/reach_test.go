package hub

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
)

func TestEveryAddressHasItsZone(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("2001:db8::5")}
	for address, want := range map[string]zone{
		"8.8.8.8": public, "2606:4700::1": public, "203.0.113.6": public, "172.32.0.1": public, "100.128.0.1": public, "64:ff9b::808:808": public,
		"10.0.0.1": private, "172.16.0.1": private, "192.168.1.1": private, "fd00::1": private, "100.64.0.1": private, "198.18.0.1": private,
		"::ffff:10.0.0.1": private, "64:ff9b::a00:1": private, "2002:a00:1::": private,
		"169.254.169.254": link, "fe80::1%eth0": link, "64:ff9b::a9fe:a9fe": link, "224.0.0.1": link, "ff02::1": link, "255.255.255.255": link,
		"127.0.0.1": machine, "127.8.9.1": machine, "::1": machine, "0.0.0.0": machine, "::": machine, "0.1.2.3": machine, "::ffff:127.0.0.1": machine,
		"203.0.113.5": machine, "::ffff:203.0.113.5": machine, "2001:db8::5": machine, "64:ff9b::7f00:1": machine, "2002:7f00:1::": machine,
	} {
		if got := zoneOf(netip.MustParseAddr(address), own); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
	for _, a := range ownAddresses() {
		if zoneOf(a, ownAddresses()) != machine {
			t.Errorf("%s is none of this machine", a)
		}
	}
	for from, to := range map[zone][]zone{public: {public}, private: {public, private}, link: {public, link}, machine: {public, private, machine}} {
		for _, z := range []zone{public, private, link, machine} {
			if from.leads(z) != slices.Contains(to, z) {
				t.Errorf("from %s to %s: %v", from, z, from.leads(z))
			}
		}
	}
}

// victim is a service of this machine, on every address that it has.
func victim(t *testing.T) (port string, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	_, port, err = net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, asked
}

// seenAs is a client to which the hub's port seems to be in a zone; every other address is judged
// as it is.
func seenAs(t *testing.T, hub string, z zone) *client {
	t.Helper()
	c, err := newClient(hub, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	asIs, port := c.reach.zone, c.base.Port()
	c.reach.zone = func(a netip.AddrPort) zone {
		if fmt.Sprint(a.Port()) == port {
			return z
		}
		return asIs(a)
	}
	return c
}

// redirecting is a hub that redirects everything to one place.
func redirecting(t *testing.T, start func(http.Handler) *httptest.Server, to *string) *httptest.Server {
	t.Helper()
	hub := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, *to, http.StatusFound) }))
	t.Cleanup(hub.Close)
	return hub
}

func ask(t *testing.T, c *client) error {
	t.Helper()
	a, err := c.get(t.Context(), c.base, Reference{Name: testName, Revision: defaultRevision}, "a file")
	if err == nil {
		_, err = io.Copy(io.Discard, a.body)
		a.close()
	}
	return err
}

// TestAHubLeadsToNoServiceOfThisMachine tries every name and address that this machine has.
func TestAHubLeadsToNoServiceOfThisMachine(t *testing.T) {
	port, asked := victim(t)
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"0.0.0.0", "127.0.0.1", "127.1.2.3", "LOCALHOST", "localhost.", name}
	for _, a := range ownAddresses() {
		if a.Is4() {
			hosts = append(hosts, a.String())
		}
	}
	var to string
	hub := redirecting(t, httptest.NewServer, &to)
	for _, seen := range []zone{public, private, link} {
		for _, host := range hosts {
			to = "http://" + host + ":" + port + "/secrets"
			err := ask(t, seenAs(t, hub.URL, seen))
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "that is an address of this machine") && !strings.Contains(err.Error(), "is less safe") {
				t.Errorf("%s to %s: %v", seen, to, err)
			}
		}
	}
	if asked.Load() > 0 {
		t.Errorf("%d requests arrived", asked.Load())
	}
	to = "http://127.0.0.1:" + port
	if err := ask(t, seenAs(t, hub.URL, machine)); err != nil || asked.Load() != 1 {
		t.Errorf("a hub of this machine: %v, %d requests", err, asked.Load())
	}
}

// TestAnHTTPSHubLeadsToNoServiceOfThisMachine: its own certificate proves nothing about where it
// leads.
func TestAnHTTPSHubLeadsToNoServiceOfThisMachine(t *testing.T) {
	asked := &atomic.Int32{}
	service := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(service.Close)
	to := strings.Replace(service.URL, "127.0.0.1", "0.0.0.0", 1)
	hub := redirecting(t, httptest.NewTLSServer, &to)
	c := seenAs(t, hub.URL, public)
	transport := c.http.Transport.(*http.Transport)
	transport.TLSClientConfig = hub.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	transport.TLSClientConfig.InsecureSkipVerify = true
	want := strings.TrimPrefix(hub.URL, "https://") + " leads to " + strings.TrimPrefix(to, "https://") +
		" for a file of model acme/tiny, which is not followed: that is an address of this machine"
	if err := ask(t, c); err == nil || err.Error() != want || asked.Load() > 0 {
		t.Errorf("%v, %d requests; want %s", err, asked.Load(), want)
	}
}

// TestAHubLeadsIntoItsOwnNetworkAlone has no such networks: whether a connection is tried is
// judged.
func TestAHubLeadsIntoItsOwnNetworkAlone(t *testing.T) {
	for _, c := range []struct {
		hub  zone
		to   string
		open bool
	}{
		{public, "169.254.169.254:80", false},
		{public, "10.0.0.7:80", false},
		{public, "8.8.8.8:80", true},
		{private, "10.0.0.7:443", true},
		{private, "169.254.169.254:80", false},
		{machine, "169.254.169.254:80", false},
		{machine, "10.0.0.7:80", true},
		{link, "169.254.169.254:80", true},
	} {
		r := newReach()
		r.known, r.hub = true, c.hub
		if err := r.judge(toOther, netip.MustParseAddrPort(c.to)); (err == nil) != c.open {
			t.Errorf("from %s to %s: %v", c.hub, c.to, err)
		}
	}
}

// TestANameThatMovesLeadsNowhere: the hub's name is at a public address first, and at this
// machine's when it is asked for again.
func TestANameThatMovesLeadsNowhere(t *testing.T) {
	var requests atomic.Int32
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Connection", "close") // so that the name is looked up again
		http.Redirect(w, r, "/again", http.StatusFound)
	}))
	t.Cleanup(hub.Close)
	c := seenAs(t, hub.URL, public)
	seen := c.reach.zone
	c.reach.zone = func(a netip.AddrPort) zone {
		if requests.Load() > 0 {
			return machine
		}
		return seen(a)
	}
	if err := ask(t, c); err == nil || !strings.Contains(err.Error(), "that is an address of this machine") || requests.Load() != 1 {
		t.Errorf("%v, %d requests", err, requests.Load())
	}
}

// TestAProxyIsReachedWhereverItIs: the person's environment names it. It makes the connections, but
// to no private address that stands in a redirect.
func TestAProxyIsReachedWhereverItIs(t *testing.T) {
	var asked []string
	to := "http://cdn.example/x"
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		if r.URL.Host == "hub.example" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	}))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := func(want string, requests int) {
		t.Helper()
		c := seenAs(t, "http://hub.example", public)
		c.http.Transport.(*http.Transport).Proxy = http.ProxyURL(address)
		asked = nil
		got := ""
		if err := ask(t, c); err != nil {
			got = err.Error()
		}
		if len(asked) != requests || (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("to %s: %s; asked for %v", to, got, asked)
		}
	}
	f("", 2)
	to = "http://169.254.169.254/latest"
	f("that is an address of the local link", 1)
	to = "http://[::ffff:10.0.0.1]/"
	f("that is an address of a private network", 1)
}
