package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
)

// envelope is the form of every error.
type envelope struct {
	Error detail `json:"error"`
}

type detail struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// reply writes JSON. It is made before the first byte goes out, so that what cannot be marshalled
// is a clean 500.
func (s *Server) reply(w http.ResponseWriter, status int, body any) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(body); err != nil {
		s.opts.Logger.Error().Err(err).Msg("writing an answer as JSON")
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"error": {"code": "internal", "message": "an internal error occurred; the log has it"}}` + "\n")
	}
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client has gone: no one to tell
}

// fail answers with the envelope of an error and logs the error itself.
func (s *Server) fail(w http.ResponseWriter, err error) {
	status, code, message := statusOf(err)
	s.opts.Logger.Warn().Err(err).Int("status", status).Msg("answering an HTTP request")
	s.reply(w, status, envelope{detail{code, message}})
}

// guard asks for the token. Both sides are hashed first: the comparison then takes the same time
// for tokens of any length.
func (s *Server) guard(next http.HandlerFunc) http.HandlerFunc {
	if s.opts.Token == "" {
		return next
	}
	want := sha256.Sum256([]byte(s.opts.Token.Reveal()))
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		have := sha256.Sum256([]byte(token))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(have[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="wal2vec"`)
			s.reply(w, http.StatusUnauthorized, envelope{detail{"unauthorized", "a valid bearer token is required"}})
			return
		}
		next(w, r)
	}
}

// limit protects every answer, refuses requests to other hosts, bounds bodies, and gives the mux's
// own answers, which are plain text, the envelope's form. What net/http answers by itself to bytes
// that are no request (400, 417, 431, 501, 505) has a constant text and none of these headers.
func (s *Server) limit(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		protect(w.Header())
		if s.misdirected(r) {
			s.reply(w, http.StatusMisdirectedRequest, envelope{detail{
				"wrong_host", "the Host header names no host of this server; ask for localhost, or add the name to http.allowed_hosts",
			}})
			return
		}
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		refusal := &headerOnly{header: w.Header()}
		mux.ServeHTTP(refusal, r) // sets Allow, or the place to go to
		if refusal.status == http.StatusMethodNotAllowed {
			s.reply(w, refusal.status, envelope{detail{"method_not_allowed", "use " + refusal.header.Get("Allow")}})
			return
		}
		s.reply(w, http.StatusNotFound, envelope{detail{"not_found", "there is /healthz, /readyz, /status and /metrics"}})
	})
}

// recovered answers for a handler that panicked and logs where: net/http would cut the connection,
// and its words are noise here. Nothing that the client wrote is logged: a token that was put into
// the address by mistake would be too.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	s.opts.Logger.Error().Interface("panic", cause).Str("route", r.Pattern).Bytes("stack", debug.Stack()).Msg("answering an HTTP request")
	s.fail(w, errPanic)
}

var errPanic = errors.New("a handler panicked")

// headerOnly takes status and headers of an answer and drops its body.
type headerOnly struct {
	header http.Header
	status int
}

func (h *headerOnly) Header() http.Header         { return h.header }
func (h *headerOnly) WriteHeader(status int)      { h.status = status }
func (h *headerOnly) Write(p []byte) (int, error) { return len(p), nil }

// newErrorLog brings what net/http has to say into the log, at the level of noise: most of it is
// clients that went away.
func newErrorLog(logger zerolog.Logger) *log.Logger { //nolint:forbidigo // the type that net/http takes
	return log.New(debugWriter{logger}, "", 0) //nolint:forbidigo // as above
}

type debugWriter struct{ logger zerolog.Logger }

func (d debugWriter) Write(p []byte) (int, error) {
	d.logger.Debug().Str("component", "http").Msg(strings.TrimSpace(string(p)))
	return len(p), nil
}
