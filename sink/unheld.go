package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// A key that an index of the source holds may have no room in the sink's: where that compresses
// otherwise, has smaller pages, or needs more bytes for a character. The ledger cannot have such a
// row, and so no process guards its versions; it is a dead letter with that reason, and stops no
// other row.

// noRoom begins the reason of such a letter.
const noRoom = "no room in an index of the sink for a key of "

// isTooLong reports whether an index refused an entry.
func isTooLong(err error) bool { return fault.SQLSTATE(err) == "54000" }

// longKey is the least length in bytes of a key that is tried: far below what any index of pages of
// 8 KiB refuses, in whatever character set.
const longKey = 1000

// errTried rolls back what was only tried.
var errTried = errors.New("tried")

// divide tells the changes that the ledger can have from the others, after it has refused one of
// them. It writes nothing.
func (s *Sink) divide(ctx context.Context, l *layout, changes []change.Change) (held, unheld []change.Change, err error) {
	err = s.writeTx(ctx, l, pgx.TxOptions{}, func(tx pgx.Tx) error {
		for i := range changes {
			c := &changes[i]
			taken := true
			if len(c.Key) >= longKey {
				var err error
				if taken, err = l.takes(ctx, tx, c.Key); err != nil {
					return err
				}
			}
			if taken {
				held = append(held, *c)
			} else {
				unheld = append(unheld, *c)
			}
		}
		return errTried
	})
	if !errors.Is(err, errTried) {
		return nil, nil, s.explain(s.unlessOutdated(ctx, l, err), "looking for keys that are too long")
	}
	if len(unheld) > 0 {
		s.log.Warn().Int("rows", len(unheld)).Msg("an index of the sink has no room for the keys of these rows: they become dead letters")
	}
	return held, unheld, nil
}

// takes tries whether the ledger can have a key: as the oldest tombstone, which takes no row's
// place.
func (l *layout) takes(ctx context.Context, tx pgx.Tx, key change.Key) (bool, error) {
	parts, err := l.parts(key)
	if err != nil {
		return false, err
	}
	one := newKeyed(len(parts))
	one.add(parts, nil)
	before := []any{int64(0), change.LastLSN.String(), []string{change.LSN(0).String()}}
	for range l.texts.columns {
		before = append(before, [][]byte{nil})
	}
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, l.ledgerUpsert, one.args(before...)...); err != nil {
			return err
		}
		return errTried
	})
	switch {
	case errors.Is(err, errTried):
		return true, nil
	case isTooLong(err):
		return false, nil
	default:
		return false, err
	}
}

// setAside writes the letters of rows that the ledger cannot have, in the transaction that writes
// the others. Each row gets version lsn, or its own when lsn is zero. It returns how many have a
// text.
func (l *layout) setAside(ctx context.Context, tx pgx.Tx, s *Sink, unheld []change.Change, as change.Version) (int, error) {
	failed := 0
	b := &pgx.Batch{}
	for i := range l.generations {
		g := &l.generations[i]
		live, gone := newKeyed(len(l.key)), newKeyed(len(l.key))
		var liveAt, goneAt, reasons []string
		for at := range unheld {
			c := &unheld[at]
			parts, err := l.parts(c.Key)
			if err != nil {
				return 0, err
			}
			lsn := c.LSN
			if as.LSN != 0 {
				lsn = as.LSN
			}
			var hash []byte
			if !c.Deleted {
				hash = hashOf(c, g.template)
			}
			if len(hash) == 0 {
				gone.add(parts, nil)
				goneAt = append(goneAt, lsn.String())
				continue
			}
			live.add(parts, hash)
			liveAt, reasons = append(liveAt, lsn.String()), append(reasons, fmt.Sprintf("%s%d bytes", noRoom, len(c.Key)))
		}
		if gone.len() > 0 {
			b.Queue(g.lettersUnheldGone, gone.args(s.pipeline, int64(as.Epoch), goneAt)...)
		}
		if live.len() > 0 {
			failed = max(failed, live.len())
			b.Queue(g.lettersUnheld, live.args(s.pipeline, int64(as.Epoch), liveAt, live.hashes, reasons)...)
		}
	}
	return failed, send(ctx, tx, b)
}
