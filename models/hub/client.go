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
	// defaultStall is how long a hub may send nothing before it counts as gone.
	defaultStall = time.Minute
	// maxListingBytes bounds the answer about a revision.
	maxListingBytes = 32 << 20
	// etagHash is the header in which a hub names the SHA-256 of a large file, also where it redirects.
	etagHash = "X-Linked-Etag"
)

// errStalled is the cause of a context that ended because the hub sent nothing.
var errStalled = errors.New("nothing was received for too long")

// client talks to one hub.
type client struct {
	base  *url.URL
	token string
	http  *http.Client
	stall time.Duration
}

// newClient reads the hub's address, https://huggingface.co for one.
func newClient(address, token string) (*client, error) {
	base, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil {
		return nil, fault.New(fault.Usage, "set encoder.hub to https://huggingface.co", "encoder.hub is not the http or https address of a hub")
	}
	transport := http.DefaultTransport
	if plain, ok := transport.(*http.Transport); ok {
		own := plain.Clone()
		own.ResponseHeaderTimeout = defaultStall
		transport = own
	}
	return &client{
		base: base, token: token, stall: defaultStall,
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
	data, err := io.ReadAll(io.LimitReader(answer.body, maxListingBytes))
	if err != nil {
		return l, c.lost(err, r, "the list of its files")
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
	// size is the length that the hub says, -1 where it says none; hash the SHA-256 in hex, or "".
	size  int64
	hash  string
	close func()
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
		if hash := strings.Trim(strings.TrimPrefix(response.Header.Get(etagHash), "W/"), `"`); len(hash) == 64 {
			a.hash = strings.ToLower(hash)
		}
		next, err := redirect(response)
		if err != nil {
			cancel(nil)
			return a, fault.New(fault.Usage, "check encoder.hub", "%s redirects to something that is no address for %s of model %s", target.Host, what, r)
		}
		if next != nil {
			response.Body.Close()
			target = next
			continue
		}
		if response.StatusCode != http.StatusOK {
			response.Body.Close()
			cancel(nil)
			return a, c.refused(response.StatusCode, r, what)
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
	request.Header.Set("Accept-Encoding", "identity") // a length is that of the file
	if c.token != "" && target.Scheme == c.base.Scheme && target.Host == c.base.Host {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	return c.http.Do(request)
}

// redirect returns where an answer points to, nil where it does not.
func redirect(response *http.Response) (*url.URL, error) {
	switch response.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil //nolint:nilnil // no redirect and no error
	}
	next, err := response.Location()
	if err == nil && (next.Host == "" || next.Scheme != "https" && next.Scheme != "http") {
		err = errors.New("no address")
	}
	if err != nil {
		response.Body.Close()
	}
	return next, err
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

// lost is the error of a hub that cannot be reached or does not go on; the end of the caller's context stays what it is.
func (c *client) lost(err error, r Reference, what string) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // the address it quotes may be a signed one
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("fetching %s of model %s: %w", what, r, err)
	}
	return fault.Wrap(err, fault.Unavailable, "check the network and encoder.hub, then try again",
		"fetching %s of model %s from %s", what, r, c.base.Host)
}

// watched is a body that counts as stalled when nothing comes for a while.
type watched struct {
	ctx   context.Context //nolint:containedctx // the request's own, which ends with the body
	body  io.Reader
	timer *time.Timer
	stall time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.body.Read(p)
	w.timer.Reset(w.stall)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's own contract
		if cause := context.Cause(w.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}
