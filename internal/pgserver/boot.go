package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/pause"
)

// errTaken says that something else holds the port or the data folder; a later try, or another
// port, may succeed.
var errTaken = errors.New("the port or the data folder is taken")

// Ports are drawn from below the range that the kernel gives to outgoing connections (32768 and up
// on Linux), so that no client takes the port while the server restarts.
const (
	firstPort = 20000
	lastPort  = 32000
	portTries = 20
)

// pollEvery is the pause between two looks at a starting server.
const pollEvery = 10 * time.Millisecond

// boot starts the server on a free port.
func (s *Server) boot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err := errTaken
	for range portTries {
		s.port = freePort()
		if err = s.up(ctx); !errors.Is(err, errTaken) {
			return err
		}
	}
	return err
}

// reboot starts the server on its own port, waiting for the remains of its predecessor to go.
func (s *Server) reboot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for pauses := pause.Steady(5 * pollEvery); ; {
		err := s.up(ctx)
		if !errors.Is(err, errTaken) {
			return err
		}
		if pauses.Wait(ctx) != nil {
			return fmt.Errorf("starting PostgreSQL again: %w", err)
		}
	}
}

// freePort returns a port that was free a moment ago.
func freePort() int {
	for {
		port := firstPort + rand.IntN(lastPort-firstPort) //nolint:gosec // a port is no secret
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		listener, err := net.Listen("tcp", address) //nolint:noctx // it succeeds or fails at once
		if err == nil {
			listener.Close()
			return port
		}
	}
}

// up launches the postmaster and waits until it accepts connections.
func (s *Server) up(ctx context.Context) error {
	output, err := os.OpenFile(s.folder.log(), os.O_CREATE|os.O_APPEND|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("opening the server's log: %w", err)
	}
	defer output.Close()
	begin, err := output.Seek(0, 2)
	if err != nil {
		return fmt.Errorf("reading the server's log: %w", err)
	}
	// Not bound to ctx: the server outlives the call that starts it.
	cmd := s.command(context.WithoutCancel(ctx), "postgres", "-D", s.folder.data(), "-p", strconv.Itoa(s.port))
	cmd.Stdout, cmd.Stderr = output, output
	proc, err := launch(cmd)
	if err != nil {
		return err
	}
	if err := s.ready(ctx, proc); err != nil {
		proc.kill()
		return s.explain(err, begin)
	}
	s.proc = proc
	return nil
}

// ready waits until the server accepts a connection.
func (s *Server) ready(ctx context.Context, proc *process) error {
	config, err := pgconn.ParseConfig(s.DSN("postgres"))
	if err != nil {
		return err
	}
	config.RequireAuth = "scram-sha-256" // whatever listens on this port is not told the password
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		conn, err := pgconn.ConnectConfig(ctx, config)
		if err == nil {
			err = conn.Close(ctx)
			// Another server may answer on this port while ours fails to bind it; that one refuses
			// our password.
			if err == nil && !proc.ended() {
				return nil
			}
		}
		select {
		case <-ticker.C:
		case <-proc.done:
			return errors.New("it ended by itself")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// explain turns a failed start into errTaken where another try may help, else into an error with
// the end of the log.
func (s *Server) explain(err error, begin int64) error {
	content, readErr := os.ReadFile(s.folder.log())
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		return fmt.Errorf("starting PostgreSQL: %w (its log: %w)", err, readErr)
	}
	text := string(content[min(begin, int64(len(content))):])
	for _, sign := range []string{"Address already in use", "is still in use", "lock file \"postmaster.pid\" already exists"} {
		// The log is all that the postmaster tells: it ends with status 1 whatever the reason.
		// LC_ALL=C fixes its words.
		if strings.Contains(text, sign) {
			return fmt.Errorf("starting PostgreSQL on port %d: %w: %s", s.port, errTaken, tail(text))
		}
	}
	return fmt.Errorf("starting PostgreSQL: %w: %s", err, tail(text))
}

// tail returns the last lines of a program's output, as one line.
func tail(output string) string {
	const lines = 6
	all := strings.Split(strings.TrimSpace(output), "\n")
	return strings.Join(all[max(0, len(all)-lines):], " | ")
}
