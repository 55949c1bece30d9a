package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// program builds the real program, with the places where tests kill it, beside the test's own,
// which goes with it. CHAOS_PROGRAM names one that is built already, for a machine without Go.
var program = sync.OnceValues(func() (string, error) {
	if built := os.Getenv("CHAOS_PROGRAM"); built != "" {
		return built, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding the test binary: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), "wal2vec")
	build := exec.Command("go", "build", "-tags", "failpoint", "-o", path, "./cmd/wal2vec")
	build.Dir = filepath.Join("..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return path, nil
})

// process is the program, running.
type process struct {
	name  string
	cmd   *exec.Cmd
	begun time.Time
	log   tail
	done  chan struct{} // closed when it has ended
	err   error         // how it ended; read after done

	mu            sync.Mutex
	killed, asked bool // to end, by the test
}

// tail keeps the end of what a process prints.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const keep = 64 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > 2*keep {
		t.text = slices.Clone(t.text[len(t.text)-keep:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// start starts the program under a name that the sink sees.
func (w *world) start(name string, extra []string, args ...string) (*process, error) {
	cmd := exec.Command(w.binary, args...)
	cmd.Dir = w.dir
	cmd.Env = slices.Concat(w.env, []string{
		"WAL2VEC_SOURCE_DSN=" + w.as(w.sourceProxy.DSN(w.t, w.source)), "WAL2VEC_SINK_DSN=" + named(w.as(w.sinkProxy.DSN(w.t, w.sink)), name),
	}, extra)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &process{name: name, cmd: cmd, begun: time.Now(), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %v: %w", args, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// as gives a connection string the program's role.
func (w *world) as(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		w.t.Error(err)
		return dsn
	}
	u.User = url.UserPassword(w.role, w.password)
	return u.String()
}

// named adds a setting to a connection string, which the sink's trigger notes.
func named(dsn, name string) string {
	return dsn + "&chaos.process=" + name
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return
	default:
	}
	p.killed = p.killed || s == syscall.SIGKILL
	p.asked = p.asked || s == syscall.SIGTERM
	_ = p.cmd.Process.Signal(s) // it may have ended just now
}

// ended is how a process ended.
type ended struct {
	code   int // of an exit; -1 after a signal
	signal syscall.Signal
}

func (p *process) ended() ended {
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return ended{}
	case errors.As(p.err, &exit):
		status, ok := exit.Sys().(syscall.WaitStatus)
		if ok && status.Signaled() {
			return ended{code: -1, signal: status.Signal()}
		}
		return ended{code: exit.ExitCode()}
	default:
		return ended{code: 1}
	}
}

// run runs a command to its end; it must succeed.
func (w *world) run(ctx context.Context, args ...string) error {
	p, err := w.start("run_"+args[0], nil, args...)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.signal(syscall.SIGKILL)
		<-p.done
		return fmt.Errorf("%v did not end: %w\n%s", args, context.Cause(ctx), p.log.String())
	}
	if p.err != nil {
		return fmt.Errorf("%v ended with %w\n%s", args, p.err, p.log.String())
	}
	return nil
}

// role is a kind of process that runs for the whole time.
type role struct {
	name   string
	points []string                    // failpoints that it passes
	args   func(r *rand.Rand) []string // of the next start
	codes  []int                       // of exits that the faults explain
}

var streamRole = role{
	name: "stream",
	points: []string{
		"stream_cut", "stream_visible", "stream_prepared", "sink_begun", "sink_written", "stream_committed", "stream_confirmed",
	},
	args: func(*rand.Rand) []string { return []string{"stream"} },
	// 4: the slot is another's, or it was fenced; 5: a server was down at the start.
	codes: []int{0, 4, 5},
}

var backfillRole = role{
	name: "backfill",
	points: []string{
		"backfill_watermark", "backfill_read", "backfill_encoded", "sink_begun", "sink_written", "backfill_committed", "sweep_written",
		"backfill_swept",
	},
	args: func(r *rand.Rand) []string {
		args := []string{"backfill"}
		switch r.IntN(5) {
		case 0:
			args = append(args, "--full")
		case 1:
			args = append(args, fmt.Sprintf("--limit=%d", 1+r.IntN(150)))
		}
		if r.IntN(6) == 0 {
			args = append(args, "--restart")
		}
		return args
	},
	codes: []int{0, 4, 5},
}

// supervise starts a role's process again and again until ctx ends; then it asks the last one to
// end.
func (w *world) supervise(ctx context.Context, role role, number int) error {
	r := w.random(fmt.Sprintf("%s %d", role.name, number))
	for start := 1; ; start++ {
		name := fmt.Sprintf("%s_%d_%d", role.name, number, start)
		args := role.args(r)
		extra := w.trouble(r, role)
		pause := time.Duration(r.IntN(400)) * time.Millisecond
		p, err := w.start(name, extra, args...)
		if err != nil {
			return err
		}
		w.procs.add(p)
		select {
		case <-p.done:
		case <-ctx.Done():
			w.stop(p)
		}
		w.procs.remove(p)
		if err := w.judgeEnd(p, role, args, extra); err != nil {
			return err
		}
		if !wait(ctx, pause) {
			return nil
		}
	}
}

// trouble draws what happens to a process by itself.
func (w *world) trouble(r *rand.Rand, role role) []string {
	var extra []string
	point, passes, chance := role.points[r.IntN(len(role.points))], 1+r.IntN(40), r.IntN(100)
	if chance < 45 {
		extra = append(extra, fmt.Sprintf("FAILPOINT=%s:%d", point, passes))
	}
	passes, times, chance := 1+r.IntN(30), 1+r.IntN(3), r.IntN(100)
	if chance < 30 {
		extra = append(extra, fmt.Sprintf("FAILPOINT_ERROR=sink_written:%d:%d", passes, times))
	}
	return extra
}

// stop asks a process to end in an orderly way, and kills one that does not.
func (w *world) stop(p *process) {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		w.report.Saw("not drained")
		p.signal(syscall.SIGKILL)
		<-p.done
	}
}

// encoderDown is what the substitute of the encoder says while the fault "encoder down" goes on; a
// backfill ends with it.
const encoderDown = "the encoder is down"

// judgeEnd says whether the way in which a process ended can be explained.
func (w *world) judgeEnd(p *process, role role, args, extra []string) error {
	end := p.ended()
	log := p.log.String()
	w.trace(p.name, fmt.Sprintf("%v %v: code %d, signal %d\n%s", args, extra, end.code, end.signal, log))
	p.mu.Lock()
	killed, asked := p.killed, p.asked
	p.mu.Unlock()
	switch {
	case strings.Contains(log, "panic:") || strings.Contains(log, "DATA RACE"):
	case end.signal == syscall.SIGKILL && killed, end.signal == syscall.SIGTERM && asked: // before it handles signals
		return nil
	case end.signal == syscall.SIGKILL && strings.Contains(strings.Join(extra, " "), "FAILPOINT="):
		w.report.Saw("killed at a failpoint")
		return nil
	case end.code == 4 && strings.Contains(log, "another process has taken over the pipeline"):
		w.report.Saw("fenced")
		return nil
	case slices.Contains(role.codes, end.code):
		return nil
	case end.code == 2 && w.windows.since(p.begun): // what is configured is not there
		w.report.Saw("refused because the table was away")
		return nil
	case end.code == 6 && (w.gap.ever.Load() || w.windows.ever()):
		w.report.Saw("refused because of a gap")
		w.gap.refused.Store(true)
		return nil
	case end.code == 1 && (asked || strings.Contains(log, encoderDown)):
		return nil
	}
	return fmt.Errorf("%v with %v ended with code %d, signal %d:\n%s", args, extra, end.code, end.signal, log)
}

// crowd is the processes that run now.
type crowd struct {
	mu      sync.Mutex
	running []*process
}

func (c *crowd) add(p *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = append(c.running, p)
}

func (c *crowd) remove(p *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = slices.DeleteFunc(c.running, func(other *process) bool { return other == p })
}

// of returns the running processes of a role.
func (c *crowd) of(role role) []*process {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []*process
	for _, p := range c.running {
		if strings.HasPrefix(p.name, role.name+"_") {
			found = append(found, p)
		}
	}
	return found
}

// byPID returns the running process with this id, or nil.
func (c *crowd) byPID(pid int) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.running {
		if p.cmd.Process.Pid == pid {
			return p
		}
	}
	return nil
}

// wait returns false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
