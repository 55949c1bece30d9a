package hub

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
)

// identity is the coding of a body that is sent as it is.
const identity = "identity"

// safe reports whether no one between here and an address can read or change what is sent.
func safe(address *url.URL) bool { return address.Scheme == "https" || loopback(address) }

// loopback reports whether an address is of this machine. A name that a resolver would have to be
// asked for is not.
func loopback(address *url.URL) bool {
	name := address.Hostname()
	ip, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && ip.IsLoopback()
}

// mayFollow reports whether a redirect leads to a place as safe as the one it comes from: never
// from https to http, never from this machine to http elsewhere. Nor does it lead from elsewhere to
// this machine, whose services are none of the hub's business; what is behind other names and
// addresses is for reach to find.
func mayFollow(from, to *url.URL) bool {
	if loopback(to) && !loopback(from) {
		return false
	}
	return to.Scheme == "https" || from.Scheme == "http" && loopback(from) == loopback(to)
}

// redirect returns where an answer points to, nil where it does not.
func redirect(response *http.Response) (*url.URL, error) {
	switch response.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil //nolint:nilnil // no redirect and no error
	}
	next, err := response.Location()
	if err == nil && (next.Host == "" || next.Scheme != "https" && next.Scheme != "http" || next.User != nil) {
		err = errors.New("no address")
	}
	if err != nil {
		response.Body.Close()
	}
	return next, err
}
