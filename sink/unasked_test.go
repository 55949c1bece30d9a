package sink_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// TestDefaultPrivilegesOpenNoTable: a stranger who once knew the password of the role that runs init may have set them.
func TestDefaultPrivilegesOpenNoTable(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	b.key = productPipeline().Table.Key
	admin, stranger, streamer := b.maker(), b.account(""), b.account("")
	b.sink = b.as(admin.name, admin.password)
	b.plant(admin, "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO "+stranger.name+", PUBLIC", "ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO "+stranger.name+", PUBLIC",
		"ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO "+stranger.name+", PUBLIC", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "+streamer.name)
	planned, err := b.sink.Plan(t.Context(), productPipeline(), generation(dimension))
	b.ok(err)
	if n := len(slices.DeleteFunc(planned, func(s string) bool { return !strings.HasPrefix(s, "REVOKE ALL ON ") })); n < 11 {
		t.Errorf("init prints %d statements that close what it makes", n)
	}
	b.init(productPipeline(), generation(dimension))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer.name, Access: sink.Write}))
	_, _, err = b.sink.BuildGeneration(t.Context(), second())
	b.ok(err)
	open := func(after string) {
		t.Helper()
		rights := pgtest.Column[string](t, b.db, `SELECT concat(c.relkind, ' ', c.relname, ': ', x.grantee::regrole, ' ', x.privilege_type) FROM pg_class AS c, aclexplode(c.relacl) AS x
			WHERE c.relnamespace IN ('wal2vec'::regnamespace, 'analytics_features'::regnamespace) AND x.grantee NOT IN (c.relowner, $1::regrole)
			UNION ALL SELECT concat('schema ', n.nspname, ': ', x.grantee::regrole) FROM pg_namespace AS n, aclexplode(n.nspacl) AS x
			WHERE n.nspname IN ('wal2vec', 'analytics_features') AND x.grantee NOT IN (n.nspowner, $1::regrole)`, streamer.name)
		if len(rights) != 0 {
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
