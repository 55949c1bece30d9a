package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

type searchOptions struct {
	k       int
	columns []string
	filters []string
	minLSN  string
	wait    time.Duration
	output  string
}

func newSearch(p *program) *cobra.Command {
	var o searchOptions
	cmd := &cobra.Command{
		Use: "search TEXT", Short: "Find the rows whose text is nearest", GroupID: "look", Args: cobra.ExactArgs(1),
		Long: "Find the rows whose text is nearest in meaning, nearest first, with their key, score (cosine similarity) and columns of\n" +
			"the source table, and the watermark LSN that the answer shows.",
		Example: `  wal2vec search "waterproof hiking boots" -k 5
  wal2vec search "espresso machine" --columns name,price --filter 'price<=200' -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(o.output); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			return p.search(cmd.Context(), c, args[0], o)
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&o.k, "limit", "k", 10, "rows to find")
	flags.StringSliceVar(&o.columns, "columns", nil, "source columns to show (default: those of the template)")
	flags.StringArrayVar(&o.filters, "filter", nil, "condition on a source column, COLUMN OPERATOR VALUE with = <> < <= > >= (may be repeated)")
	flags.StringVar(&o.minLSN, "min-lsn", "", "wait until the watermark has reached this LSN (read your own writes)")
	flags.DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait for --min-lsn")
	outputFlag(cmd, &o.output)
	return cmd
}

// searchResult is the answer; its JSON names are a contract.
type searchResult struct {
	Query        string     `json:"query"`
	WatermarkLSN change.LSN `json:"watermark_lsn"`
	// Generation is the one whose vectors were compared; the query was encoded by its model.
	Generation int `json:"generation"`
	// FullBackfill says whether every row of the source was there to be found.
	FullBackfill change.FullBackfill `json:"full_backfill"`
	Hits         []searchHit         `json:"hits"`
}

type searchHit struct {
	Key     []string           `json:"key"`
	Score   float64            `json:"score"`
	Columns map[string]*string `json:"columns"`
	// TooLarge is the length in bytes of the columns, where that is more than stream.max_row_bytes and they are left out.
	TooLarge uint32 `json:"too_large_bytes,omitempty"`
}

func (p *program) search(ctx context.Context, c config.Config, text string, o searchOptions) error {
	if o.k < 1 {
		return fault.New(fault.Usage, "-k 10", "-k must be 1 or more")
	}
	filters, err := parseFilters(o.filters)
	if err != nil {
		return err
	}
	least, err := parseMinLSN(o.minLSN)
	if err != nil {
		return err
	}
	s, err := p.openSearcher(ctx, c)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.waitFor(ctx, least, o.wait); err != nil {
		return err
	}
	columns := o.columns
	if len(columns) == 0 {
		columns = c.Source.Template.Columns()
	}
	result, err := s.search(ctx, text, o.k, columns, filters)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return printJSON(p.stdout, result)
	}
	if err := p.printHits(result, columns); err != nil {
		return err
	}
	return p.sayIdle(ctx, s)
}

// sayIdle says below a result that no stream runs, where this role can ask.
func (p *program) sayIdle(ctx context.Context, s *searcher) error {
	positions := &positions{store: s.store, config: s.config}
	defer positions.Close(ctx)
	streaming, err := positions.Streaming(ctx)
	if err != nil || streaming {
		return nil // the result is there, and this is a note on it
	}
	_, err = fmt.Fprintln(p.stdout, "no stream runs: changes since then are not in the scores (wal2vec stream)")
	return err
}

// unknownColumn is an error about a column that the table has not, by the name that was asked for: in the statement it has the table's before it.
func unknownColumn(err error) error {
	const try = "check the columns in --columns and --filter"
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fault.New(fault.Usage, try, "reading source columns: %s", strings.Replace(pg.Message, "column t.", "column ", 1))
	}
	return fault.Wrap(err, fault.Usage, try, "reading source columns")
}

// searcher is everything that a search needs, opened and checked.
type searcher struct {
	config  config.Config
	engines *engine.Pool
	store   *connect.Store
	reader  *rows.Reader
	// generation is the one that was active when last looked.
	generation atomic.Pointer[sink.Generation]
}

func (p *program) openSearcher(ctx context.Context, c config.Config) (s *searcher, err error) {
	s = &searcher{config: c}
	opened := s // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			opened.Close()
		}
	}()
	if s.store, err = connect.OpenStore(ctx, c, p.logger(c.Log), "search"); err != nil {
		return nil, err
	}
	state, err := s.store.State(ctx)
	if err != nil {
		return nil, err
	}
	if s.engines, err = p.opener(c).Pool(c, s.store, state); err != nil {
		return nil, err
	}
	s.engines.Warn(p.logger(c.Log), state)
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
func (s *searcher) Close() {
	if s.reader != nil {
		s.reader.Close(context.Background())
	}
	_ = s.engines.Close()
	if s.store != nil {
		s.store.Close()
	}
}

// parseMinLSN reads --min-lsn; zero when it was not given.
func parseMinLSN(text string) (change.LSN, error) {
	if text == "" {
		return 0, nil
	}
	lsn, err := change.ParseLSN(text)
	if err != nil {
		return 0, fault.New(fault.Usage, "--min-lsn 16/B374D848, as pg_current_wal_insert_lsn() prints it", "--min-lsn %q is not an LSN", text)
	}
	return lsn, nil
}

func (s *searcher) waitFor(ctx context.Context, lsn change.LSN, patience time.Duration) error {
	if lsn == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience,
		fault.New(fault.Unavailable, "wal2vec status", "the watermark did not reach %s within %s", lsn, patience))
	defer cancel()
	if err := s.store.WaitFor(ctx, lsn.RecordEnd()); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return nil
}

// mostCandidates bounds how many neighbours a filtered search looks at before it returns what it has.
const mostCandidates = 10_000

// search asks for more and more neighbours until k of them pass the filters: the filters are the source's, where the columns are.
func (s *searcher) search(ctx context.Context, text string, k int, columns []string, filters []rows.Filter) (searchResult, error) {
	question, ask := query{text: text}, k
	if len(filters) > 0 {
		ask = 4 * k
	}
	for {
		found, err := s.nearest(ctx, &question, ask)
		if err != nil {
			return searchResult{}, err
		}
		result, err := s.fetch(ctx, found, columns, filters)
		if err != nil {
			return searchResult{}, err
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

// query is a text with its vector of one generation.
type query struct {
	text       string
	vector     []float32
	generation int // zero: no vector yet
}

func (s *searcher) encode(ctx context.Context, q *query) error {
	g := s.generation.Load()
	if q.generation == g.ID {
		return nil
	}
	e, err := s.engines.Engine(ctx, *g)
	if err != nil {
		return err
	}
	q.vector, err = e.EncodeQuery(ctx, q.text)
	if err != nil {
		return err
	}
	q.generation = g.ID
	return nil
}

// nearest encodes the query for the generation that is active, and again where another one is when the vectors are read.
func (s *searcher) nearest(ctx context.Context, q *query, k int) (sink.Result, error) {
	var err error
	for range activations {
		if err := s.encode(ctx, q); err != nil {
			return sink.Result{}, err
		}
		var found sink.Result
		found, err = s.store.Search(ctx, sink.Query{Vector: q.vector, Generation: q.generation, K: k})
		other, changed := errors.AsType[*sink.OtherGenerationError](err)
		if !changed {
			return found, err
		}
		s.generation.Store(&other.Active)
	}
	return sink.Result{}, fault.Wrap(err, fault.Unavailable, "try again", "generations are being activated one after another")
}

// fetch adds the source's columns; without filters a hit whose row has just gone is kept, without columns.
func (s *searcher) fetch(ctx context.Context, found sink.Result, columns []string, filters []rows.Filter) (searchResult, error) {
	result := searchResult{
		WatermarkLSN: found.Watermark, Generation: found.Generation.ID, FullBackfill: found.FullBackfill, Hits: make([]searchHit, 0, len(found.Hits)),
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
		hit := searchHit{Key: h.Key.Parts(), Score: h.Score, Columns: make(map[string]*string, len(columns))}
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

// filterOperators, the longer ones first.
var filterOperators = []string{"<=", ">=", "<>", "!=", "=", "<", ">"}

func parseFilters(texts []string) ([]rows.Filter, error) {
	filters := make([]rows.Filter, len(texts))
	for i, text := range texts {
		f, ok := parseFilter(text)
		if !ok {
			return nil, fault.New(fault.Usage, "--filter 'price<=200'", "--filter %q is not COLUMN OPERATOR VALUE", text)
		}
		filters[i] = f
	}
	return filters, nil
}

// parseFilter splits at the first operator.
func parseFilter(text string) (rows.Filter, bool) {
	at := strings.IndexAny(text, "<>=!")
	if at < 1 {
		return rows.Filter{}, false
	}
	for _, operator := range filterOperators {
		value, found := strings.CutPrefix(text[at:], operator)
		if !found {
			continue
		}
		f := rows.Filter{Column: strings.TrimSpace(text[:at]), Operator: operator, Value: strings.TrimSpace(value)}
		if operator == "!=" {
			f.Operator = "<>"
		}
		return f, f.Column != ""
	}
	return rows.Filter{}, false
}

// cellWidth is how much of a column's text the table shows.
const cellWidth = 48

func (p *program) printHits(r searchResult, columns []string) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = pgname.Visible(strings.ToUpper(c))
	}
	_, _ = fmt.Fprintf(w, "SCORE\tKEY\t%s\n", strings.Join(heads, "\t"))
	for _, h := range r.Hits {
		cells := make([]string, len(columns))
		for i, c := range columns {
			if text := h.Columns[c]; text != nil {
				cells[i] = pgname.Visible(shorten(*text))
			} else if h.TooLarge > 0 {
				cells[i] = fmt.Sprintf("(%d bytes: too large)", h.TooLarge)
			}
		}
		_, _ = fmt.Fprintf(w, "%.4f\t%s\t%s\n", h.Score, change.KeyOf(h.Key...), strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	_, err := fmt.Fprintf(p.stdout, "%s as of %s: the scores are of the texts at that position, the columns are read now\n",
		counted(len(r.Hits), "row"), r.WatermarkLSN)
	if err != nil || r.FullBackfill == change.BackfillDone {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s (wal2vec status)\n", monitor.FullBackfillText(r.FullBackfill, nil, nil))
	return err
}

func shorten(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > cellWidth {
		return string(runes[:cellWidth-1]) + "…"
	}
	return text
}
