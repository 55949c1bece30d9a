package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// Component is a part of the process whose health decides about readiness.
type Component struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
	// Reason says in one line why it is not ready, and may say more when it is.
	Reason string `json:"reason,omitempty"`
}

// Sources is what the server shows. Each is called for every request and from several goroutines at
// once.
type Sources struct {
	// Ready returns the components in the order in which they are shown. It must not wait for
	// anybody.
	Ready func() []Component
	// Status returns what /status shows; it is marshalled as JSON. An error answers 503.
	Status func(ctx context.Context) (any, error)
	// Metrics is what /metrics shows.
	Metrics prometheus.Gatherer
}

// Options say where and to whom.
type Options struct {
	// Listen is host:port; port 0 takes a free one.
	Listen string
	// Token is the bearer token that every path but /healthz asks for; empty asks for none.
	Token config.Secret
	// AllowedHosts are names and addresses, without port, that requests may name in their Host
	// header besides localhost, loopback addresses and the address that they came in on. Where it
	// is empty, requests that come in on other than loopback addresses may name anything.
	AllowedHosts []string
	// MaxConnections is how many connections are open at once; 0 takes DefaultConnections.
	MaxConnections int
	// Version is shown by /healthz.
	Version string
	Logger  zerolog.Logger
}

// DefaultConnections is enough for a few monitors that keep theirs open, and for each connection of
// a flood to keep its place for 20 ms; they cost no memory to speak of.
const DefaultConnections = 256

const (
	// A request here has no body and a short header; an answer is made within moments.
	readTimeout     = 5 * time.Second
	writeTimeout    = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	statusTimeout   = 10 * time.Second
	shutdownTimeout = 5 * time.Second
	maxHeaderBytes  = 16 << 10
	maxBodyBytes    = 64 << 10
)

// Server is the HTTP server of one process.
type Server struct {
	opts     Options
	sources  Sources
	listener net.Listener
}

// New returns a server that does not listen yet.
func New(sources Sources, opts Options) *Server { return &Server{opts: opts, sources: sources} }

// Listen takes the address, so that a taken one is an error before the work begins. Run calls it
// when no caller has.
func (s *Server) Listen(ctx context.Context) error {
	if s.listener != nil {
		return nil
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", s.opts.Listen)
	if errors.Is(err, syscall.EADDRINUSE) { // by what may go: a supervisor is to try again
		return fault.Wrap(err, fault.Unavailable, "stop what listens there, or set http.listen to another address, or to off",
			"serving metrics on %s", s.opts.Listen)
	}
	if err != nil {
		return fault.Wrap(err, fault.Usage, "set http.listen to another address, or to off", "serving metrics on %s", s.opts.Listen)
	}
	s.listener = listener
	return nil
}

// Addr returns the address that the server listens on, host:port; empty before Listen.
func (s *Server) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Run serves until ctx ends and requests in flight are answered, or five seconds later at the
// latest. It returns nil then.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	if s.opts.Token == "" && !loopback(s.listener.Addr()) {
		s.opts.Logger.Warn().Str("address", s.Addr()).Msg("serving status and metrics to every machine that reaches this one; set http.token")
	}
	server := s.Server(ctx)
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil {
		s.opts.Logger.Warn().Err(err).Msg("closing HTTP connections that did not end in time")
		_ = server.Close() // what is left is cut
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving HTTP: %w", err)
	}
	return nil
}

// Server returns the HTTP server with its limits, for Run; its requests outlive ctx.
func (s *Server) Server(ctx context.Context) *http.Server {
	return &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          newErrorLog(s.opts.Logger),
		ConnState:         newConnections(cmp.Or(s.opts.MaxConnections, DefaultConnections)).changed,
		// Else net/http answers "OPTIONS *" itself, to any host.
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
}

// loopback reports whether only this machine can reach the address.
func loopback(addr net.Addr) bool {
	tcp, isTCP := addr.(*net.TCPAddr)
	return isTCP && tcp.IP.IsLoopback()
}
