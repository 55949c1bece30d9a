package sink_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// account is a role that can log in.
type account struct{ name, password string }

func (b *bench) account(attributes string) account {
	name, password := b.db.Role(b.tb, attributes)
	return account{name, password}
}

// maker is a role that may make schemas: one that runs init, or one that is up to something.
func (b *bench) maker() account {
	a := b.account("")
	b.db.Exec(b.tb, "GRANT CREATE ON DATABASE "+b.db.Name+" TO "+a.name)
	return a
}

// trap makes a function that notes as whom it runs. It is made for who plants it.
func (b *bench) trap() {
	b.tb.Helper()
	b.db.Exec(b.tb, `CREATE SCHEMA trap; CREATE TABLE trap.loot (who text); GRANT USAGE ON SCHEMA trap TO PUBLIC; GRANT INSERT ON trap.loot TO PUBLIC;
		CREATE FUNCTION trap.spring() RETURNS boolean LANGUAGE sql AS 'INSERT INTO trap.loot VALUES (current_user); SELECT true'`)
}

// loot are those as whom the planted function ran.
func (b *bench) loot() []string {
	b.tb.Helper()
	return pgtest.Column[string](b.tb, b.db, "SELECT DISTINCT who FROM trap.loot ORDER BY who")
}

// plant runs statements as a role.
func (b *bench) plant(a account, statements ...string) {
	b.tb.Helper()
	conn := b.conn(a.name, a.password)
	for _, statement := range statements {
		_, err := conn.Exec(b.tb.Context(), statement)
		b.ok(err)
	}
}

// everyCommand is what commands do to a sink, each once, from the first statement on.
func everyCommand(ctx context.Context, s *sink.Sink) map[string]error {
	errs := make(map[string]error)
	note := func(name string, err error) { errs[name] = err }
	note("init", s.Migrate(ctx))
	_, err := s.Plan(ctx, productPipeline(), generation(dimension))
	note("init --print-sql", err)
	_, _, err = s.Registered(ctx)
	note("registered", err)
	note("register", s.Register(ctx, productPipeline()))
	_, err = s.EnsureGeneration(ctx, generation(dimension))
	note("generation", err)
	_, err = s.Regranted(ctx)
	note("regranted", err)
	note("grant", s.Grant(ctx, sink.Grant{Role: "pg_monitor", Access: sink.Read}))
	note("teardown", s.Teardown(ctx))
	note("teardown, rehearsed", s.RehearseTeardown(ctx))
	_, err = s.Roles(ctx)
	note("roles", err)
	_, err = s.State(ctx)
	note("state", err)
	note("schema", s.CheckSchema(ctx))
	_, err = s.Takeover(ctx, "stream", 1)
	note("stream", err)
	_, err = s.OpenJob(ctx, everything)
	note("backfill", err)
	_, err = s.NewSearcher().Search(ctx, sink.Query{Vector: make([]float32, dimension), K: 1})
	note("search", err)
	_, err = s.Counts(ctx)
	note("counts", err)
	_, err = s.DeadLetters(ctx, 0)
	note("dead-letter list", err)
	_, err = s.DropAllDeadLetters(ctx)
	note("dead-letter drop", err)
	_, err = s.Generations(ctx)
	note("generation list", err)
	_, _, err = s.BuildGeneration(ctx, second())
	note("generation build", err)
	_, err = s.Activate(ctx, sink.Activation{ID: 1})
	note("generation activate", err)
	_, err = s.Retire(ctx, 1)
	note("generation retire", err)
	note("index", s.BuildIndex(ctx, sink.Generation{ID: 1, Table: "vectors_product_1", Dimension: dimension, Storage: sink.Vector}, nil))
	_, err = s.OpenAudit(ctx, 0)
	note("audit", err)
	_, err = s.CollectTombstones(ctx)
	note("tombstones", err)
	return errs
}

// refusedAs runs every command as a role, and wants each to be refused by the name of who could run
// code, and nothing to have run.
func (b *bench) refusedAs(s *sink.Sink, says ...string) {
	b.tb.Helper()
	for name, err := range everyCommand(b.tb.Context(), s) {
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Kind != fault.Usage || e.Try == "" {
			b.tb.Errorf("%s: %v", name, err)
			continue
		}
		for _, part := range says {
			if !strings.Contains(err.Error(), part) {
				b.tb.Errorf("%s does not say %q: %v", name, part, err)
			}
		}
	}
	if loot := b.loot(); len(loot) != 0 {
		b.tb.Errorf("the planted function ran as %q", loot)
	}
}

// TestASchemaThatAnotherRolePlantedIsNotRead: who was the first to make a schema of wal2vec's name
// put a view where a table belongs.
func TestASchemaThatAnotherRolePlantedIsNotRead(t *testing.T) {
	t.Parallel()
	planters := map[string]func(b *bench, planter account){
		"a view alone": func(b *bench, planter account) {
			b.plant(planter, "CREATE SCHEMA wal2vec; GRANT USAGE ON SCHEMA wal2vec TO PUBLIC; "+
				"CREATE VIEW wal2vec.schema_version AS SELECT 1 AS version, 'x' AS name WHERE trap.spring(); GRANT SELECT ON wal2vec.schema_version TO PUBLIC")
		},
		"real tables and then a view": func(b *bench, planter account) {
			mine := b.sink
			b.sink = b.as(planter.name, planter.password)
			b.init(productPipeline(), generation(dimension))
			b.sink = mine
			b.plant(planter, "GRANT USAGE ON SCHEMA wal2vec TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA wal2vec TO PUBLIC",
				"ALTER TABLE wal2vec.schema_version RENAME TO versions; "+
					"CREATE VIEW wal2vec.schema_version AS SELECT * FROM wal2vec.versions WHERE trap.spring(); GRANT ALL ON wal2vec.schema_version TO PUBLIC")
		},
		"real tables with a policy": func(b *bench, planter account) {
			mine := b.sink
			b.sink = b.as(planter.name, planter.password)
			b.init(productPipeline(), generation(dimension))
			b.sink = mine
			b.plant(planter, "GRANT USAGE ON SCHEMA wal2vec TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA wal2vec TO PUBLIC",
				"ALTER TABLE wal2vec.schema_version ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON wal2vec.schema_version USING (trap.spring())")
		},
		// A member of the planter, and a superuser, acts as the planter from the start, until a
		// function of the planter takes that back.
		"a table with a policy, and a role that the database sets": func(b *bench, planter account) {
			b.db.Exec(b.tb, "ALTER DATABASE "+b.db.Name+" OWNER TO "+planter.name)
			b.tb.Cleanup(func() { b.db.Exec(b.tb, "ALTER DATABASE "+b.db.Name+" OWNER TO CURRENT_USER") })
			b.plant(planter, "CREATE SCHEMA wal2vec; GRANT USAGE ON SCHEMA wal2vec TO PUBLIC; CREATE TABLE wal2vec.schema_version (version integer, name text); "+
				"GRANT ALL ON wal2vec.schema_version TO PUBLIC; INSERT INTO wal2vec.schema_version VALUES (1, 'x'); "+
				"ALTER TABLE wal2vec.schema_version ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON wal2vec.schema_version USING (trap.spring())",
				"ALTER DATABASE "+b.db.Name+" SET role = "+planter.name)
		},
	}
	for name, plant := range planters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := prepare(t)
			planter, admin, streamer := b.maker(), b.maker(), b.account("")
			b.db.Exec(t, "GRANT "+planter.name+" TO "+admin.name) // whose rights it has is not who may have its own
			b.trap()
			plant(b, planter)
			b.refusedAs(b.as(admin.name, admin.password), planter.name, admin.name)
			b.refusedAs(b.as(streamer.name, streamer.password), planter.name, streamer.name)
			b.refusedAs(b.trusting(admin.name, streamer.name, streamer.password), planter.name, streamer.name)
			b.refusedAs(b.sink, planter.name) // a superuser
			b.refusedAs(sink.New(sink.Options{Pool: b.db.Pool(t), Pipeline: "product", View: viewName}), planter.name)
			// What was planted works: who reads it runs it.
			b.plant(streamer, "SELECT max(version) FROM wal2vec.schema_version")
			if loot := b.loot(); fmt.Sprint(loot) != "["+streamer.name+"]" {
				t.Errorf("the planted function ran as %q", loot)
			}
		})
	}
}

// TestASchemaOfAnotherRoleIsNotUsed: its owner may drop what is in it, no matter which role made
// that, and put something else there.
func TestASchemaOfAnotherRoleIsNotUsed(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	planter, admin, streamer := b.maker(), b.maker(), b.account("")
	b.trap()
	b.plant(planter, "CREATE SCHEMA wal2vec; GRANT USAGE, CREATE ON SCHEMA wal2vec TO "+admin.name)
	b.refusedAs(b.as(admin.name, admin.password), planter.name, "schema")
	if n := pgtest.One[int](t, b.db, "SELECT count(*)::int FROM pg_class WHERE relnamespace = 'wal2vec'::regnamespace"); n != 0 {
		t.Errorf("init made %d relations there", n)
	}

	// As the advice has it; then as an older version left it.
	b.db.Exec(t, "ALTER SCHEMA wal2vec OWNER TO "+admin.name)
	b.sink = b.as(admin.name, admin.password)
	b.init(productPipeline(), generation(dimension))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer.name, Access: sink.Write}))
	trusting := b.trusting(admin.name, streamer.name, streamer.password)
	b.ok(trusting.CheckSchema(t.Context()))
	b.db.Exec(t, "ALTER SCHEMA wal2vec OWNER TO "+planter.name)
	b.plant(planter, "DROP TABLE wal2vec.schema_version", "CREATE VIEW wal2vec.schema_version AS SELECT 1 AS version, 'x' AS name WHERE trap.spring()",
		"GRANT USAGE ON SCHEMA wal2vec TO PUBLIC", "GRANT SELECT ON wal2vec.schema_version TO PUBLIC")
	b.refusedAs(b.sink, planter.name, admin.name)
	b.refusedAs(trusting, planter.name, streamer.name)
	if _, err := trusting.Trusted(t.Context()); strings.Contains(fault.Try(err), streamer.name) {
		t.Errorf("the schema is not for a role that streams: try %s", fault.Try(err))
	}
	// A schema that was given back still has a view in it.
	b.db.Exec(t, "ALTER SCHEMA wal2vec OWNER TO "+admin.name)
	b.refusedAs(b.sink, planter.name, "schema_version")
	b.refusedAs(trusting, planter.name, "schema_version")
	b.db.Exec(t, "ALTER VIEW wal2vec.schema_version OWNER TO "+admin.name)
	b.refusedAs(b.sink, "not a table", "schema_version")
}

// TestEachTableThatIsReadIsLookedAt, and tables of other pipelines are none of this one's.
func TestEachTableThatIsReadIsLookedAt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.account("")
	b.db.Exec(t, "GRANT USAGE, CREATE ON SCHEMA wal2vec TO "+other.name)
	for _, table := range []string{
		"schema_version", "pipeline", "generation", "stream_state", "backfill", "shape", "ledger_product", "dead_letter_product", "vectors_product_1",
	} {
		b.db.Exec(t, "ALTER TABLE wal2vec."+table+" OWNER TO "+other.name)
		_, err := b.sink.State(t.Context())
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), other.name) || !strings.Contains(err.Error(), table) {
			t.Errorf("%s of another role: %v", table, err)
		}
		b.db.Exec(t, "ALTER TABLE wal2vec."+table+" OWNER TO CURRENT_USER")
		b.state()
	}
	b.plant(other, "CREATE TABLE wal2vec.ledger_productive (i integer)", "CREATE VIEW wal2vec.vectors_product_a_1 AS SELECT 1 AS i", "CREATE TABLE wal2vec.mine (i integer)")
	b.state()
	b.plant(other, "CREATE VIEW wal2vec.vectors_product_27 AS SELECT 1 AS i")
	_, err := b.sink.State(t.Context())
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "vectors_product_27") {
		t.Errorf("a view among the vectors: %v", err)
	}
}

// TestWhatHangsOnATableIsLookedAt: a trigger stays where the right to make one is taken back, and
// runs as who writes.
func TestWhatHangsOnATableIsLookedAt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.account("")
	b.db.Exec(t, "CREATE SCHEMA theirs AUTHORIZATION "+other.name+"; CREATE SCHEMA ours; GRANT USAGE ON SCHEMA theirs, ours TO PUBLIC; "+
		"CREATE FUNCTION ours.tg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "+
		"GRANT USAGE ON SCHEMA wal2vec TO "+other.name+"; GRANT TRIGGER, REFERENCES ON ALL TABLES IN SCHEMA wal2vec TO "+other.name)
	b.plant(other, "CREATE FUNCTION theirs.tg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
		"CREATE FUNCTION theirs.yes() RETURNS boolean LANGUAGE sql AS 'SELECT true'")
	for _, c := range []struct{ does, undo, says string }{
		{"CREATE TRIGGER z BEFORE UPDATE ON wal2vec.ledger_product FOR EACH ROW EXECUTE FUNCTION theirs.tg()", "DROP TRIGGER z ON wal2vec.ledger_product", "trigger z that wal2vec init does not write"},
		{"CREATE TRIGGER z AFTER INSERT ON wal2vec.vectors_product_1 FOR EACH STATEMENT EXECUTE FUNCTION theirs.tg()", "DROP TRIGGER z ON wal2vec.vectors_product_1", "trigger z"},
		{"CREATE TRIGGER z BEFORE UPDATE ON wal2vec.pipeline FOR EACH ROW EXECUTE FUNCTION ours.tg('of', 'theirs')", "DROP TRIGGER z ON wal2vec.pipeline", "trigger z"},
		{"CREATE TRIGGER z BEFORE UPDATE ON wal2vec.pipeline FOR EACH ROW WHEN (theirs.yes()) EXECUTE FUNCTION ours.tg()", "DROP TRIGGER z ON wal2vec.pipeline", "trigger z"},
		{"CREATE TRIGGER z BEFORE UPDATE ON wal2vec.pipeline FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "DROP TRIGGER z ON wal2vec.pipeline", "trigger z"},
		{"CREATE TABLE theirs.cascades (name text REFERENCES wal2vec.pipeline (name) ON UPDATE CASCADE ON DELETE CASCADE)", "DROP TABLE theirs.cascades", "foreign key of cascades"},
	} {
		b.plant(other, c.does)
		b.db.Exec(t, "REVOKE TRIGGER, REFERENCES ON ALL TABLES IN SCHEMA wal2vec FROM "+other.name)
		_, err := b.sink.State(t.Context())
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.does, err)
		}
		b.db.Exec(t, c.undo)
		b.state()
		b.db.Exec(t, "GRANT TRIGGER, REFERENCES ON ALL TABLES IN SCHEMA wal2vec TO "+other.name)
	}
	b.db.Exec(t, "REVOKE TRIGGER, REFERENCES ON ALL TABLES IN SCHEMA wal2vec FROM "+other.name)
	// The function of the tables' owner: it may have been another role's until a REASSIGN OWNED.
	b.db.Exec(t, "CREATE TRIGGER z BEFORE UPDATE ON wal2vec.pipeline FOR EACH ROW EXECUTE FUNCTION ours.tg()")
	if _, err := b.sink.State(t.Context()); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "trigger z that wal2vec init does not write") {
		t.Errorf("a trigger of the tables' owner: %v", err)
	}
}

// TestATriggerThatWasGivenAwayWithItsFunctionIsRefused: REASSIGN OWNED makes a stranger's function
// the admin's, and the trigger stays on the admin's table.
func TestATriggerThatWasGivenAwayWithItsFunctionIsRefused(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	admin, stranger, streamer := b.maker(), b.maker(), b.account("")
	b.sink = b.as(admin.name, admin.password)
	b.init(productPipeline(), generation(dimension))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer.name, Access: sink.Write}))
	b.trap()
	b.plant(admin, "GRANT TRIGGER ON ALL TABLES IN SCHEMA wal2vec TO "+stranger.name+"; GRANT USAGE ON SCHEMA wal2vec TO "+stranger.name)
	b.plant(stranger, "CREATE SCHEMA theirs; GRANT USAGE ON SCHEMA theirs TO PUBLIC; "+
		"CREATE FUNCTION theirs.takes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM trap.spring(); RETURN NEW; END'; "+
		"CREATE TRIGGER takes BEFORE INSERT OR UPDATE ON wal2vec.pipeline FOR EACH ROW EXECUTE FUNCTION theirs.takes(); "+
		"CREATE CONSTRAINT TRIGGER takes AFTER INSERT ON wal2vec.ledger_product DEFERRABLE FOR EACH ROW EXECUTE FUNCTION theirs.takes()")
	b.plant(admin, "REVOKE TRIGGER ON ALL TABLES IN SCHEMA wal2vec FROM "+stranger.name)
	b.db.Exec(t, "REASSIGN OWNED BY "+stranger.name+" TO "+admin.name)
	for _, drop := range []string{"DROP TRIGGER takes ON wal2vec.pipeline", "DROP TRIGGER takes ON wal2vec.ledger_product"} {
		b.refusedAs(b.sink, "trigger takes that wal2vec init does not write")
		b.refusedAs(b.trusting(admin.name, streamer.name, streamer.password), "trigger takes that wal2vec init does not write")
		b.plant(admin, drop)
	}
	b.state()
}

// TestARightToMakeATriggerIsLookedAt: a stream lives for weeks, and who has it needs a moment.
func TestARightToMakeATriggerIsLookedAt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.account("")
	for _, grantee := range []string{other.name, "PUBLIC"} {
		for _, right := range []string{
			"TRIGGER ON wal2vec.ledger_product", "REFERENCES ON wal2vec.pipeline", "TRIGGER ON wal2vec.vectors_product_1", "REFERENCES (name) ON wal2vec.pipeline",
			"ALL ON ALL TABLES IN SCHEMA wal2vec",
		} {
			b.db.Exec(t, "GRANT "+right+" TO "+grantee)
			_, err := b.sink.State(t.Context())
			untrusted, is := errors.AsType[*sink.UntrustedError](err)
			if !is || fault.KindOf(err) != fault.Usage || !strings.Contains(untrusted.Error(), " has the right ") || !strings.Contains(untrusted.Error(), grantee) {
				t.Fatalf("%s to %s: %v", right, grantee, err)
			}
			if err := b.sink.Migrate(t.Context()); fault.Try(err) != fault.Try(untrusted) {
				t.Errorf("init, with %s to %s: %v", right, grantee, err)
			}
			b.db.Exec(t, fault.Try(err))
			b.state()
		}
		b.db.Exec(t, "REVOKE ALL ON ALL TABLES IN SCHEMA wal2vec FROM "+grantee)
	}
	// One that another role gave, where that one is trusted.
	giver := b.account("")
	b.db.Exec(t, "GRANT USAGE ON SCHEMA wal2vec TO "+giver.name+"; GRANT TRIGGER ON wal2vec.ledger_product TO "+giver.name+" WITH GRANT OPTION; SET ROLE "+giver.name+
		"; GRANT TRIGGER ON wal2vec.ledger_product TO "+other.name+"; RESET ROLE")
	trusting := sink.New(sink.Options{Pool: b.pool, Pipeline: "product", Owner: giver.name, View: viewName, Logger: zerolog.Nop()})
	_, err := trusting.Trusted(t.Context())
	b.wantKind(err, fault.Usage)
	b.db.Exec(t, fault.Try(err))
	if _, again := trusting.Trusted(t.Context()); again != nil {
		t.Errorf("after %s: %v", fault.Try(err), again)
	}
	b.db.Exec(t, "REVOKE ALL ON wal2vec.ledger_product FROM "+giver.name+" CASCADE")
	// Tables of other pipelines are none of this one's, and a superuser, who is trusted, may have
	// all.
	b.db.Exec(t, "CREATE TABLE wal2vec.ledger_other (id integer); GRANT ALL ON wal2vec.ledger_other TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA wal2vec TO CURRENT_USER")
	b.state()
}

// TestAViewOfAnotherRoleIsToldOf: this program reads no view, people do.
func TestAViewOfAnotherRoleIsToldOf(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ok(b.sink.CheckView(t.Context()))
	other, reader := b.account(""), b.account("")
	for what, repair := range map[string]string{"SCHEMA analytics_features": "give the view another name", "VIEW " + viewName: "DROP VIEW"} {
		b.db.Exec(t, "ALTER "+what+" OWNER TO "+other.name)
		err := b.sink.CheckView(t.Context())
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), other.name) || !strings.HasPrefix(fault.Try(err), repair) {
			t.Errorf("%s of another role: %v, try %q", what, err, fault.Try(err))
		}
		owner := pgtest.One[string](t, b.db, "SELECT current_user::text")
		if err := b.trusting(owner, reader.name, reader.password).CheckView(t.Context()); strings.Contains(fault.Try(err), reader.name) || fault.Try(err) == "" {
			t.Errorf("%s is not for a role that reads: try %q", what, fault.Try(err))
		}
		if strings.HasPrefix(what, "SCHEMA") {
			b.db.Exec(t, "ALTER "+what+" OWNER TO CURRENT_USER") // for the view: the advice leaves the schema to its owner
		} else {
			b.db.Exec(t, fault.Try(err))
		}
		b.init(productPipeline(), generation(dimension))
		b.ok(b.sink.CheckView(t.Context()))
	}
	b.db.Exec(t, "DROP SCHEMA analytics_features CASCADE")
	b.ok(b.sink.CheckView(t.Context()))
}

// TestAViewThatRunsOthersCodeIsMadeAgain: its functions run as who reads it, also after it was
// given to a role that is trusted.
func TestAViewThatRunsOthersCodeIsMadeAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.trap()
	planter := b.account("")
	b.db.Exec(t, "GRANT USAGE, CREATE ON SCHEMA analytics_features TO "+planter.name+"; GRANT USAGE ON SCHEMA wal2vec TO "+planter.name)
	plain := pgtest.One[string](t, b.db, "SELECT pg_get_viewdef($1::text::regclass)", viewName)
	for _, query := range []string{
		"SELECT product_id, embedding, CASE WHEN trap.spring() THEN now() END AS updated_at FROM wal2vec.vectors_product_1",
		"SELECT product_id, embedding, updated_at FROM wal2vec.vectors_product_1 WHERE trap.spring()",
		// By what is built in alone.
		"SELECT product_id, embedding, updated_at FROM wal2vec.vectors_product_1 WHERE query_to_xml('SELECT trap.spring()', true, false, '') IS NOT NULL",
		"SELECT length(updated_at::text)::bigint AS product_id, embedding, updated_at FROM wal2vec.vectors_product_1",
		"SELECT product_id, embedding, updated_at FROM wal2vec.vectors_product_1 ORDER BY random()",
	} {
		b.db.Exec(t, "DROP VIEW "+viewName)
		b.plant(planter, "CREATE VIEW "+viewName+" AS "+query)
		if err := b.sink.CheckView(t.Context()); fault.KindOf(err) != fault.Usage || !strings.HasPrefix(fault.Try(err), "DROP VIEW") {
			t.Errorf("%s: %v", query, err)
		}
		b.db.Exec(t, "ALTER VIEW "+viewName+" OWNER TO CURRENT_USER")
		if err := b.sink.CheckView(t.Context()); fault.KindOf(err) != fault.Usage || !strings.HasPrefix(fault.Try(err), "DROP VIEW") {
			t.Errorf("%s, given away: %v", query, err)
		}
		b.init(productPipeline(), generation(dimension))
		b.ok(b.sink.CheckView(t.Context()))
		if is := pgtest.One[string](t, b.db, "SELECT pg_get_viewdef($1::text::regclass)", viewName); is != plain {
			t.Errorf("%s became %s", query, is)
		}
	}
	// Who adds a column of its own is told, and keeps it.
	b.db.Exec(t, "CREATE OR REPLACE VIEW "+viewName+" AS SELECT product_id, embedding, updated_at, trap.spring() AS more FROM wal2vec.vectors_product_1")
	b.init(productPipeline(), generation(dimension))
	if err := b.sink.CheckView(t.Context()); fault.KindOf(err) != fault.Usage {
		t.Errorf("a column more: %v", err)
	}
}

// TestRowPoliciesFollowTheirSchema: another role makes a schema of the name that wal2vec's had.
func TestRowPoliciesFollowTheirSchema(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"wal2vec", `W2V "é" '%`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := prepare(t)
			open := func(schema, pipeline string) *sink.Sink {
				return sink.New(sink.Options{Pool: b.pool, Schema: schema, Pipeline: pipeline, View: "public.of_" + pipeline})
			}
			for _, pipeline := range []string{"product", "other"} {
				b.sink = open(name, pipeline)
				b.init(productPipeline(), generation(dimension))
			}
			streamer, streamerSecret := b.db.Role(t, "")
			b.ok(open(name, "product").Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Write}))
			planter := b.maker()
			quoted := pgtest.One[string](t, b.db, "SELECT quote_ident($1)", name)
			b.db.Exec(t, "ALTER SCHEMA "+quoted+" RENAME TO renamed")
			b.plant(planter, "CREATE SCHEMA "+quoted, "CREATE TABLE "+quoted+".ledger_other (i integer)",
				"GRANT USAGE ON SCHEMA "+quoted+" TO "+streamer, "GRANT ALL ON "+quoted+".ledger_other TO "+streamer)
			conn := b.conn(streamer, streamerSecret)
			b.untouched(conn, "SELECT FROM renamed.pipeline WHERE name = 'other'", "UPDATE renamed.pipeline SET watermark = watermark WHERE name = 'other'",
				"SELECT FROM renamed.generation WHERE pipeline = 'other'")
			if tag, err := conn.Exec(t.Context(), "UPDATE renamed.pipeline SET watermark = watermark"); err != nil || tag.RowsAffected() != 1 {
				t.Errorf("its own row: %s, %v", tag, err)
			}
			st, err := open("renamed", "product").State(t.Context())
			if err != nil || !st.Started() {
				t.Errorf("after the renaming %+v, %v", st, err)
			}
		})
	}
}

// TestATruncateOfALaterEpochIsNotBelieved: a stream's role could write one, and no chunk of a
// backfill was merged any more.
func TestATruncateOfALaterEpochIsNotBelieved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	streamer, secret := b.db.Role(t, "")
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Write}))
	conn := b.conn(streamer, secret)
	for _, hostile := range []string{
		"truncated_epoch = 9223372036854775807, truncated_at = '0/1'", "truncated_epoch = epoch + 1, truncated_at = '0/1'", "epoch = 9223372036854775807", "epoch = -1",
	} {
		if _, err := conn.Exec(t.Context(), "UPDATE wal2vec.pipeline SET "+hostile); fault.SQLSTATE(err) != "23514" {
			t.Errorf("%s: %v", hostile, err)
		}
	}
	// The latest that it may write keeps chunks out for as long as the epoch lasts.
	if _, err := conn.Exec(t.Context(), "UPDATE wal2vec.pipeline SET truncated_epoch = epoch, truncated_at = 'FFFFFFFF/FFFFFFFF'"); err != nil {
		t.Fatal(err)
	}
	_, err := b.chunk(b.job(everything), b.version(), upsert(1, 0, "one"))
	if !errors.Is(err, protocol.ErrChunkStale) {
		t.Errorf("before init --resync: %v", err)
	}
	b.start(true)
	if st := b.state(); st.Truncated.Epoch != 0 || st.Truncated.LSN != 0 {
		t.Errorf("truncated at %s", st.Truncated)
	}
	_, err = b.chunk(b.job(everything), b.version(), upsert(1, 0, "one"))
	b.ok(err)
}

// TestAViewInPublicGoesOn without CREATE there, which deploy/roles.sql takes back: what needs it
// says where the view belongs, and init moves it.
func TestAViewInPublicGoesOn(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	admin := b.maker()
	b.db.Exec(t, "GRANT CREATE ON SCHEMA public TO "+admin.name)
	pool, err := pgxpool.New(t.Context(), b.db.DSNFor(admin.name, admin.password))
	b.ok(err)
	t.Cleanup(pool.Close)
	in := func(view string) *sink.Sink {
		return sink.New(sink.Options{Pool: pool, Pipeline: "product", View: view, Logger: zerolog.Nop()})
	}
	s := in("public.shown")
	initialise := func(s *sink.Sink) error {
		if err := s.Migrate(t.Context()); err != nil {
			return err
		}
		if err := s.Register(t.Context(), productPipeline()); err != nil {
			return err
		}
		_, err := s.EnsureGeneration(t.Context(), generation(dimension))
		return err
	}
	b.ok(initialise(s))
	b.db.Exec(t, "REVOKE CREATE ON SCHEMA public FROM "+admin.name)
	b.ok(initialise(s))
	shown := func(view string) bool { return pgtest.One[bool](t, b.db, "SELECT to_regclass($1) IS NOT NULL", view) }
	if !shown("public.shown") {
		t.Error("the view is gone")
	}
	const try = "set sink.view to a name in a schema of its own"
	if err := initialise(in("public.another")); fault.KindOf(err) != fault.Usage || !strings.HasPrefix(fault.Try(err), try) {
		t.Errorf("another view there: %v (%s)", err, fault.Try(err))
	}
	b.sink = s
	b.start(false)
	built, _, err := s.BuildGeneration(t.Context(), second())
	b.ok(err)
	if _, err := s.Activate(t.Context(), sink.Activation{ID: built.ID, Force: true}); fault.KindOf(err) != fault.Usage || !strings.HasPrefix(fault.Try(err), try) {
		t.Errorf("another generation in the view: %v (%s)", err, fault.Try(err))
	}
	b.ok(initialise(in("features.shown")))
	if before, now := shown("public.shown"), shown("features.shown"); before || !now {
		t.Errorf("the view is in its schema of before: %t, in the new one: %t", before, now)
	}
}
