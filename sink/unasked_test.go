package sink_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// open are the rights that others than the owner and these roles have on relations and schemas.
func (b *bench) open(schemas []string, but ...string) []string {
	b.tb.Helper()
	return pgtest.Column[string](b.tb, b.db, `SELECT concat(c.relkind, ' ', c.relname, ': ', x.grantee::regrole, ' ', x.privilege_type)
		FROM pg_namespace AS n JOIN pg_class AS c ON c.relnamespace = n.oid, aclexplode(c.relacl) AS x
		WHERE n.nspname = ANY ($1) AND x.grantee <> c.relowner AND x.grantee::regrole::text <> ALL ($2)
		UNION ALL SELECT concat('schema ', n.nspname, ': ', x.grantee::regrole) FROM pg_namespace AS n, aclexplode(n.nspacl) AS x
		WHERE n.nspname = ANY ($1) AND x.grantee <> n.nspowner AND x.grantee::regrole::text <> ALL ($2)`, schemas, append([]string{}, but...))
}

var ourSchemas = []string{"wal2vec", "analytics_features"}

// opens gives a role, by default, all on what another one makes.
func opens(role string) []string {
	return []string{
		"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO " + role + ", PUBLIC", "ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO " + role + ", PUBLIC",
		"ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO " + role + ", PUBLIC",
	}
}

// TestDefaultPrivilegesOpenNoTable: a stranger who once knew the password of the role that runs
// init may have set them.
func TestDefaultPrivilegesOpenNoTable(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	b.key = productPipeline().Table.Key
	admin, stranger, streamer := b.maker(), b.account(""), b.account("")
	b.sink = b.as(admin.name, admin.password)
	b.plant(admin, append(opens(stranger.name), "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "+streamer.name)...)
	b.init(productPipeline(), generation(dimension))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer.name, Access: sink.Write}))
	_, _, err := b.sink.BuildGeneration(t.Context(), second())
	b.ok(err)
	open := func(after string) {
		t.Helper()
		if rights := b.open(ourSchemas, streamer.name); len(rights) != 0 {
			t.Errorf("after %s, open: %q", after, rights)
		}
	}
	open("init and build")
	// A view of another type is made again.
	_, err = b.sink.Activate(t.Context(), sink.Activation{ID: 2, Force: true})
	b.ok(err)
	open("an activation")
	if !pgtest.One[bool](t, b.db, "SELECT has_table_privilege($1, $2, 'SELECT')", streamer.name, viewName) {
		t.Error("the stream's role lost the view")
	}
	b.db.Exec(t, "DROP VIEW "+viewName)
	_, err = b.sink.Activate(t.Context(), sink.Activation{ID: 1, Force: true})
	b.ok(err)
	open("an activation without a view")
	stream, err := b.trusting(admin.name, streamer.name, streamer.password).Takeover(t.Context(), "stream", b.version().Epoch)
	b.ok(err)
	b.ok(stream.ReportPending(t.Context(), b.state().ReportedAt))
}

// TestWhatIsPastedIsClosedByWhoPastes: the role that prints has no default privileges, and the one
// that pastes has.
func TestWhatIsPastedIsClosedByWhoPastes(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	admin, paster, stranger, streamer := b.maker(), b.maker(), b.account(""), b.account("")
	b.plant(paster, opens(stranger.name)...)
	b.plant(paster, "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO "+streamer.name)
	const odd = `W2V "é" '%`
	for schema, view := range map[string][2]string{"wal2vec": {"analytics_features", "product_embeddings"}, odd: {`$wal2vec$ "é`, `$wal2vec$'`}} {
		printer := sink.New(sink.Options{Pool: b.poolAs(admin), Schema: schema, Pipeline: "product", View: pgname.Qualified(view[0], view[1])})
		plan, err := printer.Plan(t.Context(), productPipeline(), generation(dimension))
		b.ok(err)
		b.paste(paster, plan)
		if rights := b.open([]string{schema, view[0]}); len(rights) != 0 {
			t.Errorf("%s: open are %q", schema, rights)
		}
		if n := pgtest.One[int](t, b.db, "SELECT count(*)::int FROM pg_class WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ($1, $2))", schema, view[0]); n < 10 {
			t.Errorf("%s: %d relations were made", schema, n)
		}
	}
	b.denied(b.conn(stranger.name, stranger.password), "SELECT FROM wal2vec.pipeline", "DELETE FROM wal2vec.ledger_product", "CREATE TABLE wal2vec.mine ()",
		"SELECT nextval('wal2vec.backfill_id_seq')", "SELECT FROM "+viewName, "DELETE FROM wal2vec.vectors_product_1")
	b.denied(b.conn(streamer.name, streamer.password), "SELECT FROM wal2vec.ledger_product")
	b.ok(b.as(paster.name, paster.password).Grant(t.Context(), sink.Grant{Role: streamer.name, Access: sink.Write}))
	b.plant(streamer, "DELETE FROM wal2vec.ledger_product")
}

// poolAs are connections of a role.
func (b *bench) poolAs(a account) *pgxpool.Pool {
	b.tb.Helper()
	pool, err := pgxpool.New(b.tb.Context(), b.db.DSNFor(a.name, a.password))
	b.ok(err)
	b.tb.Cleanup(pool.Close)
	return pool
}

// paste runs what init --print-sql prints, as it prints it.
func (b *bench) paste(a account, plan []string) {
	b.tb.Helper()
	text := make([]string, len(plan))
	for i, statement := range plan {
		text[i] = strings.TrimSuffix(pgname.Pasteable(statement), ";")
	}
	b.plant(a, "SELECT pg_catalog.set_config('search_path', 'pg_catalog', false)", "BEGIN;\n"+strings.Join(text, ";\n")+";\nCOMMIT")
}

// TestAnUpgradeOpensNothing: migrations make tables, too; what roles were given on those that were
// there stays.
func TestAnUpgradeOpensNothing(t *testing.T) {
	t.Parallel()
	for _, pasted := range []bool{false, true} {
		b := setup(t)
		b.beside()
		streamer, stranger, paster := b.account(""), b.account(""), b.account("SUPERUSER")
		b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer.name, Access: sink.Write}))
		b.db.Exec(t, beforeRights)
		for _, statement := range opens(stranger.name) {
			b.db.Exec(t, statement)
			b.plant(paster, statement)
		}
		if pasted {
			plan, err := b.sink.Plan(t.Context(), productPipeline(), generation(dimension))
			b.ok(err)
			b.paste(paster, plan)
		} else {
			b.ok(b.sink.Migrate(t.Context()))
		}
		if rights := b.open(ourSchemas, streamer.name); len(rights) != 0 {
			t.Errorf("pasted %v: open are %q", pasted, rights)
		}
		b.denied(b.conn(stranger.name, stranger.password), "SELECT FROM wal2vec.dead_letter_other", "DELETE FROM wal2vec.dead_letter_product")
		b.plant(streamer, "DELETE FROM wal2vec.dead_letter_product", "DELETE FROM wal2vec.ledger_product", "DELETE FROM wal2vec.vectors_product_1", "SELECT FROM "+viewName)
	}
}
