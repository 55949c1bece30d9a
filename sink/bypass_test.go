package sink_test

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sink"
)

// TestARoleThatPassesOverPoliciesGetsNoRightsAmongSeveralPipelines: it would have them on all. In a
// sink of one there is nothing else to have.
func TestARoleThatPassesOverPoliciesGetsNoRightsAmongSeveralPipelines(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role, _ := b.db.Role(t, "BYPASSRLS")
	member, _ := b.db.Role(t, "")
	plain, _ := b.db.Role(t, "")
	b.db.Exec(t, "GRANT "+role+" TO "+member)
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: role, Access: sink.Write}))
	if got, err := b.sink.Bypass(t.Context(), role); err != nil || got.Role != role || got.Others != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	second := newSink(b.pool, "second")
	b.ok(second.Register(t.Context(), productPipeline()))
	for _, access := range []sink.Access{sink.Write, sink.Read} {
		for who, try := range map[string]string{
			role:   "ALTER ROLE " + pgname.Identifier(role) + " NOBYPASSRLS;",
			member: "REVOKE " + pgname.Identifier(role) + " FROM " + pgname.Identifier(member) + ";",
		} {
			grant := sink.Grant{Role: who, Access: access}
			_, planned := b.sink.Plan(t.Context(), productPipeline(), generation(dimension), grant)
			for _, err := range []error{planned, b.sink.Grant(t.Context(), grant)} {
				b.wantKind(err, fault.Usage)
				if err != nil && (fault.Try(err) != try || !strings.Contains(err.Error(), "BYPASSRLS")) {
					t.Errorf("%v, try %q", err, fault.Try(err))
				}
			}
		}
		b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: plain, Access: access}))
	}
	// A membership is taken from where it was given: by another role, of a role that is itself a
	// member.
	middle, _ := b.db.Role(t, "")
	giver, _ := b.db.Role(t, "")
	third, _ := b.db.Role(t, "")
	b.db.Exec(t, "GRANT "+role+" TO "+middle+"; GRANT "+middle+" TO "+giver+" WITH ADMIN OPTION; SET ROLE "+giver+"; GRANT "+middle+" TO "+third+"; RESET ROLE")
	err := b.sink.Grant(t.Context(), sink.Grant{Role: third, Access: sink.Read})
	b.wantKind(err, fault.Usage)
	b.db.Exec(t, fault.Try(err))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: third, Access: sink.Read}))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: role, Access: sink.Nothing}))
	b.db.Exec(t, "ALTER ROLE "+role+" NOBYPASSRLS")
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: member, Access: sink.Write}))
}
