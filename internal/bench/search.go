package bench

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/demodata"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/mart"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/search"
)

// searchFigures are the result of bench search: searches alone, and beside each load.
type searchFigures struct {
	Alone       *searchTimes `json:"alone"`
	Encoding    *searchTimes `json:"beside_encoding,omitempty"`
	Backfill    *searchTimes `json:"beside_backfill,omitempty"`
	SameProcess *searchTimes `json:"beside_same_process,omitempty"`
	Layout      *layoutTimes `json:"layout"`
}

// layoutTimes compare the sink's part of a search that knows the tables with that of one which
// opens them first, turn by turn. Of each query and way the least of several searches counts.
type layoutTimes struct {
	Queries int       `json:"queries"`
	Kept    quantiles `json:"kept"`
	Opened  quantiles `json:"opened_each_time"`
	// Ratio is of the medians.
	Ratio float64 `json:"opened_to_kept_p50"`
}

// searchTimes say how long the searches of one part took.
type searchTimes struct {
	Queries int       `json:"queries"`
	Rate    float64   `json:"achieved_rate_per_second"`
	Encode  quantiles `json:"encode"`
	Search  quantiles `json:"search"`
	Total   quantiles `json:"total"`
	// LoadTexts is what the load encoded in the meantime: it shows that there was one.
	LoadTexts float64 `json:"load_texts_per_second,omitempty"`
}

// quantiles are of a time in milliseconds.
type quantiles struct {
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func quantilesOf(times []time.Duration) quantiles {
	slices.Sort(times)
	return quantiles{
		P50: mart.Millis(mart.Percentile(times, 0.5)), P90: mart.Millis(mart.Percentile(times, 0.9)), P99: mart.Millis(mart.Percentile(times, 0.99)),
		Max: mart.Millis(mart.Percentile(times, 1)),
	}
}

// The loads of bench search.
const (
	LoadEncoding    = "encoding"
	LoadBackfill    = "backfill"
	LoadSameProcess = "same-process"
)

// unmeasured is the number of searches that each part begins with.
const unmeasured = 10

func measureSearch(ctx context.Context, b *bench) (any, error) {
	s, o := &b.report.Settings, b.options
	s.Rows, s.Data, s.Queries, s.Rate, s.Limit = o.Rows, o.Data, o.Queries, o.Rate, o.K
	texts, err := o.queryTexts((1 + len(o.Load)) * (o.Queries + unmeasured))
	if err != nil {
		return nil, err
	}
	if err := b.loaded(ctx); err != nil {
		return nil, err
	}
	searcher, err := search.Open(ctx, b.mart.Config, b.opener())
	if err != nil {
		return nil, err
	}
	defer searcher.Close()
	parts := slices.Collect(slices.Chunk(texts, o.Queries+unmeasured))
	figures := searchFigures{}
	err = b.profiled(func() (err error) {
		figures.Alone, err = b.searches(ctx, searcher, parts[0])
		return err
	})
	if err != nil {
		return nil, err
	}
	if figures.Layout, err = b.layouts(ctx, searcher, parts[0]); err != nil {
		return nil, err
	}
	for i, kind := range o.Load {
		b.log.Info().Str("load", kind).Msg("searching beside a load")
		times, err := b.searchesBeside(ctx, kind, searcher, parts[i+1])
		if err != nil {
			return nil, err
		}
		switch kind {
		case LoadEncoding:
			figures.Encoding = times
		case LoadBackfill:
			figures.Backfill = times
		case LoadSameProcess:
			figures.SameProcess = times
		}
	}
	return figures, nil
}

// searchesBeside searches while a load runs.
func (b *bench) searchesBeside(ctx context.Context, kind string, s *search.Searcher, texts []string) (*searchTimes, error) {
	start := b.startNeighbour
	if kind == LoadSameProcess {
		start = b.startEncoding
	}
	load, err := start(ctx, kind)
	if err != nil {
		return nil, err
	}
	times, err := b.searches(ctx, s, texts)
	done, stopErr := load.stop()
	switch {
	case err != nil:
		return nil, err
	case stopErr != nil:
		return nil, stopErr
	case done.Texts == 0:
		return nil, fault.New(fault.Findings, "give more --queries, or a lower --rate", "the load encoded nothing while the searches ran")
	}
	times.LoadTexts = round(float64(done.Texts) / done.Seconds)
	return times, nil
}

// searches makes searches at a steady pace, each from when it is due or, where the one before took
// longer, from its end.
func (b *bench) searches(ctx context.Context, s *search.Searcher, texts []string) (*searchTimes, error) {
	var encode, find, total []time.Duration
	columns := config.Default().Source.Template.Columns()
	interval := time.Second / time.Duration(b.options.Rate)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var begun time.Time
	for i, text := range texts {
		if i == unmeasured {
			begun = time.Now()
		}
		if i > unmeasured {
			timer.Reset(time.Until(begun.Add(time.Duration(i-unmeasured) * interval)))
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-timer.C:
			}
		}
		asked := time.Now()
		question := search.Query{Text: text}
		if err := s.Encode(ctx, &question); err != nil {
			return nil, err
		}
		encoded := time.Now()
		found, err := s.NearestOf(ctx, &question, b.options.K)
		if err != nil {
			return nil, err
		}
		if _, err := s.Fetch(ctx, found, columns, nil); err != nil {
			return nil, err
		}
		if answered := time.Now(); i >= unmeasured {
			encode, find, total = append(encode, encoded.Sub(asked)), append(find, answered.Sub(encoded)), append(total, answered.Sub(asked))
		}
	}
	return &searchTimes{
		Queries: len(total), Rate: round(monitor.PerSecond(int64(len(total)), time.Since(begun))),
		Encode: quantilesOf(encode), Search: quantilesOf(find), Total: quantilesOf(total),
	}, nil
}

// layoutTurns is the number of searches of each way, of which the least counts.
const layoutTurns = 5

// layouts searches with kept and with opened tables by turns.
func (b *bench) layouts(ctx context.Context, s *search.Searcher, texts []string) (*layoutTimes, error) {
	var kept, opened []time.Duration
	for _, text := range texts {
		question := search.Query{Text: text}
		if err := s.Encode(ctx, &question); err != nil {
			return nil, err
		}
		find := func(least *time.Duration) error {
			begun := time.Now()
			_, err := s.NearestOf(ctx, &question, b.options.K)
			*least = min(*least, time.Since(begun))
			return err
		}
		leastOpened, leastKept := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
		for range layoutTurns {
			s.Forget()
			if err := find(&leastOpened); err != nil {
				return nil, err
			}
			if err := find(&leastKept); err != nil {
				return nil, err
			}
		}
		kept, opened = append(kept, leastKept), append(opened, leastOpened)
	}
	t := &layoutTimes{Queries: len(texts), Kept: quantilesOf(kept), Opened: quantilesOf(opened)}
	t.Ratio = round(t.Opened.P50 / t.Kept.P50)
	return t, nil
}

// Queries have so many words.
const (
	fewestQueryWords = 3
	mostQueryWords   = 10
)

// queryTexts returns n different queries of 3 to 10 words: questions that shoppers ask, and
// beginnings of descriptions.
func (o Options) queryTexts(n int) ([]string, error) {
	seen := make(map[string]struct{}, n)
	var texts []string
	add := func(words []string) {
		text := strings.Join(words, " ")
		if _, found := seen[text]; found || len(words) < fewestQueryWords {
			return
		}
		seen[text] = struct{}{}
		texts = append(texts, text)
	}
	for _, s := range demodata.Searches() {
		words := strings.Fields(s.Text)
		add(words[:min(len(words), mostQueryWords)])
	}
	length := fewestQueryWords
	err := o.each(func(p demodata.Product) bool {
		words := strings.Fields(p.Description)
		add(words[:min(len(words), length)])
		if length++; length > mostQueryWords {
			length = fewestQueryWords
		}
		return len(texts) < n
	})
	if err != nil {
		return nil, err
	}
	if len(texts) < n {
		return nil, fault.New(fault.Usage, "give fewer --queries, or leave --data out", "%s makes %d queries, not %d", o.Data, len(texts), n)
	}
	random := rand.New(rand.NewPCG(mart.Seed, mart.Seed)) //nolint:gosec // the same order everywhere, so that every part has queries of each kind
	random.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	return texts[:n], nil
}
