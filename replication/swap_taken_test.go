package replication_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// TestNoSwapRoleIsTakenFromWhoMadeIt: a session that was opened as it outlasts every REVOKE, and so
// does a function that it left. It is handed nothing, nor told to be given anything.
func TestNoSwapRoleIsTakenFromWhoMadeIt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		adminName, admin := f.admin(t, "")
		db.Exec(t, "RESET ROLE; ALTER FUNCTION follow() OWNER TO "+adminName+"; ALTER PUBLICATION pub OWNER TO "+adminName)
		name, password := f.newRole(t, "CREATEROLE")
		maker := f.as(t, name, password)
		const swap = "swap_k"
		run := func(conn *pgx.Conn, statements ...string) {
			t.Helper()
			for _, statement := range statements {
				if _, err := conn.Exec(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
		}
		run(maker, "CREATE ROLE "+swap+" LOGIN PASSWORD 'known'")
		waits := f.as(t, swap, "known")
		run(maker, "ALTER ROLE "+swap+" NOLOGIN")
		f.swap.RunAs = swap
		refused := func(what string, conn *pgx.Conn) (try string) {
			t.Helper()
			statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
			try = fault.Try(err)
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "who made it could act as it") || slices.ContainsFunc(statements, func(s string) bool { return strings.Contains(s, swap) }) {
				t.Fatalf("%s: %q, %v", what, statements, err)
			}
			if strings.Contains(try, "REVOKE") || strings.Contains(try, `TO "`+swap+`"`) || !strings.Contains(try, `role "`+swap+`" is there already`) {
				t.Errorf("%s: advised: %s", what, try)
			}
			return try
		}
		super := db.Conn(t)
		refused("while its maker is a member", admin)
		db.Exec(t, "RESET ROLE; DROP ROLE "+name)
		refused("once its maker is gone", admin)
		refused("by a superuser", super)
		db.Exec(t, "GRANT CREATE ON SCHEMA public TO "+swap+"; ALTER FUNCTION follow() OWNER TO "+swap)
		refused("with a function that it made", admin)
		db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+adminName+"; GRANT mart_owner TO "+swap)
		refused("with the rights of the table's owner", admin)
		db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+swap)
		refused("with those and a function", admin)
		db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+adminName+"; REVOKE mart_owner FROM "+swap)
		if err := paste(t, super, refused("again", admin)); err != nil {
			t.Fatal(err)
		}
		if _, err := waits.Exec(t.Context(), "SET ROLE mart_owner"); fault.SQLSTATE(err) != "42501" {
			t.Errorf("who made the role has the rights of the table's owner: %v", err)
		}
		const made = "wal2vec_swap_follow"
		f.swap.RunAs = made
		if statements, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role}); err != nil {
			t.Errorf("what the advice made: %v (%s)", err, fault.Try(err))
		} else if err := f.swap.EnsureFunction(t.Context(), admin, statements); err != nil || f.runs(t) != [2]string{made, made} {
			t.Errorf("function and publication are of %v: %v", f.runs(t), err)
		}
		// It has the function by now.
		db.Exec(t, "ALTER ROLE "+made+" RESET ALL")
		if statements, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role}); err != nil || len(statements) > 0 {
			t.Errorf("%q, %v", statements, err)
		}
		f.swap.RunAs = "mart_owner" // the owner of the table has nothing to gain
		db.Exec(t, "GRANT CREATE ON DATABASE "+db.Name+" TO mart_owner")
		if _, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role}); err != nil {
			t.Errorf("%v (%s)", err, fault.Try(err))
		}
	})
}

// TestWhoHandsTheFunctionOverHasTheOwnersRights without the swap role, which else would have a
// member in the eyes of a stream.
func TestWhoHandsTheFunctionOverHasTheOwnersRights(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		adminName, admin := f.admin(t, "")
		const swap = "swap_between"
		db.Exec(t, "RESET ROLE; CREATE ROLE "+swap+"; "+marks(swap)+"; GRANT mart_owner TO "+swap+"; GRANT "+swap+" TO "+adminName+"; REVOKE mart_owner FROM "+adminName+
			"; GRANT CREATE ON DATABASE "+db.Name+" TO "+swap)
		f.swap.RunAs = swap
		_, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role})
		if fault.KindOf(err) != fault.Usage || !strings.HasPrefix(fault.Try(err), `GRANT "mart_owner" TO "`+adminName+`"; -- then: `) {
			t.Fatalf("%v (%s)", err, fault.Try(err))
		}
		db.Exec(t, fault.Try(err))
		statements, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role})
		if err == nil {
			err = f.swap.EnsureFunction(t.Context(), admin, statements)
		}
		if err != nil {
			t.Fatal(err)
		}
		stream := f.as(t, f.role, f.password)
		if rights, err := f.swap.Rights(t.Context(), stream); err != nil || !rights.May() {
			t.Errorf("%+v, %v", rights, err)
		}
		db.Exec(t, "REVOKE mart_owner FROM "+adminName)
		if rights, err := f.swap.Rights(t.Context(), stream); err != nil || rights.May() || !strings.Contains(rights.Refused, "has member") {
			t.Errorf("%+v, %v", rights, err)
		}
	})
}

// TestASwapRoleThatNoSuperuserMade is taken where the role that made it has the rights of the
// table's owner anyway: not every server gives a superuser.
func TestASwapRoleThatNoSuperuserMade(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		adminName, admin := f.admin(t, "REPLICATION")
		db.Exec(t, "RESET ROLE; ALTER FUNCTION follow() OWNER TO "+adminName+"; ALTER PUBLICATION pub OWNER TO "+adminName)
		_, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role})
		if !errors.Is(err, replication.ErrUnfitRole) {
			t.Fatal(err)
		}
		name, password := f.newRole(t, "CREATEROLE")
		db.Exec(t, "RESET ROLE; GRANT mart_owner TO "+name+" WITH ADMIN OPTION; GRANT CREATE ON DATABASE "+db.Name+" TO "+name+" WITH GRANT OPTION")
		advice := strings.Replace(fault.Try(err), `ALTER ROLE "wal2vec_swap_follow" SET lo_compat_privileges = off; `, "", 1)
		if err := paste(t, f.as(t, name, password), advice); err != nil {
			t.Fatalf("%s: %v", advice, err)
		}
		f.swap.RunAs = "wal2vec_swap_follow"
		if _, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role}); err != nil {
			t.Errorf("%v (%s)", err, fault.Try(err))
		}
		db.Exec(t, "REVOKE mart_owner FROM "+name+" CASCADE; GRANT mart_owner TO wal2vec_swap_follow")
		if _, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role}); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "who made it could act as it") {
			t.Errorf("made by a stranger: %v", err)
		}
	})
}

// TestAPlantedFunctionKeepsNoCaller: who may make functions beside the table could have made the
// pipeline's first, word for word, for any role to call.
func TestAPlantedFunctionKeepsNoCaller(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		admin, conn := f.admin(t, "")
		stranger, password := f.newRole(t, "")
		planter, _ := f.newRole(t, "")
		const swap = "swap_planted"
		db.Exec(t, "RESET ROLE; CREATE ROLE "+swap+"; "+marks(swap)+"; GRANT mart_owner TO "+swap+"; GRANT "+swap+" TO "+admin+"; GRANT CREATE ON DATABASE "+db.Name+" TO "+swap)
		db.Exec(t, "ALTER PUBLICATION pub OWNER TO "+admin+"; GRANT "+planter+" TO "+admin+"; GRANT CREATE ON SCHEMA public TO "+planter+"; GRANT EXECUTE ON FUNCTION follow() TO "+stranger)
		f.swap.RunAs = swap
		for _, c := range []struct{ owner, rights, says string }{
			{planter, "SELECT", "belongs to role"},
			{planter, "GRANT mart_owner TO " + planter, "belongs to role"},
			{"mart_owner", "SELECT", "no role is to call"}, // its owner may have let any role call it
		} {
			db.Exec(t, "ALTER FUNCTION follow() OWNER TO "+c.owner+"; "+c.rights)
			statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, nil)
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) || len(statements) > 0 {
				t.Errorf("of %s: %q, %v", c.owner, statements, err)
			}
		}
		statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
		if err == nil {
			err = f.swap.EnsureFunction(t.Context(), conn, statements)
		}
		if err != nil || f.runs(t) != [2]string{swap, swap} {
			t.Errorf("function and publication are of %v: %v (%s)", f.runs(t), err, fault.Try(err))
		}
		if _, err := f.as(t, stranger, password).Exec(t.Context(), f.call); fault.SQLSTATE(err) != "42501" {
			t.Errorf("a stranger may call it: %v", err)
		}
		// From here on its callers are those that init named.
		if statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, nil); err != nil || len(statements) > 0 {
			t.Errorf("%q, %v", statements, err)
		}
	})
}

// TestAPlantedFunctionGetsNoPublication: any role can make the one that sets pipelines up a member
// of itself.
func TestAPlantedFunctionGetsNoPublication(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		admin, conn := f.admin(t, "")
		planter, _ := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; ALTER PUBLICATION pub OWNER TO "+admin+"; GRANT "+planter+" TO "+admin+"; GRANT CREATE ON SCHEMA public TO "+planter+
			"; GRANT CREATE ON DATABASE "+db.Name+" TO "+planter+"; ALTER FUNCTION follow() OWNER TO "+planter)
		for _, rights := range []string{"SELECT", "GRANT mart_owner TO " + planter} {
			db.Exec(t, rights)
			for _, roles := range [][]string{nil, {f.role}} {
				if statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, roles); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "belongs to role") || len(statements) > 0 {
					t.Errorf("%s: %q, %v", rights, statements, err)
				}
			}
		}
		// Nor does a stream call it, once it has the publication.
		db.Exec(t, "ALTER PUBLICATION pub OWNER TO "+planter)
		if rights, err := f.swap.Rights(t.Context(), f.as(t, f.role, f.password)); err != nil || rights.May() || !strings.Contains(rights.Refused, "may log in") {
			t.Errorf("%+v, %v", rights, err)
		}
		db.Exec(t, "REVOKE mart_owner FROM "+planter+"; ALTER ROLE "+planter+" NOLOGIN; REVOKE "+planter+" FROM "+admin)
		if rights, err := f.swap.Rights(t.Context(), f.as(t, f.role, f.password)); err != nil || rights.May() || !strings.Contains(rights.Refused, "does not have the rights") {
			t.Errorf("%+v, %v", rights, err)
		}
	})
}

// TestTheFunctionOfAnotherOwnersPipelineIsNotDropped by the advice, nor anything of a role that
// serves two: a role of its own comes first.
func TestTheFunctionOfAnotherOwnersPipelineIsNotDropped(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		swap, admin := f.swapping(t)
		db.Exec(t, "RESET ROLE; CREATE ROLE own_b; CREATE SCHEMA sb AUTHORIZATION own_b; CREATE TABLE sb.item (); ALTER TABLE sb.item OWNER TO own_b")
		f.planted(t, swap, "item_old", "pub", f.role)
		replaced := "pg_get_functiondef('public.wal2vec_follow_x()'::regprocedure)"
		for _, pair := range [][2]string{{"public.wal2vec_follow_x()", "sb.wal2vec_follow_x()"}, {`"public"`, `"sb"`}, {"'public'", "'sb'"}} {
			replaced = "replace(" + replaced + ", $p$" + pair[0] + "$p$, $p$" + pair[1] + "$p$)"
		}
		db.Exec(t, "DO $do$ BEGIN EXECUTE "+replaced+"; END $do$; DROP FUNCTION public.wal2vec_follow_x()")
		db.Exec(t, "REVOKE ALL ON FUNCTION sb.wal2vec_follow_x() FROM PUBLIC; GRANT ALL ON SCHEMA sb TO "+swap+"; ALTER FUNCTION sb.wal2vec_follow_x() OWNER TO "+swap)
		refused := func(does, says string) {
			t.Helper()
			db.Exec(t, does)
			_, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role})
			if !errors.Is(err, replication.ErrUnfitRole) || !strings.Contains(err.Error(), says) || !strings.HasPrefix(fault.Try(err), "BEGIN; CREATE ROLE ") || strings.Contains(fault.Try(err), "DROP") {
				t.Errorf("%s: %v (%s)", does, err, fault.Try(err))
			}
			if r, err := f.swap.Role(t.Context(), admin); err != nil || len(r.Drop) > 0 {
				t.Errorf("%s: advised: %q, %v", does, r.Drop, err)
			}
		}
		refused("SELECT", "owns function sb.wal2vec_follow_x(), of a pipeline of another owner")
		refused("GRANT own_b TO "+swap, "is a member of own_b, owns function sb.wal2vec_follow_x()")
		refused("DROP FUNCTION sb.wal2vec_follow_x(); CREATE TABLE its (); ALTER TABLE its OWNER TO "+swap, "is a member of own_b, owns table public.its")
	})
}

// TestAMembershipThatAnotherRoleGaveHindersNothing: who may grant a role may grant it to the
// table's owner as well. It is told of, with what ends it.
func TestAMembershipThatAnotherRoleGaveHindersNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		swap, admin := f.swapping(t)
		name, password := f.newRole(t, "CREATEROLE")
		db.Exec(t, "RESET ROLE; CREATE ROLE "+name+"_s; GRANT pg_read_all_data TO "+name+" WITH ADMIN OPTION")
		facts := func() replication.SwapRole {
			t.Helper()
			r, err := f.swap.Role(t.Context(), admin)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		maker := f.as(t, name, password)
		for _, statement := range []string{
			"SET createrole_self_grant = 'set, inherit'", "CREATE ROLE " + name + "_c CREATEROLE", "SET ROLE " + name + "_c", "CREATE TEMPORARY TABLE its ()",
			"CREATE ROLE " + name + "_d", "RESET ROLE", "GRANT " + name + "_c TO " + swap,
		} {
			if _, err := maker.Exec(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
		r := facts()
		back := "REVOKE " + name + "_c FROM " + swap + " GRANTED BY " + name + " CASCADE"
		if len(r.Beyond) > 0 || len(r.Leave) > 0 || !slices.Equal(r.Given, []string{"role " + name + "_c"}) || !slices.Equal(r.Back, []string{back}) {
			t.Errorf("%+v", r)
		}
		if statements, err := replication.SwapFunctionSQL(t.Context(), admin, f.swap, []string{f.role}); err != nil || len(statements) > 0 {
			t.Errorf("%q, %v", statements, err)
		}
		if _, err := replication.PrepareSwap(t.Context(), db.DSNFor(f.role, f.password), f.swap); err != nil || !f.published(t) {
			t.Errorf("%v (%s)", err, fault.Try(err))
		}
		db.Exec(t, back)
		if r := facts(); len(r.Given) > 0 {
			t.Errorf("after %s: %+v", back, r)
		}
		// What a superuser gave, or what leads to a role of the server, is more than the owner of
		// the table could have been given by one that made a role.
		db.Exec(t, "GRANT "+name+"_s TO "+swap)
		if r := facts(); !slices.Equal(r.Beyond, []string{"is a member of " + name + "_s"}) || len(r.Leave) != 1 || len(r.Given) > 0 {
			t.Errorf("%+v", r)
		}
		db.Exec(t, "REVOKE "+name+"_s FROM "+swap)
		for _, grant := range []string{"GRANT pg_read_all_data TO " + swap, "GRANT pg_read_all_data TO " + name + "_c; GRANT " + name + "_c TO " + swap} {
			if _, err := maker.Exec(t.Context(), grant); err != nil {
				t.Fatal(err)
			}
			r := facts()
			if !slices.Contains(r.Beyond, "is a member of pg_read_all_data") || len(r.Leave) != 1 {
				t.Fatalf("%s: %+v", grant, r)
			}
			db.Exec(t, r.Leave[0])
			if r := facts(); len(r.Beyond) > 0 {
				t.Errorf("after %s: %+v", r.Leave, r)
			}
		}
		db.Exec(t, "DROP ROLE "+name+"_s, "+name+"_d")
	})
}

// TestAFunctionOfARoleThatThisWasMadeAMemberOfIsNotOurs: any role may make this one a member of
// itself.
func TestAFunctionOfARoleThatThisWasMadeAMemberOfIsNotOurs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		f.grant(t, f.role)
		admin, password := f.newRole(t, "")
		other, _ := f.newRole(t, "")
		db.Exec(t, "RESET ROLE; GRANT mart_owner, "+other+" TO "+admin+"; GRANT USAGE, CREATE ON SCHEMA public TO "+other+"; ALTER FUNCTION follow() OWNER TO "+other)
		conn := f.as(t, admin, password)
		for _, c := range []struct{ rights, advises string }{
			{"SELECT", "give this pipeline another name"},
			{"GRANT mart_owner TO " + other, "wal2vec init --swap-role=" + other + " "}, // as a swap role has it
		} {
			db.Exec(t, c.rights)
			statements, err := replication.SwapFunctionSQL(t.Context(), conn, f.swap, []string{f.role})
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "belongs to role") || len(statements) > 0 || !strings.Contains(fault.Try(err), c.advises) {
				t.Errorf("%q, %v (%s)", statements, err, fault.Try(err))
			}
		}
	})
}
