package search

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

// Result is the answer; its JSON names are a contract.
type Result struct {
	Query        string     `json:"query"`
	WatermarkLSN change.LSN `json:"watermark_lsn"`
	// Generation is the one whose vectors were compared; the query was encoded by its model.
	Generation int `json:"generation"`
	// FullBackfill says whether every row of the source was there to be found.
	FullBackfill change.FullBackfill `json:"full_backfill"`
	Hits         []Hit               `json:"hits"`
}

// Hit is a row that was found; its JSON names are a contract.
type Hit struct {
	Key     []string           `json:"key"`
	Score   float64            `json:"score"`
	Columns map[string]*string `json:"columns"`
	// TooLarge is the length in bytes of the columns, where that is more than stream.max_row_bytes
	// and they are left out.
	TooLarge uint32 `json:"too_large_bytes,omitempty"`
}

// unknownColumn is an error about a column that the table has not, by the name that was asked for:
// in the statement it has the table's before it.
func unknownColumn(err error) error {
	const try = "check the columns in --columns and --filter"
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fault.Unanswerable(try, "reading source columns: %s", strings.Replace(pg.Message, "column t.", "column ", 1))
	}
	unknown := fault.Unanswerable(try, "reading source columns")
	unknown.Err = err
	return unknown
}

// Searcher is everything that a search needs, opened and checked.
type Searcher struct {
	config  config.Config
	engines *engine.Pool
	Store   *connect.Store
	nearest *sink.Searcher
	reader  *rows.Reader
	// generation is the one that was active when last looked.
	generation atomic.Pointer[sink.Generation]
}

// New is a searcher of what is open already, which it closes.
func New(c config.Config, s *connect.Store, encoders *engine.Pool, reader *rows.Reader, active sink.Generation) *Searcher {
	made := &Searcher{config: c, Store: s, nearest: s.NewSearcher(), engines: encoders, reader: reader}
	made.generation.Store(&active)
	return made
}

// Open opens the encoder of the active generation (whose self-test it runs), the sink, and the
// source when rows are read.
func Open(ctx context.Context, c config.Config, opener engine.Opener) (s *Searcher, err error) {
	s = &Searcher{config: c}
	opened := s // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			opened.Close()
		}
	}()
	if s.Store, err = connect.OpenStore(ctx, c, opener.Log, "search"); err != nil {
		return nil, err
	}
	s.nearest = s.Store.NewSearcher()
	state, err := s.Store.State(ctx)
	if err != nil {
		return nil, err
	}
	if s.engines, err = opener.Pool(c, s.Store, state); err != nil {
		return nil, err
	}
	s.engines.Warn(opener.Log, state)
	s.generation.Store(state.Generation)
	if _, err := s.engines.Engine(ctx, *state.Generation); err != nil {
		return nil, err
	}
	table, err := connect.ShownTable(c, state)
	if err != nil {
		return nil, err
	}
	s.reader = connect.NewReader(c, table)
	return s, nil
}

// Close closes what was opened.
func (s *Searcher) Close() {
	if s.reader != nil {
		s.reader.Close(context.Background()) //nolint:forbidigo // whatever has become of the caller's
	}
	_ = s.engines.Close()
	if s.Store != nil {
		s.Store.Close()
	}
}

// Streaming reports whether a process reads the slot; an error where this role may not ask.
func (s *Searcher) Streaming(ctx context.Context) (bool, error) {
	positions := connect.NewPositions(s.config, s.Store)
	defer positions.Close(ctx)
	return positions.Streaming(ctx)
}

// WaitFor waits until the watermark has reached an LSN; a fault of kind Unavailable after patience.
func (s *Searcher) WaitFor(ctx context.Context, lsn change.LSN, patience time.Duration) error {
	if lsn == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience,
		fault.New(fault.Unavailable, "wal2vec status", "the watermark did not reach %s within %s", lsn, patience))
	defer cancel()
	if err := s.Store.WaitFor(ctx, lsn.RecordEnd()); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return nil
}

// mostCandidates bounds how many neighbours a filtered search looks at before it returns what it
// has.
const mostCandidates = 10_000

// Search asks for more and more neighbours until k of them pass the filters: the filters are the
// source's, where the columns are.
func (s *Searcher) Search(ctx context.Context, text string, k int, columns []string, filters []rows.Filter) (Result, error) {
	question, ask := Query{Text: text}, k
	if len(filters) > 0 {
		ask = 4 * k
	}
	for {
		found, err := s.NearestOf(ctx, &question, ask)
		if err != nil {
			return Result{}, err
		}
		result, err := s.Fetch(ctx, found, columns, filters)
		if err != nil {
			return Result{}, err
		}
		result.Query = text
		enough := len(filters) == 0 || len(result.Hits) >= k || len(found.Hits) < ask || ask >= mostCandidates
		if enough {
			result.Hits = result.Hits[:min(k, len(result.Hits))]
			return result, nil
		}
		ask = min(4*ask, mostCandidates)
	}
}

// activations bounds how many activations may come between encoding and searching of one query.
const activations = 5

// Query is a text with its vector of one generation.
type Query struct {
	Text       string
	vector     []float32
	generation int // zero: no vector yet
}

// Encode makes the query's vector by the model of the generation that was active when last looked;
// none where it has that.
func (s *Searcher) Encode(ctx context.Context, q *Query) error {
	g := s.generation.Load()
	if q.generation == g.ID {
		return nil
	}
	e, err := s.engines.Engine(ctx, *g)
	if err != nil {
		return err
	}
	q.vector, err = e.EncodeQuery(ctx, q.Text)
	if err != nil {
		return err
	}
	q.generation = g.ID
	return nil
}

// Nearest returns the k rows whose texts are nearest to one.
func (s *Searcher) Nearest(ctx context.Context, text string, k int) (sink.Result, error) {
	return s.NearestOf(ctx, &Query{Text: text}, k)
}

// Active is the generation that was active when last looked.
func (s *Searcher) Active() sink.Generation { return *s.generation.Load() }

// Forget has the next search open the sink's tables again; see sink.Searcher.
func (s *Searcher) Forget() { s.nearest.Forget() }

// NearestOf encodes the query for the generation that is active, and again where another one is
// when the vectors are read.
func (s *Searcher) NearestOf(ctx context.Context, q *Query, k int) (sink.Result, error) {
	var err error
	for range activations {
		if err := s.Encode(ctx, q); err != nil {
			return sink.Result{}, err
		}
		var found sink.Result
		found, err = s.nearest.Search(ctx, sink.Query{Vector: q.vector, Generation: q.generation, K: k})
		other, changed := errors.AsType[*sink.OtherGenerationError](err)
		if !changed {
			return found, err
		}
		s.generation.Store(&other.Active)
	}
	return sink.Result{}, fault.Wrap(err, fault.Unavailable, "try again", "generations are being activated one after another")
}

// Fetch adds the source's columns, which rows.Reader.Fetch reads; the filters are part of that
// statement. Without filters a hit whose row has just gone is kept, without columns.
func (s *Searcher) Fetch(ctx context.Context, found sink.Result, columns []string, filters []rows.Filter) (Result, error) {
	result := Result{
		WatermarkLSN: found.Watermark, Generation: found.Generation.ID, FullBackfill: found.FullBackfill, Hits: make([]Hit, 0, len(found.Hits)),
	}
	keys := make([]change.Key, len(found.Hits))
	for i, h := range found.Hits {
		keys[i] = h.Key
	}
	rows, err := s.reader.Fetch(ctx, keys, columns, filters...)
	if err != nil {
		if fault.SQLSTATE(err) == "42703" {
			return result, unknownColumn(err)
		}
		return result, connect.UnreadableValue(err, "filtering")
	}
	for _, h := range found.Hits {
		fields, exists := rows[h.Key]
		if !exists && len(filters) > 0 {
			continue
		}
		hit := Hit{Key: h.Key.Parts(), Score: h.Score, Columns: make(map[string]*string, len(columns))}
		for i := range fields {
			switch fields[i].State {
			case change.FieldValue:
				hit.Columns[columns[i]] = &fields[i].Text
			case change.FieldLarge:
				hit.TooLarge = fields[i].Size
				hit.Columns[columns[i]] = nil
			default:
				hit.Columns[columns[i]] = nil
			}
		}
		result.Hits = append(result.Hits, hit)
	}
	return result, nil
}
