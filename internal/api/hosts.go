package api

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// protect sets what every answer says to a browser: nothing of it may be kept, framed, run, or read
// by the page of another site.
func protect(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
}

// misdirected reports whether a request names a host that this server does not answer to. A page of
// any site can have its own name lead to 127.0.0.1 (DNS rebinding): its browser then takes this
// server for that site and lets the page read what it answers. The browser still sends the site's
// name, which is looked at here. A request without a name is refused too: every browser sends one.
//
// What counts is the address that the connection came in on, not the one that is listened on, which
// may be all of them. Where that is no loopback address, other machines have to reach this one, and
// only the operator knows their names for it: an empty Options.AllowedHosts asks for nothing there.
// The name is that of the request line where that holds one (RFC 9112, 3.2.2); net/http puts it
// into Host.
func (s *Server) misdirected(r *http.Request) bool {
	local, known := localAddr(r)
	if known && !local.IsLoopback() && len(s.opts.AllowedHosts) == 0 {
		return false
	}
	name := hostName(r.Host)
	if name == "localhost" || slices.ContainsFunc(s.opts.AllowedHosts, func(allowed string) bool { return hostName(allowed) == name }) {
		return false
	}
	// An address cannot be rebound: the page of a site that was loaded from it is this server's
	// own.
	address, err := netip.ParseAddr(name)
	return err != nil || address.Zone() != "" || !address.Unmap().IsLoopback() && address.Unmap() != local
}

// localAddr returns this machine's address of the connection; known is false where it is none of
// IP, as within a test.
func localAddr(r *http.Request) (local netip.Addr, known bool) {
	addr, isTCP := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !isTCP {
		return netip.Addr{}, false
	}
	local, known = netip.AddrFromSlice(addr.IP)
	return local.Unmap(), known
}

// hostName is the name or address in a Host header, without port, brackets and the dot of the root,
// in lower case. What is none is returned as something that no name equals.
func hostName(host string) string {
	if name, port, err := net.SplitHostPort(host); err == nil {
		if strings.Trim(port, "0123456789") != "" {
			return ""
		}
		host = name
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
