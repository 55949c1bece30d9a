package api

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// Handler returns the routes, with the token asked for and the limits set.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.guard(s.readyz))
	mux.HandleFunc("GET /status", s.guard(s.status))
	mux.HandleFunc("GET /metrics", s.guard(promhttp.HandlerFor(s.sources.Metrics, promhttp.HandlerOpts{
		ErrorLog:      newErrorLog(s.opts.Logger),
		ErrorHandling: promhttp.ContinueOnError, // one broken collector must not hide the others
		Timeout:       statusTimeout,
	}).ServeHTTP))
	return s.limit(mux)
}

type health struct {
	Status  string `json:"status"`
	Version string `json:"version,omitempty"`
}

// healthz asks no database: a restart because a database is down would help no one.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, health{Status: "alive", Version: s.opts.Version})
}

type readiness struct {
	Ready      bool        `json:"ready"`
	Components []Component `json:"components"`
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	answer := readiness{Ready: true, Components: s.sources.Ready()}
	code := http.StatusOK
	for _, c := range answer.Components {
		if !c.Ready {
			answer.Ready, code = false, http.StatusServiceUnavailable
		}
	}
	if answer.Components == nil {
		answer.Components = []Component{}
	}
	s.reply(w, code, answer)
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), statusTimeout)
	defer cancel()
	status, err := s.sources.Status(ctx)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.reply(w, http.StatusOK, status)
}

// statusOf is the one place that turns an error into an HTTP status, a code and a message. Who
// asked for what cannot be answered is told what is wrong with it, in words about the request
// alone; what else is not named here stays in the log.
func statusOf(err error) (status int, code, message string) {
	if asked := fault.Asked(err); asked != nil {
		return http.StatusBadRequest, "bad_request", asked.Error()
	}
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Busy:
		return http.StatusServiceUnavailable, "unavailable", "source or sink does not answer"
	case fault.Usage, fault.Gap, fault.Model:
		return http.StatusServiceUnavailable, "not_set_up", "the pipeline cannot be read; wal2vec status says why"
	default:
		return http.StatusInternalServerError, "internal", "an internal error occurred; the log has it"
	}
}
