package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wal2vec/wal2vec/internal/fault"
)

const (
	// maxRedirects is that of browsers and more than a hub needs: one to where its large files lie.
	maxRedirects = 10
	// defaultStall is how long a hub may take for the next leastBytes before it counts as gone: a
	// byte now and then is no progress.
	defaultStall = time.Minute
	leastBytes   = 16 << 10
	// maxListingBytes bounds the answer about a revision, which names each file in some 300 bytes
	// and comes in one piece.
	maxListingBytes = 8 << 20
	// maxHeadBytes bounds the head of an answer; a signed address in a Location has some 2 KB.
	maxHeadBytes = 256 << 10
	// defaultMost bounds all files of a model together. The largest models of the kinds that
	// package models reads have some 5 GB.
	defaultMost = 16 << 30
	// etagHash is the header in which a hub names the hash of a file that it redirects to: the
	// SHA-256 of a large one, git's hash of a small one. Where it serves a file itself, the plain
	// ETag has the same.
	etagHash  = "X-Linked-Etag"
	plainEtag = "ETag"
)

// errStalled is the cause of a context that ended because the hub sent nothing.
var errStalled = errors.New("nothing was received for too long")

// client talks to one hub.
type client struct {
	base  *url.URL
	token string
	http  *http.Client
	reach *reach
	stall time.Duration
	// most is how many bytes all files of a model may have together.
	most int64
}

// newClient reads the hub's address, https://huggingface.co for one. A token with an address that
// it must not go to is refused here, before anything is sent.
func newClient(address, token string) (*client, error) {
	base, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil {
		return nil, fault.New(fault.Usage, "set encoder.hub to https://huggingface.co", "encoder.hub is not the http or https address of a hub")
	}
	if token != "" && !safe(base) {
		return nil, fault.New(fault.Usage, "set encoder.hub to an https address, or unset encoder.hub_token and HF_TOKEN",
			"a token goes over https or to this machine alone, and encoder.hub is http://%s", base.Host)
	}
	reach, transport := newReach(), http.DefaultTransport
	if plain, ok := transport.(*http.Transport); ok {
		own := plain.Clone()
		own.DialContext = reach.dial
		own.ResponseHeaderTimeout, own.MaxResponseHeaderBytes = defaultStall, maxHeadBytes
		transport = own
	}
	return &client{
		base: base, token: token, reach: reach, stall: defaultStall, most: defaultMost,
		http: &http.Client{
			Transport: transport,
			// Redirects are followed by get, which decides for each whether the token goes along.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// list asks what files a revision has.
func (c *client) list(ctx context.Context, r Reference) (listing, error) {
	target := c.base.JoinPath("api", "models", r.Name, "revision", url.PathEscape(r.Revision))
	target.RawQuery = "blobs=true" // with sizes and hashes
	var l listing
	answer, err := c.get(ctx, target, r, "the list of its files")
	if err != nil {
		return l, err
	}
	defer answer.close()
	data, err := io.ReadAll(io.LimitReader(answer.body, maxListingBytes+1))
	if err != nil {
		return l, c.lost(err, r, "the list of its files")
	}
	if len(data) > maxListingBytes {
		return l, fault.New(fault.Usage, "choose another model", "the list of files of model %s is larger than %d bytes", r, maxListingBytes)
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return l, fault.New(fault.Usage, "check encoder.hub", "%s does not answer like a hub: the list of files of model %s is not readable",
			c.base.Host, r)
	}
	return l, l.check(r)
}

// answer is an open answer; the body ends with an error where the hub stalls.
type answer struct {
	body io.Reader
	// size is the length that the hub says, -1 where it says none.
	size int64
	// linked are the hashes that the hub's own headers name; etag is what its ETag names, where it
	// served the file itself.
	linked []checksum
	etag   checksum
	close  func()
}

// get sends a request and follows redirects. The caller closes the answer.
func (c *client) get(ctx context.Context, target *url.URL, r Reference, what string) (answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := answer{size: -1}
	for range maxRedirects {
		response, err := c.send(ctx, target) //nolint:bodyclose // the caller closes the answer, and a redirect is closed below
		if err != nil {
			cancel(nil)
			return a, c.lost(err, r, what)
		}
		c.note(&a, target, response.Header)
		next, err := redirect(response)
		if err != nil {
			cancel(nil)
			return a, fault.New(fault.Usage, "check encoder.hub", "%s redirects to something that is no address for %s of model %s", target.Host, what, r)
		}
		if next != nil {
			response.Body.Close()
			if !mayFollow(target, next) {
				cancel(nil)
				return a, fault.New(fault.Usage, "check encoder.hub", "%s://%s redirects to %s://%s for %s of model %s, which is not followed: it is less safe",
					target.Scheme, target.Host, next.Scheme, next.Host, what, r)
			}
			target = next
			continue
		}
		if response.StatusCode != http.StatusOK {
			response.Body.Close()
			cancel(nil)
			return a, c.refused(response.StatusCode, r, what)
		}
		if coding := response.Header.Get("Content-Encoding"); coding != "" && coding != identity {
			response.Body.Close()
			cancel(nil)
			return a, fault.New(fault.Usage, "check encoder.hub", "%s compresses %s of model %s, which was not asked for", target.Host, what, r)
		}
		a.size = response.ContentLength
		watch := time.AfterFunc(c.stall, func() { cancel(errStalled) })
		a.body = &watched{ctx: ctx, body: response.Body, timer: watch, stall: c.stall}
		a.close = func() {
			watch.Stop()
			response.Body.Close()
			cancel(nil)
		}
		return a, nil
	}
	cancel(nil)
	return a, fault.New(fault.Usage, "check encoder.hub", "%s redirects without end for %s of model %s", target.Host, what, r)
}

// send sends one request. The token goes to the hub's own scheme and address only.
func (c *client) send(ctx context.Context, target *url.URL) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "wal2vec")
	request.Header.Set("Accept-Encoding", identity) // a length is that of the file, and a few bytes cannot become many
	if c.token != "" && c.own(target) {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	to, err := c.way(request)
	if err != nil {
		return nil, err
	}
	return c.http.Do(request.WithContext(context.WithValue(ctx, wayKey{}, to)))
}

// refused turns a status into what a person can do about it.
func (c *client) refused(status int, r Reference, what string) error {
	host := c.base.Host
	switch {
	case status == http.StatusUnauthorized && c.token != "":
		return fault.New(fault.Usage, "set encoder.hub_token or HF_TOKEN to a valid token", "%s does not accept the token, or has no model %s",
			host, r.Name)
	case status == http.StatusUnauthorized:
		return fault.New(fault.Usage, "check the name, or set encoder.hub_token or HF_TOKEN", "%s has no public model %s", host, r.Name)
	case status == http.StatusForbidden:
		try := "accept the model's terms on " + c.base.JoinPath(r.Name).String() + ", and set encoder.hub_token or HF_TOKEN to a token that may read it"
		return fault.New(fault.Usage, try, "%s does not let this token read model %s", host, r.Name)
	case status == http.StatusNotFound:
		return fault.New(fault.Usage, "check the name and the revision", "%s does not have %s of model %s", host, what, r)
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return fault.New(fault.Unavailable, "try again later", "%s answers with status %d for %s of model %s", host, status, what, r)
	default:
		return fault.New(fault.Usage, "check encoder.hub", "%s answers with status %d for %s of model %s", host, status, what, r)
	}
}

// lost is the error of a hub that cannot be reached or does not go on; the end of the caller's
// context stays what it is.
func (c *client) lost(err error, r Reference, what string) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // the address it quotes may be a signed one
	}
	if closed, ok := errors.AsType[*closedError](err); ok {
		return fault.New(fault.Usage, "check encoder.hub", "%s leads to %s for %s of model %s, which is not followed: that is %s",
			c.base.Host, closed.address, what, r, closed.zone)
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("fetching %s of model %s: %w", what, r, err)
	}
	return fault.Wrap(err, fault.Unavailable, "check the network and encoder.hub, then try again",
		"fetching %s of model %s from %s", what, r, c.base.Host)
}

// watched is a body that counts as stalled when too little comes for a while.
type watched struct {
	ctx   context.Context //nolint:containedctx // the request's own, which ends with the body
	body  io.Reader
	timer *time.Timer
	stall time.Duration
	// got is how many bytes came since the timer began.
	got int
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.body.Read(p)
	if w.got += n; w.got >= leastBytes {
		w.got = 0
		w.timer.Reset(w.stall)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's own contract
		if cause := context.Cause(w.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}
