package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// withDSN returns the world's connection string with a part changed.
func withDSN(t *testing.T, dsn string, change func(*url.URL)) string {
	t.Helper()
	parsed, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	change(parsed)
	return parsed.String()
}

// refusedConnections are those to no database of ours.
func (w *world) refusedConnections() []refusal {
	dsn := func(change func(*url.URL)) []string {
		return []string{"WAL2VEC_SOURCE_DSN=" + withDSN(w.t, w.db.DSN, change)}
	}
	return []refusal{
		{
			name: "wrong password", env: dsn(func(u *url.URL) { u.User = url.UserPassword("postgres", hunter) }),
			code: 2, says: []string{"source", "password", `"postgres"`}, try: "source.dsn",
		},
		{
			name: "unknown role", env: dsn(func(u *url.URL) { u.User = url.UserPassword("nobody_here", hunter) }),
			code: 2, says: []string{"source", "nobody_here"}, try: "source.dsn",
		},
		{name: "unknown database", env: dsn(func(u *url.URL) { u.Path = "/nowhere" }), code: 2, says: []string{"source", `"nowhere"`}, try: "database in source.dsn"},
		{
			name: "unknown sink database", env: []string{"WAL2VEC_SINK_DSN=" + withDSN(w.t, w.db.DSN, func(u *url.URL) { u.Path = "/nowhere" })},
			code: 2, says: []string{"sink", `"nowhere"`}, try: "database in sink.dsn",
		},
		{
			name: "refused sink", env: []string{"WAL2VEC_SINK_DSN=" + withDSN(w.t, w.db.DSN, func(u *url.URL) { u.Host = "127.0.0.1:1" })},
			code: 5, says: []string{"sink", "127.0.0.1"}, try: "sink.dsn",
		},
	}
}

// refusedTables are source tables that cannot be followed.
func refusedTables() []refusal {
	return []refusal{
		{name: "missing table", env: set(map[string]string{"source.table": "shop.gone"}), code: 2, says: []string{`"shop"."gone"`}, try: "source.table"},
		{name: "view", env: set(map[string]string{"source.table": "shop.view"}), code: 2, says: []string{`"shop"."view" is a view`}, try: "table"},
		{name: "unlogged", env: set(map[string]string{"source.table": "shop.unlogged"}), code: 2, says: []string{`"shop"."unlogged"`}, try: "SET LOGGED"},
		{name: "missing template column", env: set(map[string]string{"source.template": "{name} {colour}"}), code: 2, says: []string{`"colour"`, "template"}, try: "configuration"},
		{name: "missing key column", env: set(map[string]string{"source.key": "sku"}), code: 2, says: []string{`"sku"`, "key"}, try: "configuration"},
		{name: "missing soft-delete column", env: set(map[string]string{"source.soft_delete": "gone_at"}), code: 2, says: []string{`"gone_at"`, "soft-delete"}, try: `source.soft_delete: ""`},
		{name: "no unique key", env: set(map[string]string{"source.table": "shop.twice"}), code: 2, says: []string{`"shop"."twice"`, "unique", "product_id"}, try: "CREATE UNIQUE INDEX"},
		{name: "partial unique key", env: set(map[string]string{"source.table": "shop.partial"}), code: 2, says: []string{`"shop"."partial"`, "unique"}, try: "CREATE UNIQUE INDEX"},
		{name: "nullable key", env: set(map[string]string{"source.table": "shop.nullable"}), code: 2, says: []string{`"product_id"`, "NULL"}, try: "SET NOT NULL"},
		{name: "decimal key", env: set(map[string]string{"source.table": "shop.decimal"}), code: 2, says: []string{`"product_id"`, "numeric"}, try: "bigint"},
		{name: "index, no identity", env: set(map[string]string{"source.table": "shop.index"}), code: 2, says: []string{`"shop"."index"`, "identity"}, try: "REPLICA IDENTITY USING INDEX \"index_key\""},
		{
			name: "identity nothing", before: "ALTER TABLE " + product + " REPLICA IDENTITY NOTHING", after: "ALTER TABLE " + product + " REPLICA IDENTITY DEFAULT",
			code: 2, says: []string{`"dim_product"`, "identity", "nothing"}, try: "REPLICA IDENTITY USING INDEX",
		},
	}
}

// refusedSurroundings are things in the way, and commands that come too early.
func (w *world) refusedSurroundings() []refusal {
	return []refusal{
		{
			name: "vectors of another dimension in the view's place", code: 2, says: []string{"analytics_features.product_embeddings", "768", "384"}, try: "RENAME TO",
			before: "CREATE SCHEMA analytics_features; CREATE TABLE analytics_features.product_embeddings (product_id bigint, embedding vector(768))",
			after:  "DROP SCHEMA analytics_features CASCADE",
		},
		{
			name: "table in the view's place", code: 2, says: []string{"analytics_features.product_embeddings", "table"}, try: "ALTER TABLE",
			before: "CREATE SCHEMA analytics_features; CREATE TABLE analytics_features.product_embeddings (product_id bigint, embedding vector(384))",
			after:  "DROP SCHEMA analytics_features CASCADE",
		},
		{
			name: "view in the view's place", code: 2, says: []string{"analytics_features.product_embeddings", "view"}, try: "ALTER VIEW",
			before: "CREATE SCHEMA analytics_features; CREATE VIEW analytics_features.product_embeddings AS SELECT 1 AS one",
			after:  "DROP SCHEMA analytics_features CASCADE",
		},
		{
			name: "foreign slot", code: 2, says: []string{"wal2vec_" + w.db.Name, "does not belong"}, try: "pg_drop_replication_slot",
			before: fmt.Sprintf("SELECT pg_create_logical_replication_slot('wal2vec_%s', 'pgoutput')", w.db.Name),
			after:  fmt.Sprintf("SELECT pg_drop_replication_slot('wal2vec_%s')", w.db.Name),
		},
		{
			name: "publication of inserts only", code: 2, says: []string{"wal2vec_" + w.db.Name, "publish"}, try: "ALTER PUBLICATION",
			before: fmt.Sprintf("CREATE PUBLICATION wal2vec_%s FOR TABLE %s WITH (publish = 'insert')", w.db.Name, product),
			after:  "DROP PUBLICATION wal2vec_" + w.db.Name,
		},
		{
			name: "publication of some rows", code: 2, says: []string{"wal2vec_" + w.db.Name, "filters the rows"}, try: "ALTER PUBLICATION",
			before: fmt.Sprintf("CREATE PUBLICATION wal2vec_%s FOR TABLE %s WHERE (product_id > 1)", w.db.Name, product),
			after:  "DROP PUBLICATION wal2vec_" + w.db.Name,
		},
		{
			name: "old pgvector", code: 2, says: []string{"pgvector", "0.7.4", "0.8"}, try: "ALTER EXTENSION vector UPDATE",
			before: "CREATE TABLE kept AS SELECT extversion FROM pg_extension WHERE extname = 'vector'; UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'",
			after:  "UPDATE pg_extension SET extversion = (SELECT extversion FROM kept) WHERE extname = 'vector'; DROP TABLE kept",
		},
		{
			name: "another's schema", code: 2, says: []string{`\"wal2vec\".pipeline`, "exists"}, try: "sink.schema",
			before: "CREATE SCHEMA wal2vec; CREATE TABLE wal2vec.pipeline (id int)", after: "DROP SCHEMA wal2vec CASCADE",
		},
		{name: "halfvec of nothing", env: set(map[string]string{"sink.storage": "bit"}), code: 2, says: []string{"sink.storage", "bit"}, try: "config reference"},
		{name: "view without schema", env: set(map[string]string{"sink.view": "embeddings"}), code: 2, says: []string{"sink.view", "embeddings"}, try: "config reference"},
		{name: "before init: stream", args: []string{"stream"}, code: 2, says: []string{"not set up"}, try: "wal2vec init"},
		{name: "before init: backfill", args: []string{"backfill"}, code: 2, says: []string{"not set up"}, try: "wal2vec init"},
		{name: "before init: search", args: []string{"search", "a lamp"}, code: 2, says: []string{"not set up"}, try: "wal2vec init"},
		{name: "before init: teardown", args: []string{"teardown", "--yes"}, code: 2, says: []string{"not set up"}, try: "--pipeline NAME"},
		{name: "no such row", args: []string{"config", "print", "--row", "99"}, code: 2, says: []string{"dim_product", "99"}},
		{name: "no such key", args: []string{"config", "print", "--row", "a lamp"}, code: 2, says: []string{"a lamp", "bigint"}, try: "type"},
	}
}

// TestInitRefusesWhatItCannotServe: each thing that is wrong with a server, a table, a name in the
// way.
func TestInitRefusesWhatItCannotServe(t *testing.T) { //nolint:tparallel // the cases share one database, whose contents they compare
	t.Parallel()
	w := newWorld(t, 3)
	w.db.Exec(t, `CREATE SCHEMA shop; CREATE TABLE shop.twice (product_id bigint NOT NULL, name text, brand text, category text, description text, deleted boolean);
		CREATE TABLE shop.partial (LIKE shop.twice); CREATE UNIQUE INDEX ON shop.partial (product_id) WHERE NOT deleted;
		CREATE TABLE shop.nullable (LIKE shop.twice, UNIQUE (product_id)); ALTER TABLE shop.nullable ALTER product_id DROP NOT NULL;
		CREATE TABLE shop.decimal (LIKE shop.twice, PRIMARY KEY (product_id)); ALTER TABLE shop.decimal ALTER product_id TYPE numeric;
		CREATE TABLE shop.index (LIKE shop.twice); CREATE UNIQUE INDEX index_key ON shop.index (product_id);
		CREATE UNLOGGED TABLE shop.unlogged (LIKE shop.twice, PRIMARY KEY (product_id)); CREATE VIEW shop.view AS SELECT * FROM shop.twice`)
	for _, r := range slices.Concat(w.refusedConnections(), refusedTables(), w.refusedSurroundings()) {
		t.Run(r.name, func(t *testing.T) {
			if r.args == nil {
				r.args = []string{"init"}
			}
			w.refuses(t, r)
		})
	}
}

// TestInitNeedsALogicalLog takes a server without one.
func TestInitNeedsALogicalLog(t *testing.T) {
	t.Parallel()
	level := "replica"
	if pgtest.Major() >= 19 { // where a slot is all that replica lacks
		level = "minimal"
	}
	db := pgtest.Server(t, "wal_level="+level, "max_wal_senders=0").Database(t)
	db.CreateProducts(t)
	w := newProgram(t)
	w.db = db
	w.env = append(w.env, "WAL2VEC_SOURCE_DSN="+db.DSN)
	w.refuses(t, refusal{args: []string{"init"}, code: 2, says: []string{"wal_level", `"` + level + `"`}, try: "ALTER SYSTEM SET wal_level = 'logical'"})
}

// TestInitRefusesMissingRights: roles that lack one right each.
func TestInitRefusesMissingRights(t *testing.T) { //nolint:tparallel // the cases share one database, whose contents they compare
	t.Parallel()
	w := newWorld(t, 3)
	w.db.Exec(t, "REVOKE CONNECT ON DATABASE "+w.db.Name+" FROM PUBLIC")
	// role makes a role and returns its name and the environment in which it runs wal2vec on both
	// sides; %s is its name.
	role := func(attributes string, grants ...string) (name string, env []string) {
		name, password := w.db.Role(t, attributes)
		for _, grant := range grants {
			w.db.Exec(t, strings.ReplaceAll(grant, "%s", name))
		}
		return name, []string{"WAL2VEC_SOURCE_DSN=" + w.db.DSNFor(name, password)}
	}
	const (
		connect = "GRANT CONNECT ON DATABASE current TO %s"
		usage   = "GRANT USAGE ON SCHEMA staging_marts TO %s"
		read    = "GRANT SELECT ON staging_marts.dim_product TO %s"
	)
	here := strings.Replace(connect, "current", w.db.Name, 1)
	create := strings.Replace(here, "CONNECT", "CONNECT, CREATE", 1)
	w.db.Exec(t, "CREATE ROLE owner_of_"+w.db.Name+"; GRANT USAGE ON SCHEMA staging_marts TO owner_of_"+w.db.Name)
	t.Cleanup(func() { w.db.Exec(t, "DROP OWNED BY owner_of_"+w.db.Name+" CASCADE; DROP ROLE owner_of_"+w.db.Name) })
	owner := "GRANT owner_of_" + w.db.Name + " TO %s"
	add := func(rs []refusal, r refusal, attributes string, grants ...string) []refusal {
		name, env := role(attributes, grants...)
		r.env = append(env, r.env...)
		for i := range r.says {
			r.says[i] = strings.ReplaceAll(r.says[i], "ROLE", name)
		}
		r.try = strings.ReplaceAll(r.try, "ROLE", name)
		r.args = []string{"init"}
		return append(rs, r)
	}
	var rs []refusal
	rs = add(rs, refusal{name: "no CONNECT", code: 2, says: []string{"connecting to the source", "permission denied"}, try: "GRANT CONNECT"}, "REPLICATION")
	publish, unpublish := "CREATE PUBLICATION wal2vec_"+w.db.Name+" FOR TABLE "+product, "DROP PUBLICATION wal2vec_"+w.db.Name
	rs = add(rs, refusal{name: "no USAGE", before: publish, code: 2, says: []string{"ROLE", "schema staging_marts"}, try: "GRANT USAGE ON SCHEMA"}, "REPLICATION", create)
	rs = add(rs, refusal{name: "no SELECT", after: unpublish, code: 2, says: []string{"ROLE", "product_id", "dim_product"}, try: "set source.read_dsn"}, "REPLICATION", create, usage)
	// Whatever else it lacks, that is what is said first.
	member := `GRANT "owner_of_` + w.db.Name + `" TO "ROLE";`
	rs = add(rs, refusal{name: "not the owner", code: 2, says: []string{"ROLE", "owner_of_" + w.db.Name, "owns table"}, try: member}, "REPLICATION", create, usage, read)
	rs = add(rs, refusal{name: "nothing but CONNECT", code: 2, says: []string{"ROLE", "owner_of_" + w.db.Name, "owns table"}, try: "run wal2vec init as role"}, "REPLICATION", here) // nothing says what it is for
	w.db.Exec(t, "GRANT SELECT ON staging_marts.dim_product TO owner_of_"+w.db.Name)
	rs = add(rs, refusal{name: "no CREATE", code: 2, says: []string{"CREATE SCHEMA", "permission denied for database", w.db.Name}, try: "roles.sql"}, "REPLICATION", here, usage, read, owner)
	rs = add(rs, refusal{name: "no REPLICATION", code: 2, says: []string{"ROLE", "for replication", "permission denied"}, try: "REPLICATION;"}, "", create, usage, read, owner)
	rs = add(rs, refusal{
		name: "no CREATE in the view's schema", code: 2, says: []string{"analytics_features"}, try: "roles.sql",
		before: "CREATE SCHEMA analytics_features", after: "DROP SCHEMA analytics_features",
	}, "REPLICATION", create, usage, read, owner)
	rs = add(rs, refusal{
		name: "no pgvector", code: 2, says: []string{"CREATE EXTENSION vector"}, try: "CREATE EXTENSION vector SCHEMA public; -- once, in the sink, as a superuser",
		before: "DROP EXTENSION vector", after: "CREATE EXTENSION vector SCHEMA public",
	}, "REPLICATION", create, usage, read, owner)
	w.db.Exec(t, "ALTER TABLE staging_marts.dim_product OWNER TO owner_of_"+w.db.Name)
	for _, r := range rs {
		t.Run(r.name, func(t *testing.T) { w.refuses(t, r) })
	}
}
