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
		"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "+streamer.name)
	planned, err := b.sink.Plan(t.Context(), productPipeline(), generation(dimension))
	b.ok(err)
	if n := len(slices.DeleteFunc(planned, func(s string) bool { return !strings.HasPrefix(s, "REVOKE ALL ON ") })); n < 11 {
		t.Errorf("init prints %d statements that close what it makes", n)
	}
	b.init(productPipeline(), generation(dimension))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer.name, Access: sink.Write}))
	_, _, err = b.sink.BuildGeneration(t.Context(), second())
	b.ok(err)
	open := pgtest.Column[string](t, b.db, `SELECT c.relname || ': ' || x.grantee::regrole || ' ' || x.privilege_type FROM pg_class AS c, aclexplode(c.relacl) AS x
		WHERE c.relnamespace = 'wal2vec'::regnamespace AND c.relkind IN ('r', 'p') AND x.grantee <> c.relowner AND x.grantee <> $1::regrole
		UNION ALL SELECT 'schema: ' || x.grantee::regrole FROM pg_namespace AS n, aclexplode(n.nspacl) AS x
		WHERE n.nspname = 'wal2vec' AND x.grantee <> n.nspowner AND x.grantee <> $1::regrole`, streamer.name)
	if len(open) != 0 {
		t.Errorf("open: %q", open)
	}
	stream, err := b.trusting(admin.name, streamer.name, streamer.password).Takeover(t.Context(), "stream", b.version().Epoch)
	b.ok(err)
	b.ok(stream.ReportPending(t.Context(), b.state().ReportedAt))
}
