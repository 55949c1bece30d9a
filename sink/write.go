package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgvector/pgvector-go"

	"github.com/wal2vec/wal2vec/internal/change"
)

// writes are the changes of one transaction as parameters: arrays by column, so that a statement takes any number of rows.
type writes struct {
	all    keyed // every change, in the order given
	lsns   []string
	hashes [][]byte // of all; NULL for a delete

	deletes keyed
	given   keyed // upserts whose text has a vector in the batch
	vectors []pgvector.Vector
	owed    keyed // upserts that count on the vector being there
	failed  keyed // upserts whose text cannot be encoded
	reasons []string

	force bool
}

// keyed are rows by key and hash, column by column.
type keyed struct {
	columns [][]string
	hashes  [][]byte
}

func (k *keyed) len() int { return len(k.columns[0]) }

func (k *keyed) add(parts []string, hash []byte) {
	for i, part := range parts {
		k.columns[i] = append(k.columns[i], part)
	}
	k.hashes = append(k.hashes, hash)
}

// args appends the key's columns to a statement's parameters.
func (k *keyed) args(before ...any) []any {
	for _, column := range k.columns {
		before = append(before, column)
	}
	return before
}

func newKeyed(columns int) keyed { return keyed{columns: make([][]string, columns)} }

// parts splits a key that has as many parts as the pipeline's.
func (l *layout) parts(key change.Key) ([]string, error) {
	parts := key.Parts()
	if len(parts) != len(l.key) {
		return nil, fmt.Errorf("key %q has %d parts, the pipeline's key %d", key, len(parts), len(l.key))
	}
	return parts, nil
}

// encodings are what became of texts: a vector, or why there is none.
type encodings struct {
	vectors map[change.Hash][]float32
	failed  map[change.Hash]string
}

// prepare sorts changes into parameters. Every row gets version lsn, or its own when lsn is zero.
func (l *layout) prepare(changes []change.Change, encoded encodings, lsn change.LSN) (*writes, error) {
	n := len(l.key)
	w := &writes{all: newKeyed(n), deletes: newKeyed(n), given: newKeyed(n), owed: newKeyed(n), failed: newKeyed(n)}
	w.lsns = make([]string, 0, len(changes))
	var last change.LSN
	var lastText string
	for i := range changes {
		c := &changes[i]
		parts, err := l.parts(c.Key)
		if err != nil {
			return nil, err
		}
		at := c.LSN
		if lsn != 0 {
			at = lsn
		}
		if at != last || lastText == "" {
			last, lastText = at, at.String()
		}
		w.lsns = append(w.lsns, lastText)
		if c.Deleted {
			w.all.add(parts, nil)
			w.deletes.add(parts, nil)
			continue
		}
		w.all.add(parts, c.Document.Hash[:])
		if err := w.addUpsert(l, parts, c.Document.Hash, encoded); err != nil {
			return nil, err
		}
	}
	w.hashes = w.all.hashes
	return w, nil
}

func (w *writes) addUpsert(l *layout, parts []string, hash change.Hash, encoded encodings) error {
	if vector, found := encoded.vectors[hash]; found {
		for _, g := range l.generations {
			if err := g.checkDimension(vector); err != nil {
				return err
			}
		}
		w.given.add(parts, hash[:])
		w.vectors = append(w.vectors, pgvector.NewVector(vector))
		return nil
	}
	if reason, found := encoded.failed[hash]; found {
		w.failed.add(parts, hash[:])
		w.reasons = append(w.reasons, reason)
		return nil
	}
	w.owed.add(parts, hash[:])
	return nil
}

// written is what a transaction did.
type written struct {
	accepted int64 // rows that the ledger took
	vectors  int64 // vectors written, in the generation that got most
	needed   map[change.Hash]struct{}
	failed   int64 // rows set aside as dead letters
	letters  bool  // the pipeline had dead letters before
}

// queue adds the statements that write changes in an epoch: ledger, then the vectors by the ledger's new state. The dead letters
// follow with settle.
func (w *writes) queue(b *pgx.Batch, s *Sink, l *layout, epoch change.Epoch, out *written) {
	if w.all.len() == 0 {
		return
	}
	b.Queue(l.ledgerUpsert, w.all.args(int64(epoch), w.lsns, w.hashes)...).Exec(func(tag pgconn.CommandTag) error {
		out.accepted = tag.RowsAffected()
		return nil
	})
	for _, g := range l.generations {
		if w.deletes.len() > 0 {
			b.Queue(g.remove, w.deletes.args()...)
		}
		if w.given.len() > 0 {
			b.Queue(g.upsert, w.given.args(w.force, w.given.hashes, w.vectors)...).Exec(func(tag pgconn.CommandTag) error {
				out.vectors = max(out.vectors, tag.RowsAffected())
				return nil
			})
		}
		if w.owed.len() > 0 {
			b.Queue(g.needed, w.owed.args(w.owed.hashes)...).Query(out.collectNeeded)
		}
	}
	b.Queue(s.query("letters_exist"), s.pipeline).QueryRow(func(row pgx.Row) error { return row.Scan(&out.letters) })
}

func (out *written) collectNeeded(rows pgx.Rows) error {
	var hash []byte
	_, err := pgx.ForEachRow(rows, []any{&hash}, func() error {
		if out.needed == nil {
			out.needed = make(map[change.Hash]struct{})
		}
		out.needed[change.Hash(hash)] = struct{}{}
		return nil
	})
	return err
}

// check asks for the vectors that are needed; the transaction must then roll back.
func (out *written) check() error {
	if len(out.needed) == 0 {
		return nil
	}
	need := &NeedVectorsError{}
	for hash := range out.needed {
		need.Hashes = append(need.Hashes, hash)
	}
	slices.SortFunc(need.Hashes, func(a, b change.Hash) int { return slices.Compare(a[:], b[:]) })
	return need
}

// stale returns the indexes of the upserts of which some generation lacks the text under their key; those that are known to fail are
// among them when again is true.
func (s *Sink) stale(ctx context.Context, l *layout, changes []change.Change, again bool) ([]int, error) {
	upserts := newKeyed(len(l.key))
	var positions []int
	for i := range changes {
		c := &changes[i]
		if c.Deleted {
			continue
		}
		parts, err := l.parts(c.Key)
		if err != nil {
			return nil, err
		}
		upserts.add(parts, c.Document.Hash[:])
		positions = append(positions, i)
	}
	if len(positions) == 0 {
		return nil, nil
	}
	// One round trip and so one transaction, which is how far the settings reach.
	lacking := make(map[int]struct{})
	b := &pgx.Batch{}
	b.Queue(s.query("settings"))
	for _, g := range l.generations {
		b.Queue(g.stale, upserts.args(again, upserts.hashes)...).Query(func(rows pgx.Rows) error {
			var at int
			_, err := pgx.ForEachRow(rows, []any{&at}, func() error {
				lacking[positions[at]] = struct{}{}
				return nil
			})
			return err
		})
	}
	if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, s.explain(err, "looking up vectors")
	}
	out := make([]int, 0, len(lacking))
	for i := range lacking {
		out = append(out, i)
	}
	slices.Sort(out)
	return out, nil
}

// send runs a batch inside a transaction; the first error, of a statement or of a callback, is its result.
func send(ctx context.Context, tx pgx.Tx, b *pgx.Batch) error {
	return tx.SendBatch(ctx, b).Close()
}

func isDivisionByZero(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "22012"
}

// nullable sends the zero position as NULL.
func nullable(lsn change.LSN) *string {
	if lsn == 0 {
		return nil
	}
	text := lsn.String()
	return &text
}
