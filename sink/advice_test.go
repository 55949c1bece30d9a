package sink_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sink"
)

// says checks the whole line of an error of kind fault.Usage, and its advice.
func (b *bench) says(err error, line, try string) {
	b.tb.Helper()
	b.wantKind(err, fault.Usage)
	if err != nil && (err.Error() != line || fault.Try(err) != try) {
		b.tb.Errorf("got  %v (try: %s)\nwant %s (try: %s)", err, fault.Try(err), line, try)
	}
}

func TestBeforeInitEveryCommandSaysSoInOneLine(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	for what, run := range map[string]func() error{
		"list":     func() error { _, err := b.sink.Generations(t.Context()); return err },
		"build":    func() error { _, _, err := b.sink.BuildGeneration(t.Context(), second()); return err },
		"activate": func() error { _, err := b.sink.Activate(t.Context(), sink.Activation{ID: 1}); return err },
		"retiring": func() error { _, err := b.sink.Retiring(t.Context(), 1); return err },
		"retire":   func() error { _, err := b.sink.Retire(t.Context(), 1); return err },
		"letters":  func() error { _, err := b.sink.DeadLetters(t.Context(), 1); return err },
		"job":      func() error { _, err := b.sink.OpenJob(t.Context(), everything); return err },
		"state":    func() error { _, err := b.sink.State(t.Context()); return err },
	} {
		t.Log(what)
		b.says(run(), `wal2vec is not set up in schema "wal2vec" of the sink`, "wal2vec init")
	}
}
