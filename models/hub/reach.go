package hub

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"
)

// zone says from where an address is reached.
type zone int

const (
	public  zone = iota
	private      // from the same site: RFC 1918, unique local, a provider's own
	link         // from the same wire, where clouds have their metadata
	machine      // from this machine
)

// String follows "that is".
func (z zone) String() string {
	return [...]string{"a public address", "an address of a private network", "an address of the local link", "an address of this machine"}[z]
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")     // 0.0.0.0 is this machine
	carrier     = netip.MustParsePrefix("100.64.0.0/10") // behind a provider's translation
	benchmark   = netip.MustParsePrefix("198.18.0.0/15") // of test networks, and of proxies that give every name an address of their own
	translated  = netip.MustParsePrefix("64:ff9b::/96")  // the last four bytes are an address of IPv4
	sixToFour   = netip.MustParsePrefix("2002::/16")     // the four bytes behind it are one
)

// zoneOf judges an address; own are those of this machine.
func zoneOf(addr netip.Addr, own []netip.Addr) zone {
	addr = addr.Unmap().WithZone("")
	if bytes := addr.As16(); translated.Contains(addr) {
		addr = netip.AddrFrom4([4]byte(bytes[12:]))
	} else if sixToFour.Contains(addr) {
		addr = netip.AddrFrom4([4]byte(bytes[2:6]))
	}
	switch {
	case addr.IsLoopback(), addr.IsUnspecified(), thisNetwork.Contains(addr), slices.Contains(own, addr):
		return machine
	case addr.IsLinkLocalUnicast(), addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return link
	case addr.IsPrivate(), carrier.Contains(addr), benchmark.Contains(addr):
		return private
	default:
		return public
	}
}

// ownAddresses are those of this machine's interfaces.
func ownAddresses() []netip.Addr {
	list, _ := net.InterfaceAddrs() // without them the general ones are left
	var own []netip.Addr
	for _, a := range list {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, prefix.Addr().Unmap().WithZone(""))
		}
	}
	return own
}

// leads reports whether a hub in one zone may lead to another one: a public hub to public
// addresses, one of a site to its private ones too, one of this machine to both and to the
// machine's own. To a link leads a hub on a link alone.
func (z zone) leads(to zone) bool {
	return to == public || to == z || to == private && z == machine
}

// reach keeps a hub from being a way into the networks that this machine sees. The address is
// judged that a connection is made to, behind every name and its resolver. Where the hub itself is,
// the person who named it has chosen; that counts from the first connection on, so that a name
// which moves later leads nowhere else.
type reach struct {
	dialer net.Dialer
	zone   func(netip.AddrPort) zone // of the system, but for tests

	mu    sync.Mutex
	known bool
	hub   zone
}

func newReach() *reach {
	r := &reach{zone: func(a netip.AddrPort) zone { return zoneOf(a.Addr(), ownAddresses()) }}
	const patience, keepAlive = 30 * time.Second, 30 * time.Second // net/http's own
	r.dialer = net.Dialer{Timeout: patience, KeepAlive: keepAlive, ControlContext: r.control}
	return r
}

// way is how a request goes out.
type way int

const (
	toHub   way = iota
	toOther     // where the hub redirects to
	byProxy     // which the person's environment names, and which makes the connection
)

type wayKey struct{}

// closedError says that a hub leads to where it may not.
type closedError struct {
	address string
	zone    zone
}

func (e *closedError) Error() string { return fmt.Sprintf("%s is %s", e.address, e.zone) }

// control is called with each address before a connection is made to it.
func (r *reach) control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	to, _ := ctx.Value(wayKey{}).(way)
	if to == byProxy {
		return nil
	}
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return r.judge(to, parsed)
}

func (r *reach) judge(to way, address netip.AddrPort) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	z := r.zone(address)
	if to == toHub && !r.known || r.hub.leads(z) { // a hub behind a proxy counts as public
		return nil
	}
	return &closedError{address: address.String(), zone: z}
}

// dial connects and keeps where the hub is.
func (r *reach) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := r.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if to, _ := ctx.Value(wayKey{}).(way); to == toHub {
		if remote, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
			r.mu.Lock()
			if !r.known {
				r.known, r.hub = true, r.zone(remote)
			}
			r.mu.Unlock()
		}
	}
	return conn, nil
}

// way says how a request goes out, and refuses one that a proxy would make to an address that
// stands in it: behind a name, where a proxy leads is the proxy's to say.
func (c *client) way(request *http.Request) (way, error) {
	to := toOther
	if c.own(request.URL) {
		to = toHub
	}
	transport, ok := c.http.Transport.(*http.Transport)
	if !ok || transport.Proxy == nil {
		return to, nil
	}
	proxy, err := transport.Proxy(request)
	if err != nil || proxy == nil {
		return to, err
	}
	if addr, err := netip.ParseAddr(request.URL.Hostname()); err == nil && to == toOther {
		return byProxy, c.reach.judge(toOther, netip.AddrPortFrom(addr, 0))
	}
	return byProxy, nil
}

// own reports whether an address is the hub's: its scheme, host and port to the letter, so that
// neither a subdomain nor another port counts. net/http would send a token along to subdomains;
// here every request is made by itself, and this alone decides.
func (c *client) own(target *url.URL) bool {
	return target.Scheme == c.base.Scheme && target.Host == c.base.Host
}
