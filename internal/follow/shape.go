package follow

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

// shapeInterval is how often the source is asked for what its log does not tell: a few queries of
// the catalogue, over one connection.
const shapeInterval = 5 * time.Second

// shapeWatch looks at the source table's shape beside a stream, and opens a refresh where it has
// changed: an ALTER TABLE that writes the rows again, a partition that came with rows or went with
// them, a value of an enum that was renamed change texts without an event.
type shapeWatch struct {
	*Follower
	source *pgx.Conn // nil when there is none
	// noticed is a change whose refresh is not open yet; nil when there is none.
	noticed *sink.Reshape
	// high is the end of the log after the look: what was logged in the form of before lies below
	// it.
	high change.LSN
	oid  uint32 // of the table that was looked at
	// writers are the transactions that were writing then, by their names in pg_locks. What they
	// wrote before the change may be in no log, also where they commit after it: the refresh must
	// see them.
	writers []string
	changes []string
	said    string            // the last complaint
	waits   bool              // whether the wait for writers was said
	end     func(cause error) // ends the stream
}

// watchingShape runs a stream, and looks at the table's shape before, beside and after it. The look
// before comes before the target of --until-current is set: the watermark is beyond it at the end.
func (f *Follower) watchingShape(ctx context.Context, run func(context.Context) error) error {
	w := &shapeWatch{Follower: f}
	defer w.disconnect(ctx)
	return connect.UntilUntrusted(ctx, func(running context.Context, end context.CancelCauseFunc) error {
		w.end = end
		w.remind(ctx)
		w.notice(ctx)
		watching, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.run(watching)
		}()
		err := run(running)
		stop()
		<-done
		if err == nil && running.Err() == nil {
			err = w.settleAtLast(ctx)
		}
		return err
	})
}

func (w *shapeWatch) run(ctx context.Context) {
	tick := time.NewTicker(shapeInterval)
	defer tick.Stop()
	for {
		if w.noticed != nil && w.Store.WaitFor(ctx, w.high) == nil {
			if err := w.settle(ctx); err != nil {
				w.Log.Debug().Err(err).Msg("opening the refresh of a changed table") // noticed still: at the next turn, or at the end
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.notice(ctx)
		}
	}
}

// remind says that a refresh is open which this process does not run.
func (w *shapeWatch) remind(ctx context.Context) {
	state, err := w.Store.State(ctx)
	if err != nil {
		return // the stream's own look says so
	}
	if slices.ContainsFunc(state.Jobs, func(j sink.JobState) bool {
		return j.Resync && !w.resyncs() && (!j.Swap || !connect.FollowsSwaps(w.Config))
	}) {
		w.Log.Warn().Str("try", "wal2vec backfill").Msg("a refresh is open: until it has ended, rows may be as they were before it")
	}
}

// notice compares the table's shape with the known one. What fails here is tried again; a table
// that cannot be followed any more ends the stream where its log does, and tables of wal2vec that
// are not to be trusted end it at once.
func (w *shapeWatch) notice(ctx context.Context) {
	err := w.look(ctx)
	if err == nil {
		w.said = ""
		return
	}
	w.disconnect(ctx)
	if ctx.Err() != nil {
		return
	}
	if untrusted, is := errors.AsType[*sink.UntrustedError](err); is { // each write may run another role's code
		w.end(untrusted)
		return
	}
	if fault.Retryable(err) || err.Error() == w.said {
		w.Log.Debug().Err(err).Msg("looking at the source table's shape")
		return
	}
	w.said = err.Error()
	w.Log.Warn().Err(err).Str("try", fault.Try(err)).Msg("the source table was changed")
}

func (w *shapeWatch) look(ctx context.Context) error {
	state, err := w.Store.State(ctx)
	if err != nil {
		return err
	}
	known, err := w.Store.Shape(ctx)
	if err != nil {
		return err
	}
	if w.source == nil {
		if w.source, err = connect.Source(ctx, w.Config, "shape"); err != nil {
			return err
		}
	}
	oid, err := replication.TableOID(ctx, w.source, w.Config.Source.Table.Schema, w.Config.Source.Table.Name)
	if err != nil || oid != state.Table.OID || state.Slot == "" {
		return err // a swap or a gap, which is the stream's
	}
	w.noteListed(ctx, w.source, oid)
	table, err := connect.InspectFor(ctx, w.source, w.Config, state)
	switch {
	case err != nil:
		return err
	case table.OID != oid:
		return nil // replaced in the meantime
	case known == nil:
		return w.Store.NoteShape(ctx, table.Shape)
	case maps.Equal(known, table.Shape):
		w.noticed = nil
		return nil
	}
	changes, err := replication.Reshaped(ctx, w.source, known, table.Shape)
	if err != nil {
		return err
	}
	reshape := sink.Reshape{Epoch: state.Epoch, Was: known, Now: table.Shape, Refresh: len(changes) > 0}
	if !reshape.Refresh {
		_, err = w.Store.Reshape(ctx, reshape)
		return err
	}
	if n := w.noticed; n != nil && n.Epoch == state.Epoch && maps.Equal(n.Was, known) && maps.Equal(n.Now, table.Shape) {
		return nil // noticed already, with its writers
	}
	w.oid = oid
	writers, err := replication.Writers(ctx, w.source, oid)
	if err != nil {
		return err
	}
	high, err := w.upstream.Load().source.Current(ctx)
	if err != nil {
		return err
	}
	w.noticed, w.high, w.writers, w.changes, w.waits = &reshape, high, writers, changes, false
	return nil
}

// writersLeft reports whether a transaction that wrote before the change is open still.
func (w *shapeWatch) writersLeft(ctx context.Context) (bool, error) {
	if len(w.writers) == 0 {
		return false, nil
	}
	if w.source == nil {
		var err error
		if w.source, err = connect.Source(ctx, w.Config, "shape"); err != nil {
			return false, err
		}
	}
	now, err := replication.Writers(ctx, w.source, w.oid)
	if err != nil {
		w.disconnect(ctx)
		return false, err
	}
	w.writers = slices.DeleteFunc(w.writers, func(writer string) bool { return !slices.Contains(now, writer) })
	return len(w.writers) > 0, nil
}

// settleAtLast is settle behind a stream that has ended by itself: who waits for that is to hear
// where the refresh could not be opened.
func (w *shapeWatch) settleAtLast(ctx context.Context) error {
	pauses := pause.Steady(min(time.Second, w.Config.Stream.RetryMax))
	for try := 1; ctx.Err() == nil; try++ {
		err := w.settle(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil //nolint:nilerr // what fails while the stream stops is no error
		case try == refreshTries:
			return fault.Wrap(err, fault.Unavailable, "start it again: nothing is lost", "the source table was changed, and its refresh cannot be opened")
		}
		_ = pauses.Wait(ctx) // its error is that ctx has ended
	}
	return nil
}

// settle opens the refresh of a change that was noticed, once the watermark has passed the look. An
// error leaves it noticed.
func (w *shapeWatch) settle(ctx context.Context) error {
	if w.noticed == nil {
		return nil
	}
	version, err := w.Store.Version(ctx)
	if err != nil {
		return err
	}
	if version.Epoch != w.noticed.Epoch || version.LSN < w.high {
		return nil
	}
	left, err := w.writersLeft(ctx)
	if err != nil {
		return err
	}
	if left {
		w.sayWaits()
		return nil
	}
	opened, err := w.Store.Reshape(ctx, *w.noticed)
	if err != nil {
		return err
	}
	w.noticed = nil
	what, refreshes := strings.Join(w.changes, "; "), w.resyncs() || connect.FollowsSwaps(w.Config)
	switch {
	case !opened: // before, by a transaction whose answer was lost
	case refreshes:
		w.Log.Warn().Str("changed", what).Msg("the source table was changed in a way that its log does not tell: refreshing it")
	default:
		w.Log.Warn().Str("changed", what).Str("try", "wal2vec backfill").
			Msg("the source table was changed in a way that its log does not tell: until a refresh, rows may be as they were before it")
	}
	if refreshes {
		w.askForRefresh()
	}
	return nil
}

func (w *shapeWatch) sayWaits() {
	if !w.waits {
		w.Log.Info().Str("changed", strings.Join(w.changes, "; ")).Int("transactions", len(w.writers)).
			Msg("the source table was changed beside transactions that write to it: its refresh waits for their end")
	}
	w.waits = true
}

func (w *shapeWatch) disconnect(ctx context.Context) {
	if w.source != nil {
		_ = w.source.Close(context.WithoutCancel(ctx))
		w.source = nil
	}
}
