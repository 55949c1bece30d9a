package sink_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/sink"
)

// TestAnAuditRunsNothingOfTheOwnerOfPgvectorsSchema: that role can put another schema, with operators and types of its own, in its place while an
// audit runs. The audit reads the same vectors and lengths, in each form in which a server sends them.
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
