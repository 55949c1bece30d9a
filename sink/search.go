package sink

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgvector/pgvector-go"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sql"
)

// Searcher searches one pipeline. It keeps what its first search has read of the pipeline's tables,
// so that a search is one round trip: a transaction that looks whether all of that still holds,
// answers, and ends. It may be used by several goroutines at once, for as long as its sink.
//
// Looked at once, when it opens what it keeps: everything that Trusted looks at, the schema's
// version, the pipeline's row, its generations, pgvector's schema and version. Each transaction
// locks the tables that it reads by their names, so that no name is another table's from then on,
// and compares in its snapshot, before the server reads any of them:
//
//   - the rows of the catalogue that stand for these tables, and for the policies, triggers, rules
//     and children that hang on them (sink_search_mark): a table that was made again, altered,
//     given away or opened to a role has other ones; and whether their owners, and the schema's,
//     are roles that Trusted passes;
//   - and with the answer, the counter of the generations and the version of the schema.
//
// Where one of these is another, no row is read, or none is returned, and the search opens all of
// it again. What is not compared was written by a role that passed, or could not have come there
// without a change of what is compared: an expression of an index or a constraint takes the table's
// owner. A right on a single column is not seen, and a reader runs nothing by it.
type Searcher struct {
	sink *Sink
	kept atomic.Pointer[searchLayout]
	turn chan struct{} // holds a value while one of the searches opens
}

// searchLayout is what a search needs to know; it does not change.
type searchLayout struct {
	layout *layout
	active target
	mark   string
	lock   string
}

// NewSearcher returns a Searcher, which has not opened anything yet.
func (s *Sink) NewSearcher() *Searcher { return &Searcher{sink: s, turn: make(chan struct{}, 1)} }

// Forget has the next search open the pipeline's tables again.
func (s *Searcher) Forget() { s.kept.Store(nil) }

// searchTries bounds how often a search opens the tables and finds that they have changed since.
// They do not change so often twice.
const searchTries = 5

// errOutdated says that a search knows the tables as they were.
var errOutdated = errors.New("the pipeline's tables are others now")

// Search returns the k nearest live rows of the active generation, as of one snapshot: by its
// index, and where that finds fewer than k, by comparing all. The snapshot that it reads says which
// generation is active: a query that was encoded for another one is an OtherGenerationError. Errors
// are of kind Usage where the query cannot be asked, where the pipeline is not set up, or where its
// tables are not to be trusted (UntrustedError), and Unavailable where the sink does not answer.
func (s *Searcher) Search(ctx context.Context, q Query) (Result, error) {
	if q.K < 1 {
		return Result{}, fault.Unanswerable("ask for one row at least", "cannot search for %d rows", q.K)
	}
	for opens := 0; opens < searchTries; {
		known, fresh, err := s.known(ctx)
		if err != nil {
			return Result{}, err
		}
		var result Result
		if err = known.refuse(q); err == nil {
			result, err = s.answer(ctx, known, q)
		} else if !fresh {
			err = errOutdated // or the query is: the tables tell
		}
		if err == nil {
			return result, nil
		}
		if !s.outdated(ctx, known, fresh, err) {
			return Result{}, s.sink.explain(err, "searching")
		}
		s.kept.CompareAndSwap(known, nil)
		if fresh {
			opens++
		}
	}
	return Result{}, fault.New(fault.Unavailable, "try again", "the tables of pipeline %q change again and again: no search finds them as it knows them",
		s.sink.pipeline)
}

// outdated reports whether an error may come from tables that are no more as a search knows them.
// What this search itself has just opened has to be out of date for certain.
func (s *Searcher) outdated(ctx context.Context, known *searchLayout, fresh bool, err error) bool {
	if errors.Is(err, errOutdated) || !fresh && fault.Moving(err) {
		return true
	}
	return errors.Is(s.sink.unlessOutdated(ctx, known.layout, err), protocol.ErrGenerations)
}

// refuse refuses a query that cannot be asked of the generation that is active.
func (o *searchLayout) refuse(q Query) error {
	g := o.active
	if q.Generation != 0 && q.Generation != g.ID {
		return &OtherGenerationError{Asked: q.Generation, Active: g.Generation}
	}
	return g.checkDimension(q.Vector)
}

// known returns what is kept, or opens it; fresh says that it was this call that did. Of several
// searches that find nothing one opens and the others wait for it.
func (s *Searcher) known(ctx context.Context) (o *searchLayout, fresh bool, err error) {
	if o = s.kept.Load(); o != nil {
		return o, false, nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, false, fmt.Errorf("waiting for another search to open the sink: %w", context.Cause(ctx))
	}
	defer func() { <-s.turn }()
	if o = s.kept.Load(); o != nil {
		return o, false, nil
	}
	if o, err = s.sink.openToSearch(ctx); err != nil {
		return nil, false, err
	}
	s.kept.Store(o)
	return o, true, nil
}

// openToSearch reads the mark before anything is looked at, so that what changes in the meantime is
// noticed by the first search.
func (s *Sink) openToSearch(ctx context.Context) (*searchLayout, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to the sink: %w", err)
	}
	defer conn.Release()
	o := &searchLayout{}
	if err := conn.QueryRow(ctx, s.query("search_mark"), s.schema, s.pipeline, s.owner).Scan(&o.mark); err != nil {
		return nil, s.explain(err, "looking for wal2vec's tables")
	}
	if o.layout, err = s.open(ctx, conn); err != nil {
		return nil, err
	}
	if o.active, err = o.layout.current(); err != nil {
		return nil, err
	}
	o.lock = render("search_lock", s.tablesOf(o.layout.key).forGeneration(s, o.active.Generation, o.layout.extension.schema))
	return o, nil
}

func (s *Searcher) answer(ctx context.Context, known *searchLayout, q Query) (Result, error) {
	conn, err := s.sink.acquire(ctx, known.layout)
	if err != nil {
		return Result{}, err
	}
	defer conn.Release()
	result, err := s.ask(ctx, conn, known, q, false)
	if err != nil || len(result.Hits) == q.K {
		return result, err
	}
	// The index has come to its end: the table has no more rows, which costs little to make sure
	// of, or some cannot be reached in the graph, as happens to a few rows among very many that
	// hardly differ.
	return s.ask(ctx, conn, known, q, true)
}

// ask sends a whole transaction at once. The server runs no statement of it after one that failed,
// so none that reads a table where that is another than is known.
func (s *Searcher) ask(ctx context.Context, conn *pgxpool.Conn, known *searchLayout, q Query, exact bool) (Result, error) {
	result := Result{Generation: known.active.Generation}
	b := &pgx.Batch{}
	b.Queue("BEGIN READ ONLY, ISOLATION LEVEL REPEATABLE READ")
	b.Queue(known.lock) // before the first statement that takes a snapshot
	s.queueStanding(b, known)
	b.Queue(s.sink.query("search_settings"), strconv.Itoa(max(leastSearch, min(mostSearch, q.K))))
	if exact {
		b.Queue("SET LOCAL enable_indexscan = off")
	}
	s.queueWatermark(b, known, &result)
	b.Queue(s.sink.query("full_backfill"), s.sink.pipeline).QueryRow(func(row pgx.Row) error { return row.Scan(&result.FullBackfill) })
	b.Queue(known.active.search, pgvector.NewVector(q.Vector), q.K).Query(func(rows pgx.Rows) error {
		return collectHits(rows, len(known.layout.key), &result.Hits)
	})
	b.Queue("ROLLBACK") // whatever code a read may have run, no setting of it reaches the next transaction
	err := conn.SendBatch(ctx, b).Close()
	if inTransaction := conn.Conn().PgConn().TxStatus() != 'I'; inTransaction {
		_ = statement.Run(ctx, conn, "ROLLBACK") // else the pool closes the session
	}
	return result, err
}

// queueStanding compares the mark; see Searcher.
func (s *Searcher) queueStanding(b *pgx.Batch, known *searchLayout) {
	b.Queue(s.sink.query("search_standing"), s.sink.schema, s.sink.pipeline, s.sink.owner, known.mark).QueryRow(func(row pgx.Row) error {
		var one int
		err := row.Scan(&one)
		if isDivisionByZero(err) {
			return errOutdated
		}
		return err
	})
}

// queueWatermark reads what an answer says of itself, and compares what else of the snapshot is
// known.
func (s *Searcher) queueWatermark(b *pgx.Batch, known *searchLayout, result *Result) {
	b.Queue(s.sink.query("search_watermark"), s.sink.pipeline).QueryRow(func(row pgx.Row) error {
		var counter int64
		var version int
		var watermark, partial change.LSN
		err := row.Scan(&watermark, &partial, &counter, &version)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && (counter != known.layout.counter || version != len(sql.Migrations())) {
			return errOutdated
		}
		result.Watermark, result.PartialUntil = watermark, partial
		return err
	})
}

// Query asks for the nearest neighbours of a vector.
type Query struct {
	// Vector was encoded by the model of Generation; zero is not compared.
	Vector     []float32
	Generation int
	K          int
}

// OtherGenerationError says that another generation is active than the one that the query was
// encoded for. Encode it for that one and search again.
type OtherGenerationError struct {
	Asked  int
	Active Generation
}

// Error names both.
func (e *OtherGenerationError) Error() string {
	return fmt.Sprintf("the query was encoded for generation %d, and %s is active", e.Asked, e.Active)
}

// Result is an answer, the watermark that it shows, and the generation whose vectors it compared.
type Result struct {
	Watermark  change.LSN
	Generation Generation
	// PartialUntil is the position until which the answer may show more than its watermark says;
	// zero when it does not.
	PartialUntil change.LSN
	// FullBackfill says whether every row of the source was there to be found.
	FullBackfill change.FullBackfill
	Hits         []Hit // nearest first
}

// Hit is a key and its cosine similarity, 1 at best and -1 at worst.
type Hit struct {
	Key   change.Key
	Score float64
}

// Bounds of hnsw.ef_search: what finds a row that is unlike all others (among 2,500 nearly equal
// texts pgvector's default of 40 missed the one that was asked for, 100 found it, at 2 ms more),
// and pgvector's maximum.
const (
	leastSearch = 100
	mostSearch  = 1000
)

func collectHits(rows pgx.Rows, columns int, hits *[]Hit) error {
	parts := make([]string, columns)
	var hit Hit
	targets := make([]any, 0, columns+1)
	for i := range parts {
		targets = append(targets, &parts[i])
	}
	targets = append(targets, &hit.Score)
	_, err := pgx.ForEachRow(rows, targets, func() error {
		hit.Key = change.KeyOf(parts...)
		*hits = append(*hits, hit)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the nearest rows: %w", err)
	}
	return nil
}
