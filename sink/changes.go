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

// writes are the changes of one transaction as parameters: arrays by column, so that a statement
// takes any number of rows.
type writes struct {
	all    keyed // every change, in the order given
	lsns   []string
	hashes [][][]byte // of all, by template; NULL for a delete, empty where a row has no text by the template

	deletes keyed
	upserts []upserts // one for each of the layout's generations

	force bool
	// known is the position up to which commits of the epoch may have brought rows, as the
	// pipeline's row says, which is locked.
	known change.LSN
}

// upserts are the upserts of a transaction as one generation takes them.
type upserts struct {
	gone    keyed // there is no text by its template, and one by another
	given   keyed // the text has a vector in the batch
	vectors []pgvector.Vector
	owed    keyed // the vector is counted on to be there
	failed  keyed // the text cannot be encoded
	reasons []string
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

// prepare sorts changes into parameters. Every row gets version lsn, or its own when lsn is zero.
func (l *layout) prepare(changes []change.Change, encoded change.Encodings, lsn change.LSN) (*writes, error) {
	n := len(l.key)
	w := &writes{all: newKeyed(n), deletes: newKeyed(n), upserts: make([]upserts, len(l.generations)), known: change.LastLSN}
	for i := range w.upserts {
		w.upserts[i] = upserts{gone: newKeyed(n), given: newKeyed(n), owed: newKeyed(n), failed: newKeyed(n)}
	}
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
		w.all.add(parts, nil)
		if err := w.addHashes(l, c); err != nil {
			return nil, err
		}
		if c.Deleted {
			w.deletes.add(parts, nil)
			continue
		}
		for i := range l.generations {
			g := &l.generations[i]
			if err := w.upserts[i].add(g, parts, documentOf(c, g.template), encoded[g.ID]); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

// addHashes adds a change's hashes by all templates.
func (w *writes) addHashes(l *layout, c *change.Change) error {
	if w.hashes == nil {
		w.hashes = make([][][]byte, len(l.texts.columns))
	}
	if !c.Deleted && 1+len(c.Further) != len(w.hashes) {
		return fmt.Errorf("key %q has texts by %d templates, the pipeline has %d", c.Key, 1+len(c.Further), len(w.hashes))
	}
	for i := range w.hashes {
		var hash []byte
		if !c.Deleted {
			hash = hashOf(c, i)
		}
		w.hashes[i] = append(w.hashes[i], hash)
	}
	return nil
}

// documentOf returns a change's text by a template, hashOf its hash for the ledger: empty where the
// row has no text by it.
func documentOf(c *change.Change, template int) *change.Document {
	if template == 0 {
		return &c.Document
	}
	return &c.Further[template-1]
}

func hashOf(c *change.Change, template int) []byte {
	d := documentOf(c, template)
	if d.Hash == (change.Hash{}) {
		return []byte{}
	}
	return d.Hash[:]
}

func (u *upserts) add(g *target, parts []string, document *change.Document, encoded change.Encoded) error {
	hash := &document.Hash
	if *hash == (change.Hash{}) {
		u.gone.add(parts, nil)
		return nil
	}
	if vector, found := encoded.Vectors[*hash]; found {
		if err := g.checkDimension(vector); err != nil {
			return err
		}
		u.given.add(parts, hash[:])
		u.vectors = append(u.vectors, pgvector.NewVector(vector))
		return nil
	}
	if reason, found := encoded.Failed[*hash]; found {
		u.failed.add(parts, hash[:])
		u.reasons = append(u.reasons, reason)
		return nil
	}
	u.owed.add(parts, hash[:])
	return nil
}

// written is what a transaction did.
type written struct {
	accepted int64                 // rows that the ledger took
	vectors  int64                 // vectors written, in the generation that got most
	needed   map[int][]change.Hash // by generation
	failed   int64                 // rows set aside as dead letters, in the generation that has most
	letters  bool                  // the pipeline had dead letters before
}

// queue adds the statements that write changes in an epoch: ledger, then the vectors by the
// ledger's new state. The dead letters follow with settle.
func (w *writes) queue(b *pgx.Batch, s *Sink, l *layout, epoch change.Epoch, out *written) {
	if w.all.len() == 0 {
		return
	}
	versions := []any{int64(epoch), w.known.String(), w.lsns}
	for _, hashes := range w.hashes {
		versions = append(versions, hashes)
	}
	b.Queue(l.ledgerUpsert, w.all.args(versions...)...).Exec(func(tag pgconn.CommandTag) error {
		out.accepted = tag.RowsAffected()
		return nil
	})
	for i := range l.generations {
		g, u := &l.generations[i], &w.upserts[i]
		if w.deletes.len() > 0 {
			b.Queue(g.remove, w.deletes.args()...)
		}
		if u.gone.len() > 0 {
			b.Queue(g.remove, u.gone.args()...)
		}
		if u.given.len() > 0 {
			b.Queue(g.upsert, u.given.args(w.force, u.given.hashes, u.vectors)...).Exec(func(tag pgconn.CommandTag) error {
				out.vectors = max(out.vectors, tag.RowsAffected())
				return nil
			})
		}
		if u.owed.len() > 0 {
			b.Queue(g.needed, u.owed.args(u.owed.hashes)...).Query(func(rows pgx.Rows) error { return out.collectNeeded(g.ID, rows) })
		}
	}
	b.Queue(s.query("letters_exist"), s.pipeline).QueryRow(func(row pgx.Row) error { return row.Scan(&out.letters) })
}

func (out *written) collectNeeded(generation int, rows pgx.Rows) error {
	var hash []byte
	_, err := pgx.ForEachRow(rows, []any{&hash}, func() error {
		needed, err := storedHash(hash)
		if err != nil {
			return err
		}
		if out.needed == nil {
			out.needed = make(map[int][]change.Hash)
		}
		out.needed[generation] = append(out.needed[generation], needed)
		return nil
	})
	return err
}

// check asks for the vectors that are needed; the transaction must then roll back.
func (out *written) check() error {
	if len(out.needed) == 0 {
		return nil
	}
	return &NeedVectorsError{Hashes: out.needed}
}

// stale returns the upserts of which a generation lacks the text under their key; those that are
// known to fail are among them when again is true.
func (s *Sink) stale(ctx context.Context, l *layout, changes []change.Change, again bool) ([]change.Lack, error) {
	var lacks []change.Lack
	b := &pgx.Batch{}
	// One round trip and so one transaction, which is how far the settings reach.
	b.Queue(s.query("settings"))
	for template := range l.texts.columns {
		rows, positions, err := l.textsBy(changes, template)
		if err != nil {
			return nil, err
		}
		if len(positions) == 0 {
			continue
		}
		for i := range l.generations {
			g := &l.generations[i]
			if g.template != template {
				continue
			}
			b.Queue(g.stale, rows.args(again, rows.hashes)...).Query(func(found pgx.Rows) error {
				lack := change.Lack{Generation: g.ID, Template: template, At: make([]int, 0, len(positions))}
				var at int
				_, err := pgx.ForEachRow(found, []any{&at}, func() error {
					if err := oneOf(at, len(positions)); err != nil {
						return err
					}
					lack.At = append(lack.At, positions[at])
					return nil
				})
				if len(lack.At) > 0 {
					slices.Sort(lack.At)
					lacks = append(lacks, lack)
				}
				return err
			})
		}
	}
	if b.Len() == 1 {
		return nil, nil
	}
	if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, s.explain(s.unlessOutdated(ctx, l, err), "looking up vectors")
	}
	return lacks, nil
}

// textsBy returns the upserts that have a text by a template, and where in changes they are.
func (l *layout) textsBy(changes []change.Change, template int) (rows keyed, positions []int, err error) {
	rows = newKeyed(len(l.key))
	for i := range changes {
		c := &changes[i]
		if c.Deleted {
			continue
		}
		if 1+len(c.Further) != len(l.texts.columns) {
			return rows, nil, fmt.Errorf("key %q has texts by %d templates, the pipeline has %d", c.Key, 1+len(c.Further), len(l.texts.columns))
		}
		hash := hashOf(c, template)
		if len(hash) == 0 {
			continue
		}
		parts, err := l.parts(c.Key)
		if err != nil {
			return rows, nil, err
		}
		rows.add(parts, hash)
		positions = append(positions, i)
	}
	return rows, positions, nil
}

// send runs a batch inside a transaction; the first error, of a statement or of a callback, is its
// result.
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
