package main

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestKilledStreamLosesNothing kills the program with SIGKILL at each place of the stream, lets the
// source change on, starts it again, and compares the sink with a fresh encoding of the source.
func TestKilledStreamLosesNothing(t *testing.T) {
	t.Parallel()
	// The counts choose a batch in the middle: some are parts of a large transaction.
	for _, point := range []string{
		"stream_cut:2", "stream_visible:2", "stream_prepared:3", "sink_begun:3", "sink_written:4",
		"stream_committed:1", "stream_committed:4", "stream_confirmed:3",
	} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 40)
			w.run("init")
			w.run("backfill")
			stream := w.start([]string{"FAILPOINT=" + point}, "stream")
			w.write(1)
			stream.mustBeKilled()
			w.checkFeedback()
			w.write(2)
			w.run("stream", "--until-current")
			w.checkFeedback()
			w.check()
		})
	}
}

// TestKilledBackfillLosesNothing kills a backfill beside a running stream and resumes it.
func TestKilledBackfillLosesNothing(t *testing.T) {
	t.Parallel()
	for _, point := range []string{
		"backfill_watermark:2", "backfill_read:2", "backfill_encoded:2", "sink_begun:2", "sink_written:2", "backfill_committed:2",
		"sweep_written", "backfill_swept",
	} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 60)
			w.run("init")
			stream := w.start(nil, "stream")
			stream.waitFor("streaming")
			w.start([]string{"FAILPOINT=" + point}, "backfill").mustBeKilled()
			w.write(1)
			w.run("backfill")
			stream.stop()
			w.write(2)
			w.run("stream", "--until-current")
			w.checkFeedback()
			w.check()
		})
	}
}

// TestBackfillAloneThenStream merges chunks while no stream runs; what happened in the meantime
// comes with the stream.
func TestBackfillAloneThenStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 60)
	w.run("init")
	w.write(1)
	w.run("backfill")
	w.write(2)
	w.run("stream", "--until-current")
	w.check()
}

// process is the program, running.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output *lockedBuffer
	done   chan error
}

const processTimeout = 2 * time.Minute

func (p *process) wait() error {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(processTimeout):
		p.t.Fatalf("%v is still running after %s:\n%s", p.cmd.Args, processTimeout, p.output)
		return nil
	}
}

func (p *process) mustBeKilled() {
	p.t.Helper()
	var exit *exec.ExitError
	if err := p.wait(); !errors.As(err, &exit) {
		p.t.Fatalf("%v ended by itself (%v), not at its failpoint:\n%s", p.cmd.Args, err, p.output)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		p.t.Fatalf("%v ended with %v, not by SIGKILL:\n%s", p.cmd.Args, exit, p.output)
	}
}

func (p *process) waitFor(text string) {
	p.t.Helper()
	pgtest.Eventually(p.t, processTimeout, func() (bool, string) {
		return p.output.contains(text), fmt.Sprintf("%q is not in the output of %v:\n%s", text, p.cmd.Args, p.output)
	})
}

// stop asks for an orderly end.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.wait(); err != nil {
		p.t.Fatalf("%v ended with %v:\n%s", p.cmd.Args, err, p.output)
	}
}
