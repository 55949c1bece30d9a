package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/replication/rows"
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
	s, err := search.Open(ctx, c, p.opener(c))
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.WaitFor(ctx, least, o.wait); err != nil {
		return err
	}
	columns := o.columns
	if len(columns) == 0 {
		columns = c.Source.Template.Columns()
	}
	result, err := s.Search(ctx, text, o.k, columns, filters)
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
func (p *program) sayIdle(ctx context.Context, s *search.Searcher) error {
	streaming, err := s.Streaming(ctx)
	if err != nil || streaming {
		return nil //nolint:nilerr // the result is there, and this is a note on it
	}
	_, err = fmt.Fprintln(p.stdout, "no stream runs: changes since then are not in the scores (wal2vec stream)")
	return err
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

func parseFilters(texts []string) ([]rows.Filter, error) {
	filters := make([]rows.Filter, len(texts))
	for i, text := range texts {
		f, ok := rows.ParseFilter(text)
		if !ok {
			return nil, fault.New(fault.Usage, "--filter 'price<=200'", "--filter %q is not COLUMN OPERATOR VALUE", text)
		}
		filters[i] = f
	}
	return filters, nil
}

// cellWidth is how much of a column's text the table shows.
const cellWidth = 48

func (p *program) printHits(r search.Result, columns []string) error {
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
