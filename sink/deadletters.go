package sink

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wal2vec/wal2vec/internal/change"
)

// settle keeps the dead letters in step with what the transaction wrote. A key has a letter of a
// generation as long as its row is live with the letter's text and lacks the vector there; the
// ledger says of a key that has any that it failed.
func (w *writes) settle(ctx context.Context, tx pgx.Tx, s *Sink, l *layout, out *written) error {
	failed := slices.ContainsFunc(w.upserts, func(u upserts) bool { return u.failed.len() > 0 })
	if !out.letters && !failed {
		return nil
	}
	b := &pgx.Batch{}
	for i := range l.generations {
		g, u := &l.generations[i], &w.upserts[i]
		if u.failed.len() > 0 {
			b.Queue(g.strip, u.failed.args(u.failed.hashes)...)
			b.Queue(g.lettersWrite, u.failed.args(s.pipeline, u.failed.hashes, u.reasons)...).Exec(func(tag pgconn.CommandTag) error {
				out.failed = max(out.failed, tag.RowsAffected())
				return nil
			})
		}
		if out.letters {
			b.Queue(g.lettersClear, w.all.args(s.pipeline)...)
		}
	}
	if out.letters {
		b.Queue(l.lettersHeal, w.all.args(s.pipeline)...)
	}
	return send(ctx, tx, b)
}

// DeadLetter is a row whose text cannot be encoded.
type DeadLetter struct {
	Key change.Key
	// Generation is the one that lacks the vector.
	Generation int
	// Version is the row's in the ledger when it last failed.
	Version change.Version
	Hash    change.Hash
	// Reason is the encoder's, in one line; the text itself is not kept.
	Reason string
	// Attempts counts the batches and chunks in which this text failed under this key, the first
	// one at FirstAt.
	Attempts int
	FirstAt  time.Time
	LastAt   time.Time
}

// DeadLetters returns the pipeline's dead letters, the latest first: at most limit, or all when
// that is zero. Rows that hold no dead letter are left out; beside the others the error is
// ErrDamagedLetters then.
func (s *Sink) DeadLetters(ctx context.Context, limit int64) ([]DeadLetter, error) {
	st, err := s.state(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, s.query("letters"), s.pipeline, limit)
	if err != nil {
		return nil, s.explain(err, "reading the dead letters")
	}
	letters := []DeadLetter{}
	var d DeadLetter
	var key []*string
	var hash []byte
	var first, last pgtype.Timestamptz
	var bad []string
	into := []any{&key, &d.Generation, &d.Version.Epoch, &d.Version.LSN, &hash, &d.Reason, &d.Attempts, &first, &last}
	_, err = pgx.ForEachRow(rows, into, func() error {
		if err := cmp.Or(fits(st.Table.Key, key), dated(first), dated(last)); err != nil {
			bad = append(bad, fmt.Sprintf("key %s of generation %d (%v)", shown(key), d.Generation, err))
			return nil
		}
		d.Key, d.FirstAt, d.LastAt = keyOf(key), first.Time, last.Time
		d.Hash, err = storedHash(hash)
		letters = append(letters, d)
		return err
	})
	if err != nil {
		return nil, s.explain(err, "reading the dead letters")
	}
	return letters, s.damagedLetters(bad)
}

// DropDeadLetters forgets the dead letters of these keys and returns the keys that had one. Their
// rows stay without a vector until they change or a backfill encodes them.
func (s *Sink) DropDeadLetters(ctx context.Context, keys []change.Key) ([]change.Key, error) {
	return s.dropLetters(ctx, keys, false)
}

// DropAllDeadLetters forgets every dead letter, as DropDeadLetters does.
func (s *Sink) DropAllDeadLetters(ctx context.Context) ([]change.Key, error) {
	return s.dropLetters(ctx, nil, true)
}

func (s *Sink) dropLetters(ctx context.Context, keys []change.Key, all bool) ([]change.Key, error) {
	l, err := s.open(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	named := newKeyed(len(l.key))
	for _, key := range keys {
		parts, err := l.parts(key)
		if err != nil {
			return nil, err
		}
		named.add(parts, nil)
	}
	var dropped []change.Key
	err = s.writing(ctx, func(tx pgx.Tx) error {
		if _, err := s.lockPipeline(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, l.lettersDrop, named.args(s.pipeline, all)...)
		if err != nil {
			return err
		}
		dropped, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (change.Key, error) {
			var key []*string
			err := row.Scan(&key)
			return keyOf(key), err
		})
		dropped = slices.Compact(slices.Sorted(slices.Values(dropped))) // a key may have one of each generation
		return err
	})
	if err != nil {
		return nil, s.explain(err, "dropping dead letters")
	}
	return dropped, nil
}
