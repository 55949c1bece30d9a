package backfill

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/sink"
)

// Letters names dead letters.
type Letters struct {
	// Keys are written as `dead-letter list` shows them, parts with commas between.
	Keys []string
	// All is every dead letter.
	All bool
}

// Find returns the keys that were named; each must have a dead letter, or the error is of kind
// Usage. Beside the keys the error may be sink.ErrDamagedLetters.
func (l Letters) Find(ctx context.Context, s *sink.Sink) ([]change.Key, error) {
	state, err := s.State(ctx)
	if err != nil {
		return nil, err
	}
	letters, damaged := s.DeadLetters(ctx, 0)
	if damaged != nil && !errors.Is(damaged, sink.ErrDamagedLetters) {
		return nil, damaged
	}
	there := make(map[change.Key]bool, len(letters))
	var all []change.Key
	for _, d := range letters {
		if !there[d.Key] { // a row may have one of each generation
			there[d.Key] = true
			all = append(all, d.Key)
		}
	}
	if l.All {
		return all, damaged
	}
	var chosen []change.Key
	for _, text := range l.Keys {
		key, err := connect.ParseKey(text, len(state.Table.Key))
		if err != nil {
			return nil, err
		}
		if !there[key] {
			return nil, fault.New(fault.Usage, "wal2vec dead-letter list", "no dead letter has the key %s", key.String())
		}
		chosen = append(chosen, key)
	}
	return chosen, nil
}

// Retried is what a retry came to, in rows.
type Retried struct {
	Rows int64
	// Encoded have a vector now, Failed still have none, Gone are not in the source any more.
	Encoded, Failed, Gone int64
	Duration              time.Duration
}

// Retry reads the rows of the dead letters that were chosen and encodes them. Rows that hold no
// dead letter are left out; beside the result the error is sink.ErrDamagedLetters then.
func (f *Filler) Retry(ctx context.Context, l Letters) (r Retried, err error) {
	err = f.Store.Trusting(ctx, func(ctx context.Context) (err error) {
		if err := f.checkGap(ctx); err != nil {
			return err
		}
		r, err = f.retry(ctx, l)
		return err
	})
	return r, err
}

// retry begins again where the generations change under it, for those that there are then.
func (f *Filler) retry(ctx context.Context, l Letters) (Retried, error) {
	keys, damaged := l.Find(ctx, f.Store.Sink)
	if damaged != nil && !errors.Is(damaged, sink.ErrDamagedLetters) {
		return Retried{}, damaged
	}
	if len(keys) == 0 {
		return Retried{}, errors.Join(f.closeRetry(ctx), damaged)
	}
	for {
		r, err := f.readKeys(ctx, keys, false)
		if !errors.Is(err, protocol.ErrGenerations) {
			return r, cmp.Or(err, damaged)
		}
	}
}

// closeRetry closes the job of a retry, or of a repair, that was killed: it keeps tombstones.
func (f *Filler) closeRetry(ctx context.Context) error {
	job, err := f.Store.OpenJob(ctx, sink.JobParams{Mode: sink.Retry, Restart: true})
	if fault.KindOf(err) == fault.Busy { // another process works on it
		return nil
	}
	if err != nil {
		return err
	}
	defer job.Close()
	return job.Finish(ctx)
}

// Rewrite is a backfill over the rows of some keys that encodes all their texts again. Where the
// generations change under it, it begins again.
func (f *Filler) Rewrite(ctx context.Context, keys []change.Key) error {
	for {
		if _, err := f.readKeys(ctx, keys, true); !errors.Is(err, protocol.ErrGenerations) {
			return err
		}
	}
}

// readKeys is a backfill over the rows of some keys: its job's row is committed before they are
// read, and it never sweeps. Every text is encoded again where that is asked for.
func (f *Filler) readKeys(ctx context.Context, keys []change.Key, every bool) (Retried, error) {
	// What an earlier retry left open is not gone on with: its keys may be others.
	job, err := f.Store.OpenJob(ctx, sink.JobParams{Mode: sink.Retry, Restart: true, Again: every})
	if err != nil {
		return Retried{}, err
	}
	defer job.Close()
	if err := f.readFor(ctx, job); err != nil {
		return Retried{}, err
	}
	options := f.options(job)
	options.Some, options.Full = true, options.Full || every
	s, err := f.runOver(ctx, job, f.reader.Keys(keys), options)
	return Retried{
		Rows: s.Processed, Encoded: max(0, s.Processed-s.Failed-s.Deleted-s.Superseded), Failed: s.Failed, Gone: s.Deleted,
		Duration: s.Duration,
	}, err
}
