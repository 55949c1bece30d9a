package search_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// alike is the dimension of both generations: only what they hold tells them apart.
const alike = 16

// twoGenerations sets up a sink with the same rows in two generations of the same dimension.
func twoGenerations(t *testing.T, texts []string) *connect.Store {
	t.Helper()
	db := pgtest.Database(t)
	pool := db.Pool(t)
	s := &connect.Store{Pool: pool, Sink: sink.New(sink.Options{Pool: pool, Pipeline: "item", View: "analytics_features.items", Logger: zerolog.Nop()})}
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(s.Migrate(ctx))
	ok(s.Register(ctx, sink.Pipeline{SystemID: "1", Timeline: 1, Slot: "s", Publication: "p", Table: change.Table{
		Schema: "public", Name: "item", OID: 1, Key: []change.Column{{Name: "id", Type: "bigint"}},
	}}))
	of := func(model string) sink.Generation {
		return sink.Generation{Fingerprint: model, Model: model, Template: "{name}", Dimension: alike, Storage: sink.Vector, Precision: "fp32"}
	}
	_, err := s.EnsureGeneration(ctx, of("first"))
	ok(err)
	ok(s.Start(ctx, sink.Start{Slot: "s", ConsistentPoint: 100, SystemID: "1", Timeline: 1, SourceOID: 1}))
	g, _, err := s.BuildGeneration(ctx, of("second"))
	ok(err)
	var changes []change.Change
	encodings := make(change.Encodings)
	for i, text := range texts {
		d := change.NewDocument(text)
		changes = append(changes, change.Change{Key: change.KeyOf(fmt.Sprint(i)), LSN: 101, Document: d})
		encodings.Of(1).Vectors[d.Hash] = encodertest.ModelVector("first", text, alike)
		encodings.Of(2).Vectors[d.Hash] = encodertest.ModelVector("second", text, alike)
	}
	job, err := s.OpenJob(ctx, sink.JobParams{Mode: sink.Build, Generation: g.ID})
	ok(err)
	defer job.Close()
	v, err := s.Version(ctx)
	ok(err)
	_, err = job.Commit(ctx, protocol.Chunk{A: v, Changes: changes, Encodings: encodings, Cursor: "9"})
	ok(err)
	_, err = job.Sweep(ctx)
	ok(err)
	ok(s.BuildIndex(ctx, g, nil))
	return s
}

// TestASearchEncodesForTheGenerationThatItReads, while generations are activated again and again:
// its own text is found with score 1, which no vector of the other model has.
func TestASearchEncodesForTheGenerationThatItReads(t *testing.T) {
	t.Parallel()
	texts := make([]string, 20)
	for i := range texts {
		texts[i] = fmt.Sprintf("text number %d", i)
	}
	s := twoGenerations(t, texts)
	state, err := s.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	open := engine.Opener{}.PoolOf(config.Default(), s, nil, sink.Generation{})
	// Between the encoding and the search of every few queries another generation is activated: the
	// worst moment.
	var queries, between atomic.Int64
	flip := func(context.Context, []string) error {
		if queries.Add(1)%5 != 0 {
			return nil
		}
		between.Add(1)
		_, err := s.Activate(t.Context(), sink.Activation{}) //nolint:contextcheck // the query must not be able to stop it
		return err
	}
	for id, name := range map[int]string{1: "first", 2: "second"} {
		fake := encodertest.NewModel(alike, name)
		fake.Hook(flip)
		open.Add(id, &engine.Engine{Encoder: fake})
	}
	searcher := search.New(config.Default(), s, open, nil, *state.Generation)
	if _, err := s.Activate(t.Context(), sink.Activation{ID: 2}); err != nil {
		t.Fatal(err)
	}

	const searches, loops = 60, 4
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var group sync.WaitGroup
	var read [3]atomic.Int64
	for loop := range loops {
		group.Go(func() {
			for i := range searches {
				text := texts[(i+loop)%len(texts)]
				found, err := searcher.Nearest(ctx, text, 3)
				if err != nil {
					if _, many := errors.AsType[*sink.OtherGenerationError](err); many {
						continue // activated five times in a row between two statements
					}
					t.Errorf("searching: %v", err)
					return
				}
				read[found.Generation.ID].Add(1)
				if key := fmt.Sprint((i + loop) % len(texts)); found.Hits[0].Key != change.KeyOf(key) || found.Hits[0].Score < 0.9999 {
					t.Errorf("generation %d finds %q with %+v", found.Generation.ID, text, found.Hits)
				}
			}
		})
	}
	group.Wait()
	if read[1].Load() == 0 || read[2].Load() == 0 || between.Load() < 10 {
		t.Errorf("generations were read %d and %d times, with %d activations", read[1].Load(), read[2].Load(), between.Load())
	}
}

// TestAFilterThatCannotBeAppliedIsOfTheRequest, and a table that this role may not read is not.
func TestAFilterThatCannotBeAppliedIsOfTheRequest(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, "CREATE TABLE public.item (id bigint PRIMARY KEY, price numeric); INSERT INTO public.item VALUES (1, 20)")
	role, password := db.Role(t, "")
	table := change.Table{Schema: "public", Name: "item", OID: 1, Key: []change.Column{{Name: "id", Type: "bigint"}}}
	pool := db.Pool(t)
	store := &connect.Store{Pool: pool, Sink: sink.New(sink.Options{Pool: pool, Pipeline: "item", Logger: zerolog.Nop()})}
	f := func(dsn string, asked bool, says string, columns []string, filters ...rows.Filter) {
		t.Helper()
		reader := rows.NewReader(rows.Options{ConnString: dsn, Table: table, TrustOwner: true})
		defer reader.Close(t.Context())
		searcher := search.New(config.Default(), store, nil, reader, sink.Generation{})
		result, err := searcher.Fetch(t.Context(), sink.Result{Hits: []sink.Hit{{Key: change.KeyOf("1")}}}, columns, filters)
		if says == "" && err == nil && len(result.Hits) == 1 {
			return
		}
		if says == "" || err == nil || !strings.Contains(err.Error(), says) || (fault.Asked(err) != nil) != asked {
			t.Errorf("%v, %v by %v: %+v, %v", dsn, columns, filters, result, err)
		}
	}
	price := []string{"price"}
	f(db.DSN, false, "", price, rows.Filter{Column: "price", Operator: "<", Value: "30"})
	f(db.DSN, true, "column colour does not exist", []string{"colour"})
	f(db.DSN, true, "colour", price, rows.Filter{Column: "colour", Operator: "=", Value: "red"})
	f(db.DSN, true, "cheap", price, rows.Filter{Column: "price", Operator: "<", Value: "cheap"})
	f(db.DSNFor(role, password), false, "permission denied", price)
}
