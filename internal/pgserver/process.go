package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a running postmaster.
type process struct {
	pid  int
	done chan struct{} // closed when the postmaster has ended
}

// launch starts cmd and returns when it runs. One goroutine keeps the operating system's thread
// that forked for as long as the server lives: the kernel sends the parent-death signal when that
// thread ends, which Go has it do after a goroutine that locked it.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return p, nil
}

// ended reports whether the postmaster has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// signal sends sig to the postmaster unless it has ended.
func (p *process) signal(sig syscall.Signal) {
	if !p.ended() {
		_ = syscall.Kill(p.pid, sig)
	}
}

// wait returns true when the postmaster ends within limit and before ctx does.
func (p *process) wait(ctx context.Context, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return p.ended()
}

// kill ends the postmaster and its children with SIGKILL. The postmaster is stopped first, so that
// it neither forks again nor learns of its children's death and restarts.
func (p *process) kill() {
	if p.ended() {
		return
	}
	p.signal(syscall.SIGSTOP)
	for _, pid := range children(p.pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	p.signal(syscall.SIGKILL)
	<-p.done
}

// environment is all that the server's programs see: the caller's PG* variables would change what
// they do.
func environment(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + home}
}
