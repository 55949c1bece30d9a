package sink

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// layout is what a writer or a search knows of the pipeline's tables: read once, when it begins. It
// does not change; the counter tells when it is out of date.
type layout struct {
	key         []change.Column
	counter     int64
	extension   extension
	generations []target // those that are not retired
	active      int      // index in generations; -1 when none is
	texts       texts

	ledgerUpsert   string
	ledgerTruncate string
	sweep          string
	collect        string

	lettersHeal string
	lettersDrop string
}

// target is a generation with its statements.
type target struct {
	Generation
	template   int // number of its template; see change.Change
	upsert     string
	remove     string
	removeDead string
	needed     string
	stale      string
	strip      string
	search     string
	counts     string

	lettersWrite     string
	lettersClear     string
	lettersReconcile string

	lettersUnheld     string
	lettersUnheldGone string
}

// open reads the pipeline and renders its statements.
func (s *Sink) open(ctx context.Context, q querier) (*layout, error) {
	st, err := s.state(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(st.Generations) == 0 {
		return nil, fault.New(fault.Usage, initFirst, "pipeline %q has no generation of vectors yet", s.pipeline)
	}
	l := &layout{key: st.Table.Key, counter: st.counter, active: -1}
	if l.extension, err = s.extension(ctx, q); err != nil {
		return nil, err
	}
	if l.texts, err = textsOf(st); err != nil {
		return nil, err
	}
	own := s.tablesOf(l.key)
	for _, column := range l.texts.columns {
		own.Hashes = append(own.Hashes, pgname.Catalogue(column))
	}
	l.ledgerUpsert, l.ledgerTruncate = render("ledger_upsert", own), render("ledger_truncate", own)
	l.sweep, l.collect = render("sweep", own), render("tombstones_collect", own)
	for i, g := range st.Generations {
		if g.State == Active {
			l.active = i
		}
		t := own.forGeneration(s, g, l.extension.schema)
		l.generations = append(l.generations, target{
			Generation: g, template: slices.Index(l.texts.columns, g.HashColumn), upsert: render("vectors_upsert", t), remove: render("vectors_delete", t),
			removeDead: render("vectors_delete_dead", t), needed: render("vectors_needed", t), stale: render("vectors_stale", t),
			strip: render("letters_strip", t), search: render("search", t), counts: render("counts", t),
			lettersWrite: render("letters_write", t), lettersClear: render("letters_clear", t), lettersReconcile: render("letters_reconcile", t),
			lettersUnheld: render("letters_unheld", t), lettersUnheldGone: render("letters_unheld_gone", t),
		})
	}
	l.lettersHeal, l.lettersDrop = render("letters_heal", own), render("letters_drop", own)
	return l, nil
}

// texts are the templates of the generations that are written, in the order of the generations,
// with the ledger's columns for their hashes.
type texts struct {
	template change.Template
	columns  []string
}

func textsOf(st State) (texts, error) {
	var t texts
	var templates []change.Template
	for _, g := range st.Generations {
		if slices.Contains(t.columns, g.HashColumn) {
			continue
		}
		template, err := change.ParseTemplateBy(g.Template, g.Rule)
		if err != nil {
			return t, fmt.Errorf("reading the template of generation %d: %w", g.ID, err)
		}
		templates, t.columns = append(templates, template), append(t.columns, g.HashColumn)
	}
	if len(templates) > 0 {
		t.template = change.Join(templates...).Limited(st.maxRowBytes)
	}
	return t, nil
}

// Template renders the texts of all generations that are written.
func (st State) Template() (change.Template, error) {
	t, err := textsOf(st)
	return t.template, err
}

// unlessOutdated returns err, or protocol.ErrGenerations where the generations have changed since
// the layout was read: statements on the table of a generation that was retired in the meantime
// fail before any of them compares the counter.
func (s *Sink) unlessOutdated(ctx context.Context, l *layout, err error) error {
	switch fault.SQLSTATE(err) {
	case "42P01", "42703": // undefined table, undefined column
	default:
		return err
	}
	var counter int64
	if s.pool.QueryRow(ctx, s.query("generation_counter"), s.pipeline).Scan(&counter) == nil && counter != l.counter {
		return protocol.ErrGenerations
	}
	return err
}

// all returns the generations that are written.
func (l *layout) all() []Generation {
	generations := make([]Generation, len(l.generations))
	for i, g := range l.generations {
		generations[i] = g.Generation
	}
	return generations
}

// current returns the active generation.
func (l *layout) current() (target, error) {
	if l.active < 0 {
		return target{}, fault.New(fault.Usage, initFirst, "no generation is active")
	}
	return l.generations[l.active], nil
}

// acquire takes a connection that knows pgvector's types, wherever the extension is.
func (s *Sink) acquire(ctx context.Context, l *layout) (*pgxpool.Conn, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to the sink: %w", err)
	}
	l.registerTypes(conn.Conn())
	return conn, nil
}

func (l *layout) registerTypes(conn *pgx.Conn) {
	types := conn.TypeMap()
	if _, known := types.TypeForOID(l.extension.vectorArray); known {
		return
	}
	element := &pgtype.Type{Name: "vector", OID: l.extension.vectorOID, Codec: vectorCodec{}}
	types.RegisterType(element)
	types.RegisterType(&pgtype.Type{
		Name: "_vector", OID: l.extension.vectorArray, Codec: &pgtype.ArrayCodec{ElementType: element},
	})
}

// inTx runs f in a transaction on a connection that knows pgvector's types.
func (s *Sink) inTx(ctx context.Context, l *layout, options pgx.TxOptions, f func(pgx.Tx) error) error {
	conn, err := s.acquire(ctx, l)
	if err != nil {
		return err
	}
	defer conn.Release()
	return pgx.BeginTxFunc(ctx, conn, options, f)
}

// readTx runs f in one read-only snapshot; see reading.
func (s *Sink) readTx(ctx context.Context, l *layout, f func(pgx.Tx) error) error {
	conn, err := s.acquire(ctx, l)
	if err != nil {
		return err
	}
	defer conn.Release()
	return reading(ctx, conn, f)
}

// reading runs f in one read-only snapshot and rolls it back: whatever code a read may have run, no
// setting of it reaches the next statement of the session.
func reading(ctx context.Context, from interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}, f func(pgx.Tx) error,
) error {
	tx, err := from.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("beginning to read: %w", err)
	}
	err = f(tx)
	if ended := tx.Rollback(ctx); err == nil && ended != nil {
		return fmt.Errorf("ending a read: %w", ended)
	}
	return err
}

// writeTx is inTx for what takes locks.
func (s *Sink) writeTx(ctx context.Context, l *layout, options pgx.TxOptions, f func(pgx.Tx) error) error {
	defer s.attend(ctx, 0)()
	return s.inTx(ctx, l, options, f)
}
