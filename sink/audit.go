package sink

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// Audit reads what the sink holds of one generation, to be compared with the source. It writes
// nothing. protocol.ErrGenerations from any of its methods says that the set of generations
// changed: open it again.
type Audit struct {
	sink   *Sink
	layout *layout
	target target
	state  State

	rows, vectors                 string
	sampledLedger, sampledVectors string
	ledgerKeys, vectorKeys        [2]string // of the first keys, and of those behind a key
	ledger, table                 string
}

// OpenAudit reads the pipeline for an audit of a generation, by its number; zero takes the active
// one.
func (s *Sink) OpenAudit(ctx context.Context, generation int) (*Audit, error) {
	l, err := s.open(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	a := &Audit{sink: s, layout: l}
	if a.state, err = s.state(ctx, s.pool); err != nil {
		return nil, err
	}
	if a.state.counter != l.counter {
		return nil, protocol.ErrGenerations
	}
	at := l.active
	if generation != 0 {
		at = slices.IndexFunc(l.generations, func(g target) bool { return g.ID == generation })
	}
	if at < 0 {
		return nil, fault.New(fault.Usage, "wal2vec generation list", "generation %d is not there, or retired", generation)
	}
	a.target = l.generations[at]
	t := s.tablesOf(l.key).forGeneration(s, a.target.Generation, l.extension.schema)
	a.rows, a.vectors, a.ledger, a.table = render("audit_rows", t), render("audit_vectors", t), t.Ledger, t.Vectors
	a.sampledLedger, a.sampledVectors = render("audit_sample_ledger", t), render("audit_sample_vectors", t)
	for i, after := range []bool{false, true} {
		t.After = after
		a.ledgerKeys[i], a.vectorKeys[i] = render("audit_ledger_keys", t), render("audit_vector_keys", t)
	}
	return a, nil
}

// Generation is the one that is read.
func (a *Audit) Generation() Generation { return a.target.Generation }

// TemplateNumber is the number of its template among those of the pipeline; see change.Change.Text.
func (a *Audit) TemplateNumber() int { return a.target.template }

// Holding is what the sink holds of a key in one generation.
type Holding struct {
	// Known is true when the ledger has a row of the key; Version and Deleted are that row's.
	Known   bool
	Version change.Version
	Deleted bool
	// Hash is the ledger's hash of the text by the generation's template; zero where there is none.
	Hash change.Hash
	// HasVector is true when the generation has a vector of the key: made from the text of
	// VectorHash, and of length Norm.
	HasVector  bool
	VectorHash change.Hash
	Norm       float64
	// Refused is the hash of the text that the generation's dead letter of the key is about; zero
	// without one.
	Refused change.Hash
	// Ahead is true where no commit can have brought the version: it is above the pipeline's, and
	// keeps later ones out.
	Ahead bool
	// Unheld is true where that letter says that the ledger cannot have the row.
	Unheld bool
}

// Live reports whether the ledger has a row of the key that is not deleted.
func (h *Holding) Live() bool { return h.Known && !h.Deleted }

// Look is what the sink holds of some keys in one snapshot, in the order of the keys, with the
// pipeline's versions there.
type Look struct {
	Version, Truncated change.Version
	Holdings           []Holding
}

// Look reads what the sink holds of keys, each of which may occur once.
func (a *Audit) Look(ctx context.Context, keys []change.Key) (Look, error) {
	named, err := a.named(keys)
	if err != nil {
		return Look{}, err
	}
	look := Look{Holdings: make([]Holding, len(keys))}
	err = a.read(ctx, func(tx pgx.Tx, p locked) error {
		look.Version, look.Truncated = p.version, p.truncated
		rows, err := tx.Query(ctx, a.rows, named.args()...)
		if err != nil {
			return err
		}
		err = scanHoldings(rows, look.Holdings)
		for i := range look.Holdings {
			h := &look.Holdings[i]
			h.Ahead = h.Known && h.Version.Compare(change.Version{Epoch: p.version.Epoch, LSN: max(p.version.LSN, p.partial)}) > 0
		}
		return err
	})
	if err != nil {
		return Look{}, err
	}
	return look, nil
}

// storedVectorColumn is where audit_rows has the vector.
const storedVectorColumn = 6

func scanHoldings(rows pgx.Rows, to []Holding) error {
	var at int
	var epoch *change.Epoch
	var lsn change.LSN
	var deleted bool
	var hash, vectorHash, refused []byte
	var stored pgtype.UndecodedBytes
	var reason string
	_, err := pgx.ForEachRow(rows, []any{&at, &epoch, &lsn, &deleted, &hash, &vectorHash, &stored, &refused, &reason}, func() error {
		if err := oneOf(at, len(to)); err != nil {
			return err
		}
		vector, err := components(rows, storedVectorColumn, stored)
		if err != nil {
			return err
		}
		h := Holding{Known: epoch != nil, Deleted: deleted, HasVector: vectorHash != nil, Norm: norm(vector)}
		h.Unheld = !h.Known && strings.HasPrefix(reason, noRoom)
		if h.Known {
			h.Version = change.Version{Epoch: *epoch, LSN: lsn}
		}
		copy(h.Hash[:], hash)
		copy(h.VectorHash[:], vectorHash)
		copy(h.Refused[:], refused)
		to[at] = h
		return nil
	})
	return err
}

// StoredVector is a vector with the hash of the text that it was made from.
type StoredVector struct {
	Hash   change.Hash
	Vector []float32
}

// Vectors reads the vectors of keys; a key without one is not in the result.
func (a *Audit) Vectors(ctx context.Context, keys []change.Key) (map[change.Key]StoredVector, error) {
	named, err := a.named(keys)
	if err != nil {
		return nil, err
	}
	found := make(map[change.Key]StoredVector, len(keys))
	err = a.read(ctx, func(tx pgx.Tx, _ locked) error {
		rows, err := tx.Query(ctx, a.vectors, named.args()...)
		if err != nil {
			return err
		}
		var at int
		var hash []byte
		var raw pgtype.UndecodedBytes
		_, err = pgx.ForEachRow(rows, []any{&at, &hash, &raw}, func() error {
			if err := oneOf(at, len(keys)); err != nil {
				return err
			}
			vector, err := components(rows, 2, raw)
			if err != nil {
				return err
			}
			stored := StoredVector{Vector: vector}
			copy(stored.Hash[:], hash)
			found[keys[at]] = stored
			return nil
		})
		return err
	})
	return found, err
}

// LiveKeys returns up to limit keys of the ledger's live rows that come after a key in the sink's
// order, or the first ones when that is empty.
func (a *Audit) LiveKeys(ctx context.Context, after change.Key, limit int) ([]change.Key, error) {
	statement, args, err := a.behind(a.ledgerKeys, after, limit)
	if err != nil {
		return nil, err
	}
	var keys []change.Key
	err = a.read(ctx, func(tx pgx.Tx, _ locked) error {
		keys, err = a.keys(ctx, tx, statement, args...)
		return err
	})
	return keys, err
}

// Unlisted returns, of up to limit vectors whose keys come after a key, the keys without a live row
// in the ledger, and the last key that was read, which is empty at the end.
func (a *Audit) Unlisted(ctx context.Context, after change.Key, limit int) (keys []change.Key, last change.Key, err error) {
	statement, args, err := a.behind(a.vectorKeys, after, limit)
	if err != nil {
		return nil, "", err
	}
	err = a.read(ctx, func(tx pgx.Tx, _ locked) error {
		rows, err := tx.Query(ctx, statement, args...)
		if err != nil {
			return err
		}
		parts, targets := a.keyTargets()
		var unlisted bool
		_, err = pgx.ForEachRow(rows, append(targets, &unlisted), func() error {
			last = change.KeyOf(parts...)
			if unlisted {
				keys = append(keys, last)
			}
			return nil
		})
		return err
	})
	return keys, last, err
}

// fewRows is a table of which a sample reads all: it is a moment's work, and whole pages of few
// rows are no fair sample.
const fewRows = 50_000

// SampleKeys returns up to n keys of the ledger's live rows and up to n of the generation's
// vectors, at random.
func (a *Audit) SampleKeys(ctx context.Context, n int) ([]change.Key, error) {
	var all []change.Key
	err := a.read(ctx, func(tx pgx.Tx, _ locked) error {
		for _, from := range []struct{ table, statement string }{{a.ledger, a.sampledLedger}, {a.table, a.sampledVectors}} {
			var rows int64
			if err := tx.QueryRow(ctx, a.sink.query("audit_size"), from.table).Scan(&rows); err != nil {
				return err
			}
			keys, err := a.keys(ctx, tx, from.statement, SamplePercent(n, rows), n)
			if err != nil {
				return err
			}
			all = append(all, keys...)
		}
		return nil
	})
	slices.Sort(all)
	return slices.Compact(all), err
}

// SamplePercent is the share of a table's pages that holds n of its rows and some more; rows may be
// an estimate, 0 when it is not known.
func SamplePercent(n int, rows int64) float32 {
	const whole, more = 100, 1.25
	if rows < fewRows {
		return whole
	}
	return min(whole, float32(whole*more*float64(n)/float64(rows)))
}

// CheckView returns what is wrong with the view that people query, or "": it must read the active
// generation's vectors.
func (a *Audit) CheckView(ctx context.Context) (string, error) {
	schema, name := a.state.ViewSchema, a.state.ViewName
	if name == "" {
		return "", nil
	}
	active, err := a.layout.current()
	if err != nil {
		return "", err
	}
	found, err := a.sink.inspectView(ctx, a.sink.pool, schema, name, viewColumns(a.state.Table.Key), active.Table)
	switch {
	case err != nil:
		return "", err
	case !found.exists:
		return fmt.Sprintf("view %s.%s is gone", schema, name), nil
	case !found.ours:
		return fmt.Sprintf("view %s.%s does not read %s, the vectors of the active generation %d", schema, name, active.Table, active.ID), nil
	default:
		return "", nil
	}
}

// read runs f in one read-only snapshot in which the set of generations is the one that was opened.
func (a *Audit) read(ctx context.Context, f func(pgx.Tx, locked) error) error {
	err := a.sink.readTx(ctx, a.layout, func(tx pgx.Tx) error {
		var p locked
		b := &pgx.Batch{}
		b.Queue(a.sink.query("audit_settings"))
		b.Queue(a.sink.query("audit_pipeline"), a.sink.pipeline).QueryRow(func(row pgx.Row) error { return row.Scan(append(p.fields(), &p.partial)...) })
		if err := send(ctx, tx, b); err != nil {
			return err
		}
		if p.counter != a.layout.counter {
			return protocol.ErrGenerations
		}
		return f(tx, p)
	})
	if err != nil {
		return a.sink.explain(a.sink.unlessOutdated(ctx, a.layout, err), "reading the sink")
	}
	return nil
}

func (a *Audit) named(keys []change.Key) (keyed, error) {
	named := newKeyed(len(a.layout.key))
	for _, key := range keys {
		parts, err := a.layout.parts(key)
		if err != nil {
			return named, err
		}
		named.add(parts, nil)
	}
	return named, nil
}

// behind picks the statement for the keys behind a key, with its parameters.
func (a *Audit) behind(statements [2]string, after change.Key, limit int) (string, []any, error) {
	if after == "" {
		return statements[0], []any{limit}, nil
	}
	parts, err := a.layout.parts(after)
	if err != nil {
		return "", nil, err
	}
	args := []any{limit}
	for _, part := range parts {
		args = append(args, part)
	}
	return statements[1], args, nil
}

func (a *Audit) keyTargets() (parts []string, targets []any) {
	parts = make([]string, len(a.layout.key))
	for i := range parts {
		targets = append(targets, &parts[i])
	}
	return parts, targets
}

func (a *Audit) keys(ctx context.Context, tx pgx.Tx, statement string, args ...any) ([]change.Key, error) {
	rows, err := tx.Query(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	parts, targets := a.keyTargets()
	var keys []change.Key
	_, err = pgx.ForEachRow(rows, targets, func() error {
		keys = append(keys, change.KeyOf(parts...))
		return nil
	})
	return keys, err
}
