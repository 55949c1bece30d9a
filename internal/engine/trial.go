package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/wal2vec/wal2vec/internal/assets"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
	"github.com/wal2vec/wal2vec/models"
)

// A ready export is another program's graph. ONNX Runtime checks most of it and not all: sizes that
// no exporter writes end the whole process, by an assertion of its own in the inference of shapes,
// say. So another process of this program opens an export first, the self-test included, and this
// one only what passed there. A mark beside the graph says that it did, so that a start does not
// pay for it again. Graphs that wal2vec writes itself need no trial.

// TrialArgs are the arguments with which this program is run to try a model: it reads a Trial as
// JSON and answers a Verdict.
var TrialArgs = []string{"models", "try"}

// Trial says which model is opened, and how.
type Trial struct {
	Encoder config.Encoder `json:"encoder"`
}

// Verdict is how a trial ended; without one the process died of it.
type Verdict struct {
	Passed bool `json:"passed"`
	// Kind, What and Try are the error's where it did not pass.
	Kind fault.Kind `json:"kind,omitempty"`
	What string     `json:"what,omitempty"`
	Try  string     `json:"try,omitempty"`
}

// VerdictOf is the verdict on a model that was opened with an error, or without one.
func VerdictOf(err error) Verdict {
	if err == nil {
		return Verdict{Passed: true}
	}
	return Verdict{Kind: fault.KindOf(err), What: err.Error(), Try: fault.Try(err)}
}

// try has another process open an export, unless it passed before. An export that ends that process
// is a fault of kind Model; that of one which does not open is the other process's.
func (o Opener) try(ctx context.Context, c config.Config, parts assets.Parts, graph models.Graph) error {
	if !o.Trials || !graph.Manifest.Export {
		return nil
	}
	mark := markOf(c, parts, graph)
	if mark != "" && safefile.Check(mark) == nil {
		return nil
	}
	if err := runTrial(ctx, Trial{Encoder: c.Encoder}); err != nil {
		return err
	}
	if mark != "" {
		const readable = 0o644                                                    // as the graph
		_ = safefile.Replace(mark, readable, func(*os.File) error { return nil }) // a cache that is read alone has the trial each time
	}
	return nil
}

// markOf is the file that says of a graph that it passed with this runtime on the configured
// device; empty where the graph is kept in no folder. The folder is one that no other account can
// change.
func markOf(c config.Config, parts assets.Parts, graph models.Graph) string {
	library, err := os.Stat(parts.ONNXRuntime)
	if graph.Path == "" || err != nil {
		return ""
	}
	of := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %d %s", graph.Manifest.GraphSHA256, parts.ONNXRuntime, library.Size(), library.ModTime().UnixNano(),
		c.Encoder.Device))
	return filepath.Join(filepath.Dir(graph.Path), "tried-"+hex.EncodeToString(of[:8]))
}

// runTrial runs this program, and asks it for its verdict.
func runTrial(ctx context.Context, t Trial) error {
	program, err := self()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	order, err := json.Marshal(t) //nolint:musttag // both ends are this program
	if err != nil {
		return fmt.Errorf("telling another process which model to try: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, TrialArgs...) //nolint:gosec // this program itself
	cmd.Env = append(os.Environ(), "GOTRACEBACK=none")
	cmd.Stdin = bytes.NewReader(order)
	said := &firstLine{}
	cmd.Stderr = said
	answer := &bytes.Buffer{}
	cmd.Stdout = answer
	err = cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil && cmd.ProcessState == nil {
		return fmt.Errorf("trying the model in another process: %w", err)
	}
	var v Verdict
	switch json.Unmarshal(answer.Bytes(), &v) {
	case nil:
		return v.err()
	default:
		return fault.New(fault.Model, "take another export of the model, or its weights (model.safetensors), from a maker that you trust",
			"the ONNX export %s ends the process that opens it (%s): %q", t.Encoder.Model, cmd.ProcessState, said.text())
	}
}

// err is the verdict's error.
func (v Verdict) err() error {
	if v.Passed {
		return nil
	}
	return fault.New(v.Kind, v.Try, "%s", v.What)
}

// self is this program, also where its file was replaced since it began.
func self() (string, error) {
	const running = "/proc/self/exe"
	if _, err := os.Stat(running); err == nil && runtime.GOOS == "linux" {
		return running, nil
	}
	return os.Executable()
}

// firstLine keeps the beginning of what is written.
type firstLine struct{ kept []byte }

// mostSaid bounds what is kept, in bytes.
const mostSaid = 300

// Write is io.Writer's; it takes everything.
func (f *firstLine) Write(p []byte) (int, error) {
	f.kept = append(f.kept, p[:min(len(p), mostSaid-len(f.kept))]...)
	return len(p), nil
}

func (f *firstLine) text() string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(f.kept)), "\n")
	return line
}

var _ io.Writer = (*firstLine)(nil)
