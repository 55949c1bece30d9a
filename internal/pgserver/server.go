package pgserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// Server is a running, or halted, PostgreSQL. Its methods may be called from any goroutine; those
// that start or stop it wait for one another.
type Server struct {
	bundle   string
	folder   *folder
	who      *account
	password string
	port     int
	log      zerolog.Logger

	mu   sync.Mutex
	proc *process // nil while halted
}

// Mode is a way to shut the server down.
type Mode int

// The modes of PostgreSQL's own tools.
const (
	// Fast ends every session, writes a checkpoint and lets walsenders finish.
	Fast Mode = iota
	// Immediate ends every process at once; the next start recovers from the WAL.
	Immediate
)

const (
	// startLimit bounds one start, recovery included.
	startLimit = time.Minute
	// A fast shutdown waits for walsenders whose client may not answer any more; after stopLimit it
	// becomes immediate.
	stopLimit = 5 * time.Second
)

// Start makes a data folder and runs a server on it. The caller must Stop it. The error of a bundle
// that is not there is a fault.Usage, that of a server that does not start carries the end of its
// log.
func Start(ctx context.Context, options Options) (*Server, error) {
	who, err := serverAccount()
	if err != nil {
		return nil, err
	}
	bundle, err := usableBundle(ctx, options.Bundle, who)
	if err != nil {
		return nil, err
	}
	place, err := makeFolder(options.Dir, who)
	if err != nil {
		return nil, err
	}
	s := &Server{bundle: bundle, folder: place, who: who, password: rand.Text(), log: options.Logger}
	begun := time.Now()
	err = s.initialise(ctx, renderSettings(options.Settings))
	if err == nil {
		err = s.boot(ctx)
	}
	if err != nil {
		_ = place.remove()
		return nil, err
	}
	s.log.Debug().Int("port", s.port).Int("pid", s.proc.pid).Dur("took", time.Since(begun)).Msg("PostgreSQL started")
	return s, nil
}

// initialise runs initdb and adds the settings to the configuration.
func (s *Server) initialise(ctx context.Context, settings string) error {
	secret := filepath.Join(s.folder.data(), "..", "password")
	err := safefile.Replace(secret, 0o600, func(file *os.File) error {
		_, err := file.WriteString(s.password + "\n")
		return err
	})
	if err != nil {
		return fmt.Errorf("writing the superuser's password: %w", err)
	}
	defer os.Remove(secret)
	if err := s.who.own(secret); err != nil {
		return err
	}
	args := []string{
		"-D", s.folder.data(), "-U", Superuser, "--pwfile=" + secret, "--auth=scram-sha-256",
		"--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions",
	}
	cmd := s.command(ctx, "initdb", args...)
	if output, err := cmd.CombinedOutput(); err != nil {
		if _, unknown := user.LookupId(strconv.Itoa(os.Geteuid())); unknown != nil {
			return fault.Wrap(unknown, fault.Usage, "run as a user that /etc/passwd names", "PostgreSQL wants to know its user's name")
		}
		return fmt.Errorf("making the database cluster: %w: %s", err, tail(string(output)))
	}
	return s.configure(settings)
}

// configure adds lines to the server's configuration.
func (s *Server) configure(settings string) error {
	// The folder is the server's account's, which is a weaker one where root runs this: a link
	// there could lead root to any file.
	conf, err := os.OpenFile(filepath.Join(s.folder.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("opening the server's configuration: %w", err)
	}
	defer conf.Close()
	if _, err := conf.WriteString("\n" + settings); err != nil {
		return fmt.Errorf("writing the server's configuration: %w", err)
	}
	return nil
}

// command prepares a program of the bundle to run as the server's user.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program(s.bundle, name), args...) //nolint:gosec // a program of the bundle that was asked for
	cmd.SysProcAttr = attributes()
	s.who.apply(cmd, s.folder.path)
	return cmd
}

// Port returns the TCP port on 127.0.0.1; it stays the same over restarts.
func (s *Server) Port() int { return s.port }

// Program returns the path of one of the bundle's programs, such as psql or pgbench.
func (s *Server) Program(name string) string { return program(s.bundle, name) }

// Log returns the path of the server's log; it goes with Stop.
func (s *Server) Log() string { return s.folder.log() }

// DSN returns a connection string for the superuser; it holds the password.
func (s *Server) DSN(database string) string { return s.DSNFor(Superuser, s.password, database) }

// DSNFor returns a connection string for any role.
func (s *Server) DSNFor(role, password, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(role, password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Stop shuts the server down and removes its folder. Called again, it does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folder.lock == nil {
		return nil
	}
	segment := s.sharedMemory()
	if s.halt(ctx, Fast) {
		segment = -1 // an orderly end has freed it
	}
	if segment >= 0 {
		freeSharedMemory(segment, s.who.uidOrOwn())
	}
	s.log.Debug().Int("port", s.port).Msg("PostgreSQL stopped")
	return s.folder.remove()
}

// Halt shuts the server down and keeps its folder; Restart brings it back.
func (s *Server) Halt(ctx context.Context, mode Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halt(ctx, mode)
}

// Restart halts the server, if it runs, and starts it on the same port and data.
func (s *Server) Restart(ctx context.Context, mode Mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halt(ctx, mode)
	return s.reboot(ctx)
}

// Revive starts the server on the same port and data unless it runs.
func (s *Server) Revive(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil && !s.proc.ended() {
		return nil
	}
	s.proc = nil
	return s.reboot(ctx)
}

// Kill ends every process of the server with SIGKILL, as a failing machine would; Restart brings it
// back.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		s.proc.kill()
		s.proc = nil
	}
}

// halt ends the postmaster and reports whether it did so in an orderly way; it never leaves one
// behind.
func (s *Server) halt(ctx context.Context, mode Mode) bool {
	proc := s.proc
	if proc == nil {
		return false
	}
	s.proc = nil
	if mode == Fast {
		proc.signal(syscall.SIGINT)
		if proc.wait(ctx, stopLimit) {
			return true
		}
	}
	proc.signal(syscall.SIGQUIT)
	if proc.wait(context.WithoutCancel(ctx), stopLimit) {
		return true
	}
	proc.kill()
	return false
}

// sharedMemory returns the id of the System V segment named in postmaster.pid, or -1.
func (s *Server) sharedMemory() int {
	content, err := os.ReadFile(filepath.Join(s.folder.data(), "postmaster.pid"))
	if err != nil {
		return -1
	}
	lines := strings.Split(string(content), "\n")
	const segment = 6 // the line "key id"
	if len(lines) <= segment {
		return -1
	}
	fields := strings.Fields(lines[segment])
	if len(fields) != 2 {
		return -1
	}
	id, err := strconv.Atoi(fields[1])
	if err != nil {
		return -1
	}
	return id
}
