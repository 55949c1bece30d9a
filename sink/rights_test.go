package sink_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// conn is a session of a role.
func (b *bench) conn(role, password string) *pgx.Conn {
	b.tb.Helper()
	conn, err := pgx.Connect(b.tb.Context(), b.db.DSNFor(role, password))
	b.ok(err)
	b.tb.Cleanup(func() { _ = conn.Close(b.tb.Context()) })
	return conn
}

// denied tries statements that the server has to refuse for want of a right.
func (b *bench) denied(conn *pgx.Conn, statements ...string) {
	b.tb.Helper()
	for _, statement := range statements {
		tx, err := conn.Begin(b.tb.Context())
		b.ok(err)
		if _, err := tx.Exec(b.tb.Context(), statement); fault.SQLSTATE(err) != "42501" {
			b.tb.Errorf("%s: %v", statement, err)
		}
		b.ok(tx.Rollback(b.tb.Context()))
	}
}

// untouched tries statements that may run and must find no row.
func (b *bench) untouched(conn *pgx.Conn, statements ...string) {
	b.tb.Helper()
	for _, statement := range statements {
		if tag, err := conn.Exec(b.tb.Context(), statement); err != nil || tag.RowsAffected() != 0 {
			b.tb.Errorf("%s: %s, %v", statement, tag, err)
		}
	}
}

// beside makes a second pipeline, "other", in the same schema.
func (b *bench) beside() *bench {
	b.tb.Helper()
	other := &bench{tb: b.tb, db: b.db, pool: b.pool, key: b.key}
	other.sink = sink.New(sink.Options{Pool: b.pool, Pipeline: "other", View: "analytics_features.other_embeddings"})
	p := productPipeline()
	p.Slot, p.Publication, p.Table.Name = "wal2vec_other", "wal2vec_other", "dim_other"
	ctx := b.tb.Context()
	b.ok(other.sink.Register(ctx, p))
	_, err := other.sink.EnsureGeneration(ctx, generation(dimension))
	b.ok(err)
	b.ok(other.sink.Start(ctx, sink.Start{Slot: p.Slot, ConsistentPoint: firstLSN, SystemID: p.SystemID, Timeline: 1, SourceOID: 16385}))
	return other
}

// neverForAnyRole are statements that no role but the owner may run.
func (b *bench) neverForAnyRole() []string {
	b.tb.Helper()
	var never []string
	for _, table := range []string{"schema_version", "pipeline", "generation", "stream_state", "backfill", "shape", "dead_letter_other", "ledger_other"} {
		never = append(never, "LOCK TABLE wal2vec."+table+" IN SHARE MODE", "LOCK TABLE wal2vec."+table+" IN ACCESS EXCLUSIVE MODE")
	}
	return append(never,
		"DROP TABLE wal2vec.ledger_product", "ALTER TABLE wal2vec.ledger_product ADD COLUMN x integer", "DROP VIEW "+viewName,
		"CREATE OR REPLACE VIEW "+viewName+" AS SELECT 1 AS product_id", "CREATE TABLE wal2vec.mine (i integer)",
		"CREATE FUNCTION wal2vec.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "CREATE TABLE analytics_features.mine (i integer)",
		"DROP POLICY readers ON wal2vec.pipeline", "ALTER TABLE wal2vec.pipeline DISABLE ROW LEVEL SECURITY", "DROP SCHEMA wal2vec CASCADE",
		"CREATE TRIGGER t BEFORE UPDATE ON wal2vec.pipeline FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
		"INSERT INTO wal2vec.pipeline SELECT * FROM wal2vec.pipeline", "DELETE FROM wal2vec.pipeline", "TRUNCATE wal2vec.pipeline CASCADE",
		"DELETE FROM wal2vec.generation", "INSERT INTO wal2vec.generation SELECT * FROM wal2vec.generation",
		"UPDATE wal2vec.schema_version SET version = 99", "INSERT INTO wal2vec.schema_version VALUES (99, 'x')", "DELETE FROM wal2vec.schema_version",
		"INSERT INTO wal2vec.backfill (id, pipeline, mode, started_epoch, started_lsn) OVERRIDING SYSTEM VALUE VALUES (7, 'product', 'full', 1, '0/1')",
		"DELETE FROM wal2vec.backfill", "DELETE FROM wal2vec.stream_state", "DELETE FROM wal2vec.shape",
		"INSERT INTO wal2vec.dead_letter_other SELECT * FROM wal2vec.dead_letter_other", "DELETE FROM wal2vec.dead_letter_other",
		"SELECT FROM wal2vec.ledger_other", "SELECT FROM wal2vec.vectors_other_1", "SELECT FROM wal2vec.dead_letter_other",
		"SELECT FROM analytics_features.other_embeddings", "SET ROLE "+pgtest.One[string](b.tb, b.db, "SELECT quote_ident(current_user)"),
	)
}

// TestARoleActsForItsOwnPipelineAndInItsOwnWay opens a session as each role and tries everything
// that it may not do, beside a second pipeline.
func TestARoleActsForItsOwnPipelineAndInItsOwnWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.beside()
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	other.commit(other.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	streamer, streamerSecret := b.db.Role(t, "")
	reader, readerSecret := b.db.Role(t, "")
	stranger, strangerSecret := b.db.Role(t, "")
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Write}))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: reader, Access: sink.Read}))
	b.db.Exec(t, "INSERT INTO wal2vec.backfill (pipeline, mode, started_epoch, started_lsn) SELECT name, 'full', epoch, watermark FROM wal2vec.pipeline")

	never := b.neverForAnyRole()
	conn := b.conn(streamer, streamerSecret)
	b.denied(conn, never...)
	for _, column := range []string{"name", "publication", "source_schema", "source_table", "key_columns", "key_types", "generations", "view_schema", "view_name", "slot_name", "created_at"} {
		b.denied(conn, fmt.Sprintf("UPDATE wal2vec.pipeline SET %[1]s = %[1]s", column))
	}
	for _, column := range []string{"id", "fingerprint", "model", "source", "template", "dimension", "storage", "state", "vector_table", "hash_column", "precision"} {
		b.denied(conn, fmt.Sprintf("UPDATE wal2vec.generation SET %[1]s = %[1]s", column))
	}
	b.untouched(conn, "UPDATE wal2vec.pipeline SET watermark = '0/1' WHERE name = 'other'", "SELECT FROM wal2vec.pipeline WHERE name = 'other'",
		"UPDATE wal2vec.backfill SET open = false, outcome = 'swept' WHERE pipeline = 'other'", "UPDATE wal2vec.shape SET marks = '{}' WHERE pipeline = 'other'",
		"UPDATE wal2vec.stream_state SET reported_at = now() WHERE pipeline = 'other'", "UPDATE wal2vec.generation SET precisions = '{}' WHERE pipeline = 'other'",
		"SELECT FROM wal2vec.pipeline WHERE name = 'other' FOR UPDATE")
	b.denied(conn, "INSERT INTO wal2vec.backfill (pipeline, mode, started_epoch, started_lsn) VALUES ('other', 'full', 1, '0/1')",
		"INSERT INTO wal2vec.stream_state (pipeline, reported_at) VALUES ('other', now())",
		"INSERT INTO wal2vec.shape (pipeline, marks) VALUES ('other', '{}')", "UPDATE wal2vec.backfill SET pipeline = 'other'")
	if _, err := conn.Exec(t.Context(), "UPDATE wal2vec.pipeline SET slot = 'anothers_slot'"); fault.SQLSTATE(err) != "23514" {
		t.Errorf("a stream's role named another slot: %v", err)
	}

	conn = b.conn(reader, readerSecret)
	b.denied(conn, never...)
	for _, table := range []string{"pipeline", "generation", "stream_state", "backfill", "shape", "ledger_product", "vectors_product_1", "dead_letter_product"} {
		b.denied(conn, "DELETE FROM wal2vec."+table, "TRUNCATE wal2vec."+table, "SELECT FROM wal2vec."+table+" FOR SHARE", "INSERT INTO wal2vec."+table+" DEFAULT VALUES")
	}
	b.denied(conn, "UPDATE wal2vec.pipeline SET watermark = watermark", "UPDATE wal2vec.ledger_product SET deleted = deleted")
	b.untouched(conn, "SELECT FROM wal2vec.pipeline WHERE name = 'other'", "SELECT FROM wal2vec.generation WHERE pipeline = 'other'",
		"SELECT FROM wal2vec.backfill WHERE pipeline = 'other'")

	conn = b.conn(stranger, strangerSecret)
	for _, table := range []string{"schema_version", "pipeline", "generation", "stream_state", "backfill", "shape", "ledger_product", "vectors_product_1", "dead_letter_product"} {
		b.denied(conn, "SELECT FROM wal2vec."+table, "INSERT INTO wal2vec."+table+" DEFAULT VALUES", "DELETE FROM wal2vec."+table,
			"TRUNCATE wal2vec."+table, "LOCK TABLE wal2vec."+table+" IN ACCESS EXCLUSIVE MODE")
	}
	b.denied(conn, "SELECT FROM "+viewName)

	// Each may do its own work all the while, as may who has both pipelines.
	b.ok(other.sink.Grant(t.Context(), sink.Grant{Role: stranger, Access: sink.Write}))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: stranger, Access: sink.Read}))
	b.worksAs(streamer, streamerSecret, reader, readerSecret)
	st, err := b.as(stranger, strangerSecret).State(t.Context())
	if err != nil || st.Slot != "wal2vec_product" {
		t.Errorf("state %+v, %v", st, err)
	}
	b.untouched(b.conn(stranger, strangerSecret), "UPDATE wal2vec.pipeline SET watermark = watermark WHERE name = 'product'")
}

// worksAs does what a stream, a backfill and a search do, as the roles that are made for it.
func (b *bench) worksAs(streamer, streamerSecret, reader, readerSecret string) {
	b.tb.Helper()
	ctx, mine := b.tb.Context(), b.sink
	b.sink = b.as(streamer, streamerSecret)
	stream := b.takeover()
	one, two := upsert(1, 0x2101, "one"), upsert(2, 0x2101, "two")
	b.ok(stream.Commit(ctx, change.Commit{Changes: []change.Change{one, two}, Watermark: 0x2200, Encodings: encoded(vectorsOf(dimension, one), refusalsOf(two))}))
	b.ok(b.sink.Wrote(ctx, 1, "int8"))
	if letters, err := b.sink.DeadLetters(ctx, 0); err != nil || len(letters) != 1 {
		b.tb.Errorf("letters %+v, %v", letters, err)
	}
	j := b.job(sink.JobParams{Mode: sink.Full, Again: true})
	_, err := b.chunk(j, b.version(), upsert(1, 0, "one"), upsert(3, 0, "three"))
	b.ok(err)
	_, err = j.Sweep(ctx)
	b.ok(err)
	j.Close()
	_, err = b.sink.CollectTombstones(ctx)
	b.ok(err)
	b.ok(b.sink.Disown(ctx, b.state().Epoch))
	b.start(true)
	b.takeover()
	b.sink = b.as(reader, readerSecret)
	three := change.HashText("three")
	found, err := b.sink.NewSearcher().Search(ctx, sink.Query{Vector: vectorOf(dimension, three), K: 1})
	if err != nil || len(found.Hits) != 1 || found.Hits[0].Key != change.KeyOf("3") {
		b.tb.Errorf("found %+v, %v", found, err)
	}
	if _, err := b.sink.Counts(ctx); err != nil {
		b.tb.Error(err)
	}
	b.sink = mine
}

// left are the rights that a role has in the test's database.
func left(tb testing.TB, db *pgtest.DB, role string) []string {
	tb.Helper()
	return pgtest.Column[string](tb, db, `SELECT pg_describe_object(classid, objid, objsubid) FROM pg_shdepend
		WHERE refclassid = 'pg_authid'::regclass AND refobjid = $1::text::regrole AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())`, role)
}

func TestWhatWasGivenIsTakenBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.beside()
	both, bothSecret := b.db.Role(t, "")
	one, oneSecret := b.db.Role(t, "")
	for _, g := range []sink.Grant{{Role: both, Access: sink.Write}, {Role: one, Access: sink.Write}, {Role: one, Access: sink.Read}} {
		b.ok(b.sink.Grant(t.Context(), g))
	}
	b.ok(other.sink.Grant(t.Context(), sink.Grant{Role: both, Access: sink.Read}))
	// A generation that came later is in it, and a view of another name.
	b.filled(b.build(second()), nil...)
	renamed := sink.New(sink.Options{Pool: b.pool, Pipeline: "product", View: "analytics_features.renamed"})
	_, err := renamed.EnsureGeneration(t.Context(), generation(dimension))
	b.ok(err)
	conn := b.conn(one, oneSecret)
	for _, query := range []string{"SELECT FROM wal2vec.vectors_product_2", "SELECT FROM analytics_features.renamed", "DELETE FROM wal2vec.vectors_product_2"} {
		if _, err := conn.Exec(t.Context(), query); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}

	b.ok(renamed.Grant(t.Context(), sink.Grant{Role: one, Access: sink.Nothing}))
	if rights := left(t, b.db, one); len(rights) != 0 {
		t.Errorf("after revoking, %q", rights)
	}
	b.denied(conn, "SELECT FROM wal2vec.pipeline", "SELECT FROM wal2vec.ledger_product", "SELECT FROM analytics_features.renamed")
	b.wantKind(renamed.Grant(t.Context(), sink.Grant{Role: one, Access: sink.Nothing}), fault.Usage)
	b.wantKind(renamed.Grant(t.Context(), sink.Grant{Role: "no such role", Access: sink.Nothing}), fault.Usage)

	// Who has another pipeline keeps that one, with the rights that it needs there.
	b.ok(renamed.Grant(t.Context(), sink.Grant{Role: both, Access: sink.Nothing}))
	conn = b.conn(both, bothSecret)
	b.denied(conn, "SELECT FROM wal2vec.ledger_product", "UPDATE wal2vec.pipeline SET watermark = watermark", "INSERT INTO wal2vec.backfill DEFAULT VALUES")
	if tag, err := conn.Exec(t.Context(), "SELECT FROM wal2vec.pipeline"); err != nil || tag.RowsAffected() != 1 {
		t.Errorf("%s, %v", tag, err)
	}
	b.ok(renamed.Grant(t.Context(), sink.Grant{Role: both, Access: sink.Write}))
	b.ok(renamed.Teardown(t.Context()))
	if rights := strings.Join(left(t, b.db, both), ", "); strings.Contains(rights, "product") || !strings.Contains(rights, "wal2vec.ledger_other") {
		t.Errorf("after a teardown, %q", rights)
	}
	b.ok(other.sink.Teardown(t.Context()))
	if rights := left(t, b.db, both); len(rights) != 0 {
		t.Errorf("after the last teardown, %q", rights)
	}
}

// Somebody put another name into the row: what has that name is not dropped.
func TestAViewThatIsNotOursIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	victim, _ := b.db.Role(t, "")
	b.db.Exec(t, `CREATE SCHEMA shop; CREATE VIEW shop.of_another_table AS SELECT 1::bigint AS product_id, NULL::public.vector AS embedding, now() AS updated_at;
		CREATE VIEW shop.of_our_vectors AS SELECT product_id, embedding FROM wal2vec.vectors_product_1;
		CREATE VIEW shop.of_two AS SELECT v.product_id, v.embedding, v.updated_at FROM wal2vec.vectors_product_1 AS v JOIN wal2vec.ledger_product USING (product_id);
		CREATE VIEW shop.anothers AS SELECT product_id, embedding, updated_at FROM wal2vec.vectors_product_1;
		CREATE TABLE shop.sales (i integer);
		GRANT USAGE, CREATE ON SCHEMA shop TO `+victim+"; ALTER VIEW shop.anothers OWNER TO "+victim)
	names := []string{"of_another_table", "of_our_vectors", "of_two", "anothers", "sales"}
	check := func(after string) {
		t.Helper()
		for _, name := range names {
			if !pgtest.One[bool](t, b.db, "SELECT to_regclass('shop.' || $1) IS NOT NULL", name) {
				t.Errorf("%s dropped shop.%s", after, name)
			}
		}
	}
	for _, name := range names {
		b.db.Exec(t, "UPDATE wal2vec.pipeline SET view_schema = 'shop', view_name = $1", name)
		_, err := b.sink.EnsureGeneration(t.Context(), generation(dimension))
		b.ok(err)
		check("init")
	}
	b.db.Exec(t, "UPDATE wal2vec.pipeline SET view_schema = 'shop', view_name = 'anothers'")
	if err := b.sink.Teardown(t.Context()); fault.SQLSTATE(err) != "2BP01" { // other views depend on the vectors, and nothing is dropped with them
		t.Errorf("torn down with views on the vectors: %v", err)
	}
	check("teardown")
	b.db.Exec(t, "DROP VIEW shop.of_our_vectors, shop.of_two, shop.anothers, "+viewName)
	names = []string{"of_another_table", "sales"}
	b.db.Exec(t, "UPDATE wal2vec.pipeline SET view_name = 'of_another_table'")
	b.ok(b.sink.Teardown(t.Context()))
	check("teardown")
}

// A row that names another's table never makes a statement on it.
func TestRowsThatWal2vecDoesNotWriteAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	b.db.Exec(t, `CREATE TABLE wal2vec.victim AS SELECT 1 AS product_id;
		ALTER TABLE wal2vec.generation DROP CONSTRAINT generation_state_check, DROP CONSTRAINT generation_storage_check, DROP CONSTRAINT generation_dimension_check;
		ALTER TABLE wal2vec.pipeline DROP CONSTRAINT pipeline_check, DROP CONSTRAINT pipeline_key_columns_check`)
	for _, hostile := range []struct{ table, column, value, says string }{
		{"pipeline", "key_types", `{"text); DROP TABLE wal2vec.victim; --"}`, "table pipeline"},
		{"pipeline", "key_types", `{"text from wal2vec"}`, "table pipeline"},
		{"pipeline", "key_types", `{}`, "table pipeline"},
		{"pipeline", "key_columns", `{epoch}`, "table pipeline"},
		{"generation", "vector_table", "victim", `table "victim"`},
		{"generation", "vector_table", "vectors_other_1", `table "vectors_other_1"`},
		{"generation", "hash_column", `deleted`, `column "deleted"`},
		{"generation", "storage", `vector(3)); DROP TABLE wal2vec.victim; --`, "stores"},
		{"generation", "state", "hidden", `"hidden"`},
		{"generation", "dimension", "2147483647", "2147483647 dimensions"},
	} {
		before := pgtest.One[string](t, b.db, fmt.Sprintf("SELECT %s::text FROM wal2vec.%s", hostile.column, hostile.table))
		set := func(value string) {
			kind := pgtest.One[string](t, b.db, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname = $2", "wal2vec."+hostile.table, hostile.column)
			b.db.Exec(t, fmt.Sprintf("UPDATE wal2vec.%s SET %s = $1::text::%s", hostile.table, hostile.column, kind), value)
		}
		set(hostile.value)
		_, err := b.sink.State(t.Context())
		errs := []error{err, b.sink.Teardown(t.Context()), b.sink.Grant(t.Context(), sink.Grant{Role: "x", Access: sink.Read})}
		_, err = b.sink.Retire(t.Context(), 1)
		errs = append(errs, err)
		_, err = b.sink.DropAllDeadLetters(t.Context())
		errs = append(errs, err)
		_, err = b.sink.Plan(t.Context(), productPipeline(), generation(dimension))
		for _, err := range append(errs, err) {
			if fault.KindOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), hostile.says) {
				t.Errorf("%s.%s = %s: %v", hostile.table, hostile.column, hostile.value, err)
			}
		}
		set(before)
		b.state()
	}
	if !pgtest.One[bool](t, b.db, "SELECT to_regclass('wal2vec.victim') IS NOT NULL") {
		t.Error("the victim is gone")
	}
}

func TestATableOfAnotherRoleIsNotTornDown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role, _ := b.db.Role(t, "")
	b.db.Exec(t, "GRANT USAGE, CREATE ON SCHEMA wal2vec TO "+role+"; ALTER TABLE wal2vec.dead_letter_product OWNER TO "+role)
	err := b.sink.Teardown(t.Context())
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), role) {
		t.Errorf("torn down: %v", err)
	}
	b.db.Exec(t, "ALTER TABLE wal2vec.dead_letter_product OWNER TO CURRENT_USER")
	b.state()
}

func TestASlotOfAnotherNameIsNotTaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	start := sink.Start{From: b.version().Epoch, Slot: "another", ConsistentPoint: 0x5000, SystemID: "8", Timeline: 2, SourceOID: 99}
	err := b.sink.Start(t.Context(), start)
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.Kind != fault.Usage || !strings.Contains(e.Try, "source.slot") {
		t.Errorf("started with another slot: %v", err)
	}
	// Who set it up may name another one once the pipeline has given its slot up.
	p := productPipeline()
	p.Slot = "another"
	b.wantKind(b.sink.Register(t.Context(), p), fault.Usage)
	b.ok(b.sink.Disown(t.Context(), b.version().Epoch))
	b.ok(b.sink.Register(t.Context(), p))
	b.ok(b.sink.Start(t.Context(), start))
	if st := b.state(); st.Slot != "another" || st.SlotName != "another" {
		t.Errorf("after the start %+v", st)
	}
}

// TestRightsOfWhoMayGiveNoneAreRefused: PostgreSQL only warns, and says GRANT or REVOKE as if it
// were done.
func TestRightsOfWhoMayGiveNoneAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ops, secret := b.db.Role(t, "")
	streamer, _ := b.db.Role(t, "")
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: ops, Access: sink.Read}, sink.Grant{Role: streamer, Access: sink.Write}))
	owner := pgtest.One[string](t, b.db, "SELECT current_user::text")
	config, err := pgxpool.ParseConfig(b.db.DSNFor(ops, secret))
	b.ok(err)
	pool, err := pgsession.Pool(t.Context(), config)
	b.ok(err)
	defer pool.Close()
	as := sink.New(sink.Options{Pool: pool, Pipeline: "product", Owner: owner, View: viewName, Logger: zerolog.Nop()})
	stranger, _ := b.db.Role(t, "")
	for _, g := range []sink.Grant{{Role: streamer, Access: sink.Nothing}, {Role: stranger, Access: sink.Read}, {Role: ops, Access: sink.Write}} {
		err := as.Grant(t.Context(), g)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error()+fault.Try(err), owner) {
			t.Errorf("%+v: %v (try %s)", g, err, fault.Try(err))
		}
	}
	if !pgtest.One[bool](t, b.db, "SELECT has_table_privilege($1, 'wal2vec.ledger_product', 'UPDATE')", streamer) {
		t.Error("something was taken")
	}
	if given := left(t, b.db, stranger); len(given) > 0 {
		t.Errorf("given: %v", given)
	}
}

// TestARightThatAnotherGaveIsNotSaidToBeTaken: the owner's REVOKE leaves it, without a warning.
func TestARightThatAnotherGaveIsNotSaidToBeTaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	streamer, _ := b.db.Role(t, "")
	other := b.account("")
	for _, right := range []string{
		"SELECT ON TABLE wal2vec.ledger_product", "UPDATE ON TABLE wal2vec.vectors_product_1", "SELECT ON TABLE " + viewName, "UPDATE (slot) ON TABLE wal2vec.pipeline",
		"USAGE ON SCHEMA wal2vec", "INSERT (text_hash) ON TABLE wal2vec.vectors_product_1",
	} {
		b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Write}))
		before := left(t, b.db, streamer)
		b.db.Exec(t, "GRANT USAGE ON SCHEMA wal2vec, analytics_features TO "+other.name+"; GRANT "+right+" TO "+other.name+" WITH GRANT OPTION")
		b.plant(other, "GRANT "+right+" TO "+streamer)
		err := b.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Nothing})
		if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), other.name) || !strings.Contains(err.Error(), streamer) {
			t.Errorf("%s: %v (try %s)", right, err, fault.Try(err))
		}
		if after := left(t, b.db, streamer); len(after) < len(before) {
			t.Errorf("%s: a part was taken: %q of %q", right, after, before)
		}
		b.plant(other, "REVOKE "+right+" FROM "+streamer)
		b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Nothing}))
		if after := left(t, b.db, streamer); len(after) > 0 {
			t.Errorf("%s: left are %q", right, after)
		}
		b.db.Exec(t, "REVOKE "+right+" FROM "+other.name+" CASCADE")
	}
}

// TestARightThatWasNotGivenIsNotSaidToBe: something in the server takes it back in the same
// transaction.
func TestARightThatWasNotGivenIsNotSaidToBe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	streamer, _ := b.db.Role(t, "")
	b.db.Exec(t, "CREATE FUNCTION public.withhold() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN REVOKE SELECT ON wal2vec.ledger_product FROM "+streamer+"; END'; "+
		"CREATE EVENT TRIGGER withholds ON ddl_command_end WHEN TAG IN ('GRANT') EXECUTE FUNCTION public.withhold()")
	for _, access := range []sink.Access{sink.Read, sink.Write} {
		err := b.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: access})
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "ledger_product") || len(left(t, b.db, streamer)) > 0 {
			t.Errorf("%s: %v, left %q", access, err, left(t, b.db, streamer))
		}
	}
}

// TestWhatARolePassedOnDoesNotKeepItsRights, nor those whom it gave them.
func TestWhatARolePassedOnDoesNotKeepItsRights(t *testing.T) {
	t.Parallel()
	b := setup(t)
	streamer, secret := b.db.Role(t, "")
	stranger, _ := b.db.Role(t, "")
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Write}))
	things := []string{
		"USAGE ON SCHEMA wal2vec", "SELECT ON wal2vec.ledger_product", "SELECT ON wal2vec.pipeline", "UPDATE (watermark) ON wal2vec.pipeline", "USAGE ON SCHEMA analytics_features",
		"SELECT ON " + viewName,
	}
	for _, right := range things {
		b.db.Exec(t, "GRANT "+right+" TO "+streamer+" WITH GRANT OPTION")
		b.plant(account{streamer, secret}, "GRANT "+right+" TO "+stranger)
	}
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Nothing}))
	for _, role := range []string{streamer, stranger} {
		if rights := left(t, b.db, role); len(rights) != 0 {
			t.Errorf("%s keeps %q", role, rights)
		}
	}
}
