package sink_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
	"github.com/wal2vec/wal2vec/sql"
)

func TestInitMayBeRunAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.commit(stream, 0x1200, upsert(1, 0x1101, "one"))
	before := b.state()
	b.ok(b.sink.Migrate(t.Context()))
	b.ok(b.sink.Register(t.Context(), productPipeline()))
	g := generation(dimension)
	g.Precision = "int8"
	got, err := b.sink.EnsureGeneration(t.Context(), g)
	b.ok(err)
	if got.ID != 1 || got.Precision != "fp32" || len(got.Precisions) != 0 {
		t.Errorf("got %+v", got)
	}
	for _, precision := range []string{"fp32", "int8", "fp32"} {
		b.ok(b.sink.Wrote(t.Context(), 1, precision))
	}
	if got := b.state().Generation.Precisions; !slices.Equal(got, []string{"fp32", "int8"}) {
		t.Errorf("the precisions that wrote are %v", got)
	}
	if after := b.state(); after.Version() != before.Version() || after.Owner != before.Owner {
		t.Errorf("%+v became %+v", before, after)
	}
	b.commit(stream, 0x1300) // the stream noticed nothing
}

func TestSeveralInitsAtOnce(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	var wait sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wait.Go(func() {
			errs[i] = b.sink.Migrate(t.Context())
			if errs[i] == nil {
				errs[i] = b.sink.Register(t.Context(), productPipeline())
			}
			if errs[i] == nil {
				_, errs[i] = b.sink.EnsureGeneration(t.Context(), generation(dimension))
			}
		})
	}
	wait.Wait()
	b.ok(errors.Join(errs...))
	if got := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.schema_version"); got != int64(len(sql.Migrations())) {
		t.Errorf("%d migrations", got)
	}
}

func TestAnotherSchemaVersionIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.db.Exec(t, "INSERT INTO wal2vec.schema_version VALUES (99, 'of the future')")
	b.wantKind(b.sink.Migrate(t.Context()), fault.Usage)
	_, err := b.sink.State(t.Context())
	b.wantKind(err, fault.Usage)
	_, err = b.sink.Takeover(t.Context(), "me", 1)
	b.wantKind(err, fault.Usage)
	b.db.Exec(t, "DELETE FROM wal2vec.schema_version WHERE version > 1")
	_, err = b.sink.State(t.Context())
	b.wantKind(err, fault.Usage)
}

func TestWithoutInitEverythingSaysSo(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	check := func(what string, err error) {
		t.Helper()
		if fault.KindOf(err) != fault.Usage || !strings.HasPrefix(fault.Try(err), "wal2vec init") {
			t.Errorf("%s: %v, try %q", what, err, fault.Try(err))
		}
	}
	checkAll := func() {
		t.Helper()
		_, err := b.sink.State(t.Context())
		check("State", err)
		_, err = b.sink.Version(t.Context())
		check("Version", err)
		_, err = b.sink.Counts(t.Context())
		check("Counts", err)
		_, err = b.sink.NewSearcher().Search(t.Context(), sink.Query{Vector: make([]float32, dimension), K: 1})
		check("Search", err)
		_, err = b.sink.CollectTombstones(t.Context())
		check("CollectTombstones", err)
		check("Start", b.sink.Start(t.Context(), sink.Start{Slot: "x", ConsistentPoint: 1}))
		check("Teardown", b.sink.Teardown(t.Context()))
	}
	checkAll()
	b.ok(b.sink.Migrate(t.Context()))
	checkAll()
}

func TestRegisterRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	f := func(what string, edit func(*sink.Pipeline)) {
		t.Helper()
		p := productPipeline()
		edit(&p)
		err := b.sink.Register(t.Context(), p)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want one about %q", err, what)
		}
	}
	f("staging_marts.other", func(p *sink.Pipeline) { p.Table.Name = "other" })
	f("product_id text", func(p *sink.Pipeline) { p.Table.Key = []change.Column{{Name: "product_id", Type: "text"}} })
	f(`"sku"`, func(p *sink.Pipeline) { p.Table.Key = []change.Column{{Name: "sku", Type: "evil); DROP TABLE x; --"}} })
	f(`"lsn"`, func(p *sink.Pipeline) { p.Table.Key = []change.Column{{Name: "lsn", Type: "text"}} })
	f("key", func(p *sink.Pipeline) { p.Table.Key = nil })
	f("another_slot", func(p *sink.Pipeline) { p.Slot = "another_slot" })
	b.wantKind(newSink(b.pool, "No Name").Register(t.Context(), productPipeline()), fault.Usage)
}

func TestNamesMayChangeUntilTheStart(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	b.ok(b.sink.Migrate(t.Context()))
	p := productPipeline()
	b.ok(b.sink.Register(t.Context(), p))
	p.Slot, p.SystemID = "it's another", "2"
	b.ok(b.sink.Register(t.Context(), p))
	if st := b.state(); st.Slot != p.Slot || st.SystemID != "2" || st.Started() {
		t.Errorf("got %+v", st)
	}
}

func TestAnotherModelIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	f := func(kind fault.Kind, edit func(*sink.Generation)) {
		t.Helper()
		g := generation(dimension)
		edit(&g)
		_, err := b.sink.EnsureGeneration(t.Context(), g)
		b.wantKind(err, kind)
	}
	f(fault.Model, func(g *sink.Generation) { g.Fingerprint = "another" })
	f(fault.Model, func(g *sink.Generation) { g.Fingerprint, g.Template = "another", "{brand}" })
	f(fault.Model, func(g *sink.Generation) { g.Dimension = 7 })
	f(fault.Usage, func(g *sink.Generation) { g.Storage = sink.HalfVec })
	f(fault.Usage, func(g *sink.Generation) { g.Dimension = 3000 })
}

func TestWhatIsInTheViewsPlaceIsNotTouched(t *testing.T) {
	t.Parallel()
	f := func(create, what, try string) {
		t.Helper()
		b := prepare(t)
		role, _ := b.db.Role(t, "")
		named := strings.NewReplacer("{role}", role)
		b.db.Exec(t, "CREATE SCHEMA analytics_features; GRANT USAGE, CREATE ON SCHEMA analytics_features TO "+role+"; "+named.Replace(create)+"; RESET ROLE")
		b.ok(b.sink.Migrate(t.Context()))
		b.ok(b.sink.Register(t.Context(), productPipeline()))
		_, err := b.sink.EnsureGeneration(t.Context(), generation(dimension))
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), named.Replace(what)) || !strings.Contains(fault.Try(err), try) {
			t.Fatalf("got %v, try %q", err, fault.Try(err))
		}
		if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.generation"); n != 0 {
			t.Error("half of the work was done")
		}
		_, advised, _ := strings.Cut(fault.Try(err), "(")
		advised, _, _ = strings.Cut(advised, ")")
		b.db.Exec(t, advised)
		_, err = b.sink.EnsureGeneration(t.Context(), generation(dimension))
		b.ok(err)
	}
	f("CREATE TABLE "+viewName+" (product_id bigint, embedding public.vector(768))", "embedding vector(768)",
		`ALTER TABLE "analytics_features"."product_embeddings" RENAME TO "product_embeddings_old"`)
	f("CREATE TABLE "+viewName+" (product_id bigint, embedding public.vector(8))", "existing table", "ALTER TABLE")
	f("CREATE VIEW "+viewName+" AS SELECT 1 AS x", "existing view", "ALTER VIEW")
	// Of any role that may create there; a view makes a type of its name, too.
	const whose = `that is not wal2vec's: it belongs to role "{role}"`
	f("SET ROLE {role}; CREATE SEQUENCE "+viewName, "existing sequence "+whose, "ALTER SEQUENCE")
	for _, typed := range []string{"CREATE TYPE " + viewName + " AS ENUM ()", "CREATE DOMAIN " + viewName + " AS int", "CREATE TYPE " + viewName + " AS (a int)"} {
		f("SET ROLE {role}; "+typed, "existing type "+whose, `ALTER TYPE "analytics_features"."product_embeddings" RENAME TO "product_embeddings_old"`)
	}
	f("SET ROLE {role}; CREATE TABLE analytics_features.own (id int); CREATE INDEX product_embeddings ON analytics_features.own (id)",
		"existing index "+whose, "ALTER INDEX")
}

// TestANameOfPgvectorsThatIsTaken in public, by a role that may create there: a schema of its own
// helps.
func TestANameOfPgvectorsThatIsTaken(t *testing.T) {
	t.Parallel()
	for _, taken := range []string{
		"CREATE TYPE public.vector AS ENUM ()", "CREATE TABLE public.halfvec (id int)", "CREATE DOMAIN public.sparsevec AS int",
	} {
		b := prepare(t)
		role, _ := b.db.Role(t, "")
		b.db.Exec(t, "DROP EXTENSION IF EXISTS vector; GRANT CREATE ON SCHEMA public TO "+role+"; SET ROLE "+role+"; "+taken+"; RESET ROLE")
		err := b.sink.Migrate(t.Context())
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "another role made in that schema has a name of pgvector's") {
			t.Fatalf("%s: %v", taken, err)
		}
		b.db.Exec(t, fault.Try(err))
		b.ok(b.sink.Migrate(t.Context()))
	}
}

func TestTheViewFollowsItsConfiguredName(t *testing.T) {
	t.Parallel()
	b := setup(t)
	renamed := sink.New(sink.Options{Pool: b.pool, Pipeline: "product", View: "public.vectors_of_products"})
	_, err := renamed.EnsureGeneration(t.Context(), generation(dimension))
	b.ok(err)
	b.db.Exec(t, "SELECT FROM public.vectors_of_products")
	if pgtest.One[bool](t, b.db, "SELECT to_regclass('"+viewName+"') IS NOT NULL") {
		t.Error("the old view is there")
	}
	b.db.Exec(t, "DROP VIEW public.vectors_of_products")
	_, err = renamed.EnsureGeneration(t.Context(), generation(dimension))
	b.ok(err)
	b.db.Exec(t, "SELECT FROM public.vectors_of_products") // a lost view comes back
	_, err = sink.New(sink.Options{Pool: b.pool, Pipeline: "product", View: "bare"}).EnsureGeneration(t.Context(), generation(dimension))
	b.wantKind(err, fault.Usage)
}

func TestAPipelineKeepsItsViewUnlessItIsToldAnotherName(t *testing.T) {
	t.Parallel()
	b := setup(t)
	derived := sink.New(sink.Options{Pool: b.pool, Pipeline: "product", View: "analytics_features.product", KeepView: true})
	_, err := derived.EnsureGeneration(t.Context(), generation(dimension))
	b.ok(err)
	role, _ := b.db.Role(t, "")
	b.ok(derived.Grant(t.Context(), sink.Grant{Role: role, Access: sink.Read}))
	b.db.Exec(t, "SELECT FROM "+viewName)
	if pgtest.One[bool](t, b.db, "SELECT to_regclass('analytics_features.product') IS NOT NULL") {
		t.Error("the view took the name that another pipeline would have")
	}
	if !pgtest.One[bool](t, b.db, "SELECT has_table_privilege($1, '"+viewName+"', 'SELECT')", role) {
		t.Error("the role may not read the view that there is")
	}
}

func TestTheViewOfAnotherPipelineIsNamedAsSuch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := newSink(b.pool, "articles")
	b.ok(other.Register(t.Context(), productPipeline()))
	_, err := other.EnsureGeneration(t.Context(), generation(dimension))
	if b.wantKind(err, fault.Usage); !strings.Contains(err.Error(), `is the view of pipeline "product"`) || !strings.Contains(fault.Try(err), "sink.view") ||
		strings.Contains(fault.Try(err), "RENAME") {
		t.Errorf("got %v, try %q", err, fault.Try(err))
	}
}

// statements records what a pool runs.
type statements struct {
	mu  sync.Mutex
	all []string
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, data.SQL)
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestPlanShowsWhatInitRuns(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	config, err := pgxpool.ParseConfig(b.db.DSN)
	b.ok(err)
	ran := &statements{}
	config.ConnConfig.Tracer = ran
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	b.ok(err)
	t.Cleanup(pool.Close)
	b.sink = newSink(pool, "product")
	b.db.Exec(t, "DROP EXTENSION vector")
	role, _ := b.db.Role(t, "")
	grant := sink.Grant{Role: role, Access: sink.Write}

	plan, err := b.sink.Plan(t.Context(), productPipeline(), generation(dimension), grant)
	b.ok(err)
	if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM pg_namespace WHERE nspname = 'wal2vec'"); n != 0 {
		t.Error("planning changed something")
	}
	ran.all = nil
	b.ok(b.sink.Migrate(t.Context()))
	b.ok(b.sink.Register(t.Context(), productPipeline()))
	_, err = b.sink.EnsureGeneration(t.Context(), generation(dimension))
	b.ok(err)
	b.ok(b.sink.Grant(t.Context(), grant))
	changing := func(statement string) bool {
		for strings.HasPrefix(statement, "--") {
			_, statement, _ = strings.Cut(statement, "\n")
		}
		word, _, _ := strings.Cut(statement, " ")
		return slices.Contains([]string{"CREATE", "INSERT", "UPDATE", "DELETE", "ALTER", "GRANT", "DROP", "DO", "COMMENT"}, word)
	}
	var did []string
	for _, statement := range ran.all {
		if changing(statement) {
			did = append(did, statement)
		}
	}
	if !slices.Equal(plan, did) {
		t.Errorf("planned:\n%s\n\nran:\n%s", strings.Join(plan, ";\n"), strings.Join(did, ";\n"))
	}
	plan, err = b.sink.Plan(t.Context(), productPipeline(), generation(dimension))
	if err != nil || len(plan) != 0 {
		t.Errorf("afterwards: %q, %v", plan, err)
	}
}

func TestTeardownRemovesThePipelineAndTheLastOneTheSchema(t *testing.T) {
	t.Parallel()
	b := setup(t)
	second := sink.New(sink.Options{Pool: b.pool, Pipeline: "second", View: "public.second"})
	p := productPipeline()
	b.ok(second.Register(t.Context(), p))
	_, err := second.EnsureGeneration(t.Context(), generation(dimension))
	b.ok(err)
	b.job(everything).Close()
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))

	b.ok(b.sink.Teardown(t.Context()))
	if left := pgtest.Column[string](t, b.db, "SELECT relname::text FROM pg_class WHERE relname LIKE '%product%'"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := second.State(t.Context()); err != nil {
		t.Error(err)
	}
	b.db.Exec(t, "CREATE VIEW public.theirs AS SELECT * FROM public.second")
	b.wantKind(second.Teardown(t.Context()), fault.Usage) // somebody's view depends on ours
	b.db.Exec(t, "DROP VIEW public.theirs")
	b.ok(second.Teardown(t.Context()))
	if pgtest.One[bool](t, b.db, "SELECT to_regnamespace('wal2vec') IS NOT NULL") {
		t.Error("the schema is there")
	}
}

// TestTheViewsSchemaGoesWhereInitMadeIt, and nothing of anybody's is in it.
func TestTheViewsSchemaGoesWhereInitMadeIt(t *testing.T) {
	t.Parallel()
	f := func(name, before, between string, stays bool) {
		t.Helper()
		b := prepare(t)
		if before != "" {
			b.db.Exec(t, before)
		}
		b.init(productPipeline(), generation(dimension))
		if between != "" {
			b.db.Exec(t, between)
		}
		b.ok(b.sink.Teardown(t.Context()))
		if there := pgtest.One[bool](t, b.db, "SELECT to_regnamespace('analytics_features') IS NOT NULL"); there != stays {
			t.Errorf("%s: the schema is there: %v", name, there)
		}
	}
	f("made by init", "", "", false)
	f("there before", "CREATE SCHEMA analytics_features", "", true)
	f("with another's table", "", "CREATE TABLE analytics_features.theirs (id int)", true)
	f("with another's function", "", "CREATE FUNCTION analytics_features.theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'", true)
	f("with another view in the place of ours", "", "DROP VIEW analytics_features.product_embeddings; CREATE VIEW analytics_features.product_embeddings AS SELECT 1 AS one", true)
	f("of another's comment", "", "COMMENT ON SCHEMA analytics_features IS 'features of the mart'", true)
}

func TestTheExtensionMayBeInAnySchema(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	b.db.Exec(t, "CREATE SCHEMA extensions; ALTER EXTENSION vector SET SCHEMA extensions")
	b.init(productPipeline(), generation(dimension))
	one := upsert(1, 0x1101, "one")
	b.commit(b.takeover(), 0x1200, one)
	got, err := b.sink.NewSearcher().Search(t.Context(), sink.Query{Vector: vectorOf(dimension, one.Document.Hash), K: 1})
	if err != nil || len(got.Hits) != 1 || got.Hits[0].Key != one.Key {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestKeysOfSeveralColumns(t *testing.T) {
	t.Parallel()
	p := productPipeline()
	p.Table.Key = []change.Column{{Name: "Tenant Name", Type: "character varying(20)"}, {Name: "id", Type: "uuid"}, {Name: "n", Type: "integer"}}
	g := generation(dimension)
	g.Storage = sink.HalfVec
	b := setupWith(t, p, g)
	const id = "6f1d7a52-93c5-4b40-9a4e-4d5c9b1f0b11"
	one := change.Change{Key: change.KeyOf("it's, {odd}\\\"", id, "-7"), LSN: 0x1101, Document: change.NewDocument("one")}
	two := change.Change{Key: change.KeyOf("", id, "0"), LSN: 0x1101, Document: change.NewDocument("two")}
	stream := b.takeover()
	b.commit(stream, 0x1200, two, one)
	b.commit(stream, 0x1300, change.Change{Key: two.Key, LSN: 0x1201, Deleted: true})
	got, err := b.sink.NewSearcher().Search(t.Context(), sink.Query{Vector: vectorOf(dimension, one.Document.Hash), K: 5})
	if err != nil || len(got.Hits) != 1 || got.Hits[0].Key != one.Key || got.Hits[0].Score < 0.999 {
		t.Errorf("got %+v, %v", got, err)
	}
	j := b.job(everything)
	_, err = b.chunk(j, b.version(), one)
	b.ok(err)
	j.Close()
	if again := b.job(everything); again.Cursor() != one.Key {
		t.Errorf("the cursor is %q", again.Cursor())
	}
	if _, err := stream.Stale(t.Context(), []change.Change{upsert(1, 0, "one column")}); err == nil {
		t.Error("a key of one part was accepted")
	}
}

// as returns the sink as a role sees it.
func (b *bench) as(role, password string) *sink.Sink {
	b.tb.Helper()
	return b.trusting("", role, password)
}

// trusting is the sink of a role whose settings name the owner of wal2vec's tables.
func (b *bench) trusting(owner, role, password string) *sink.Sink {
	b.tb.Helper()
	pool, err := pgxpool.New(b.tb.Context(), b.db.DSNFor(role, password))
	b.ok(err)
	b.tb.Cleanup(pool.Close)
	return sink.New(sink.Options{Pool: pool, Pipeline: "product", Owner: owner, View: viewName, Logger: zerolog.Nop()})
}

func TestLeastPrivilegeRoles(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t) // roles belong to a server
	b := &bench{tb: t, db: server.Database(t)}
	b.db.CreateProducts(t)
	script, err := os.ReadFile("../deploy/roles.sql")
	b.ok(err)
	b.db.Exec(t, string(script))
	b.db.Exec(t, string(script))
	for _, role := range []string{"wal2vec_admin", "wal2vec_stream", "wal2vec_search"} {
		b.db.Exec(t, fmt.Sprintf("ALTER ROLE %s PASSWORD 'secret'", role))
		if pgtest.One[bool](t, b.db, "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls FROM pg_roles WHERE rolname = $1", role) {
			t.Errorf("%s has too many rights", role)
		}
	}
	const owner = "wal2vec_admin"
	admin, stream, search := b.as(owner, "secret"), b.trusting(owner, "wal2vec_stream", "secret"), b.trusting(owner, "wal2vec_search", "secret")

	b.wantKind(stream.Migrate(t.Context()), fault.Usage)
	b.sink = admin
	b.init(productPipeline(), generation(dimension))
	_, err = stream.Takeover(t.Context(), "too early", 1)
	b.wantKind(err, fault.Usage)
	b.ok(admin.Grant(t.Context(), sink.Grant{Role: "wal2vec_stream", Access: sink.Write}))
	b.ok(admin.Grant(t.Context(), sink.Grant{Role: "wal2vec_search", Access: sink.Read}))
	b.wantKind(admin.Grant(t.Context(), sink.Grant{Role: "nobody_here", Access: sink.Read}), fault.Usage)
	b.wantKind(admin.Grant(t.Context(), sink.Grant{Role: "wal2vec_search", Access: "all"}), fault.Usage)

	b.sink = stream
	b.start(true)
	writer := b.takeover()
	b.commit(writer, 0x2000, upsert(1, 0x1901, "one"), remove(2, 0x1901))
	b.ok(writer.Commit(t.Context(), change.Commit{Truncated: 0x2001, Watermark: 0x2100}))
	b.ok(writer.ReportPending(t.Context(), writerTime))
	j := b.job(everything)
	_, err = b.chunk(j, b.version(), upsert(3, 0, "three"))
	b.ok(err)
	_, err = j.Commit(t.Context(), protocol.Chunk{A: b.version(), PartialUntil: 0x3000, After: j.Cursor(), Cursor: "3"})
	b.ok(err)
	_, err = j.Sweep(t.Context())
	b.ok(err)
	_, err = stream.CollectTombstones(t.Context())
	b.ok(err)

	b.sink = search
	b.state()
	_, err = search.Counts(t.Context())
	b.ok(err)
	got, err := search.NewSearcher().Search(t.Context(), sink.Query{Vector: make([]float32, dimension), K: 1})
	if err != nil {
		t.Errorf("searching: %v, %v", got, err)
	}
	_, err = search.Takeover(t.Context(), "a reader", 1)
	b.wantKind(err, fault.Usage)
	b.wantKind(stream.Teardown(t.Context()), fault.Usage)
	b.ok(admin.Teardown(t.Context()))
}
