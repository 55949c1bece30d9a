package sink_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/sink"
)

// TestAnAuditRunsNothingOfTheOwnerOfPgvectorsSchema: that role can put another schema, with
// operators and types of its own, in its place while an audit runs. The audit reads the same
// vectors and lengths, in each form in which a server sends them.
func TestAnAuditRunsNothingOfTheOwnerOfPgvectorsSchema(t *testing.T) {
	t.Parallel()
	for _, storage := range []sink.Storage{sink.Vector, sink.HalfVec} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
			t.Run(fmt.Sprint(storage, " ", mode), func(t *testing.T) {
				t.Parallel()
				g := generation(dimension)
				g.Storage = storage
				b := setupWith(t, productPipeline(), g)
				b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
				config, err := pgxpool.ParseConfig(b.db.DSN)
				b.ok(err)
				config.ConnConfig.DefaultQueryExecMode = mode
				pool, err := pgxpool.NewWithConfig(t.Context(), config)
				b.ok(err)
				t.Cleanup(pool.Close)
				a, err := newSink(pool, "product").OpenAudit(t.Context(), 0)
				b.ok(err)
				keys := []change.Key{"1", "2"}
				want, err := a.Vectors(t.Context(), keys)
				b.ok(err)

				owner := b.account("")
				b.trap()
				b.db.Exec(t, "ALTER SCHEMA public RENAME TO extended; CREATE SCHEMA public AUTHORIZATION "+owner.name+"; GRANT USAGE ON SCHEMA public, extended TO PUBLIC")
				for _, kind := range []string{"vector", "halfvec"} {
					b.plant(owner, fmt.Sprintf(`CREATE FUNCTION public.length(extended.%[1]s, extended.%[1]s) RETURNS float8 LANGUAGE sql
							AS 'SELECT -1::float8 WHERE trap.spring()'; CREATE OPERATOR public.<#> (LEFTARG = extended.%[1]s, RIGHTARG = extended.%[1]s, FUNCTION = public.length)`, kind))
				}
				b.plant(owner, "CREATE DOMAIN public.vector AS extended.vector CHECK (trap.spring())")

				look, err := a.Look(t.Context(), keys)
				b.ok(err)
				got, err := a.Vectors(t.Context(), keys)
				b.ok(err)
				vector := got["1"].Vector
				if len(got) != 1 || len(vector) != dimension || !slices.Equal(vector, want["1"].Vector) {
					t.Errorf("read %v, before %v", got, want)
				}
				sum := 0.0
				for _, x := range vector {
					sum += float64(x) * float64(x)
				}
				if held := look.Holdings[0]; !held.HasVector || math.Abs(held.Norm-math.Sqrt(sum)) > 1e-9 || look.Holdings[1].HasVector || look.Holdings[1].Norm != 0 {
					t.Errorf("holds %+v of %v", look.Holdings, vector)
				}
				if loot := b.loot(); len(loot) != 0 {
					t.Errorf("the planted code ran as %q", loot)
				}
			})
		}
	}
}

// TestNothingRunsOfTheOwnerOfPgvectorsSchema: a process keeps the name of that schema for as long
// as it lives, and its owner gives the name to another in the meantime. What names a type of it
// names its dimensions, which only a type of a superuser's takes; so each statement works on, or
// fails.
func TestNothingRunsOfTheOwnerOfPgvectorsSchema(t *testing.T) {
	t.Parallel()
	for _, storage := range []sink.Storage{sink.Vector, sink.HalfVec} {
		t.Run(string(storage), func(t *testing.T) {
			t.Parallel()
			g := generation(dimension)
			g.Storage = storage
			b := setupWith(t, productPipeline(), g)
			stream := b.takeover()
			b.commit(stream, 0x1200, upsert(1, 0x1101, "one"))
			job := b.job(everything)
			query := sink.Query{Vector: vectorOf(dimension, upsert(1, 0, "one").Document.Hash), K: 1}
			searcher := b.sink.NewSearcher() // it keeps the name, too
			_, err := searcher.Search(t.Context(), query)
			b.ok(err)

			owner := b.account("")
			b.trap()
			b.db.Exec(t, "ALTER SCHEMA public RENAME TO extended; CREATE SCHEMA public AUTHORIZATION "+owner.name+"; GRANT USAGE ON SCHEMA public, extended TO PUBLIC")
			for _, kind := range []string{"vector", "halfvec"} {
				b.plant(owner, fmt.Sprintf("CREATE DOMAIN public.%[1]s AS extended.%[1]s CHECK (trap.spring())", kind))
				for i, operator := range []string{"<=>", "<#>", "<->"} {
					b.plant(owner, fmt.Sprintf(`CREATE FUNCTION public.distance_%[2]d(extended.%[1]s, extended.%[1]s) RETURNS float8 LANGUAGE sql AS 'SELECT 1::float8 WHERE trap.spring()';
						CREATE OPERATOR public.%[3]s (LEFTARG = extended.%[1]s, RIGHTARG = extended.%[1]s, FUNCTION = public.distance_%[2]d)`, kind, i, operator))
				}
			}
			ctx := t.Context()
			later := upsert(2, 0x1301, "two")
			for name, do := range map[string]func(s *sink.Sink) error{
				"search":      func(s *sink.Sink) error { _, err := s.NewSearcher().Search(ctx, query); return err },
				"kept search": func(*sink.Sink) error { _, err := searcher.Search(ctx, query); return err },
				"commit": func(*sink.Sink) error {
					return stream.Commit(ctx, change.Commit{
						Changes: []change.Change{later}, Watermark: 0x1400, Encodings: encoded(vectorsOf(dimension, later), nil),
					})
				},
				"chunk": func(*sink.Sink) error { _, err := b.chunk(job, b.version(), upsert(3, 0, "three")); return err },
				"index": func(s *sink.Sink) error {
					return s.BuildIndex(ctx, sink.Generation{ID: 1, Table: "vectors_product_1", Dimension: dimension, Storage: storage}, nil)
				},
				"build":  func(s *sink.Sink) error { _, _, err := s.BuildGeneration(ctx, second()); return err },
				"ensure": func(s *sink.Sink) error { _, err := s.EnsureGeneration(ctx, g); return err },
				"counts": func(s *sink.Sink) error { _, err := s.Counts(ctx); return err },
			} {
				t.Logf("%s: %v", name, do(b.sink))
				t.Logf("%s, as a new process: %v", name, do(newSink(b.db.Pool(t), "product")))
			}
			if loot := b.loot(); len(loot) != 0 {
				t.Errorf("the planted code ran as %q", loot)
			}
		})
	}
}

// TestWhatNamesPgvectorsSchemaNamesATypeWithItsDimensions holds each statement to that.
func TestWhatNamesPgvectorsSchemaNamesATypeWithItsDimensions(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../sql/queries/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "{{.Extension}}") {
			continue
		}
		named++
		rest := strings.ReplaceAll(string(text), "{{.Extension}}.{{.OperatorClass}}", "") // a superuser's alone to make
		if strings.Contains(rest, "{{.Extension}}") && !strings.Contains(rest, "::{{.Storage}}") {
			t.Errorf("%s names the schema of pgvector and no type with its dimensions", file)
		}
	}
	if named < 3 {
		t.Errorf("%d statements name it", named)
	}
}
