package sink_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// What hangs on a table that was given to another role is what the role before wrote: by the ALTER
// TABLE ... OWNER TO of a dump, or by REASSIGN OWNED.

// evil are the stranger's functions, operators and types: each runs trap.spring as who evaluates
// it. An immutable function is believed to be so.
const evil = `CREATE SCHEMA theirs; GRANT USAGE ON SCHEMA theirs TO PUBLIC;
	CREATE FUNCTION theirs.evil(anyelement) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM trap.spring(); RETURN true; END';
	CREATE FUNCTION theirs.same(integer, integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM trap.spring(); RETURN $1 = $2; END';
	CREATE OPERATOR theirs.=== (LEFTARG = integer, RIGHTARG = integer, FUNCTION = theirs.same);
	CREATE DOMAIN theirs.checked AS text CHECK (theirs.evil(VALUE));
	CREATE TYPE theirs.row AS (version integer, name text, applied_at timestamptz);
	CREATE COLLATION theirs.sorted (LOCALE = 'C')`

// plantedTables are what a stranger puts where wal2vec's first table belongs.
var plantedTables = map[string]string{
	"policy":         "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); {rls}; CREATE POLICY readers ON wal2vec.schema_version USING (theirs.evil(1))",
	"policy alike":   "CREATE TABLE wal2vec.pipeline (name text); ALTER TABLE wal2vec.pipeline ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY readers ON wal2vec.pipeline FOR SELECT USING (has_table_privilege((to_regclass(format('%s.ledger_%s', 'theirs'::regnamespace, name)))::oid, 'SELECT'))",
	"policy, SQL":    "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); {rls}; CREATE POLICY readers ON wal2vec.schema_version USING (query_to_xml('SELECT trap.spring()', true, false, '') IS NOT NULL)",
	"policy, true":   "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); {rls}; CREATE POLICY p ON wal2vec.schema_version USING (true)",
	"rule":           "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); CREATE RULE r AS ON INSERT TO wal2vec.schema_version DO ALSO SELECT trap.spring()",
	"check":          "CREATE TABLE wal2vec.schema_version (version integer CHECK (theirs.evil(version)), name text, applied_at timestamptz)",
	"check, SQL":     "CREATE TABLE wal2vec.schema_version (version integer CHECK (query_to_xml('SELECT trap.spring()', true, false, '') IS NOT NULL), name text, applied_at timestamptz)",
	"check, input":   "CREATE TABLE wal2vec.schema_version (version integer, name text CHECK (pg_input_is_valid(name, 'theirs.checked')), applied_at timestamptz)",
	"operator":       "CREATE TABLE wal2vec.schema_version (version integer CHECK (version OPERATOR(theirs.===) version), name text, applied_at timestamptz)",
	"default":        "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz, more boolean DEFAULT trap.spring())",
	"default, SQL":   "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz, more xml DEFAULT query_to_xml('SELECT trap.spring()', true, false, ''))",
	"generated":      "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz, more boolean GENERATED ALWAYS AS (theirs.evil(version)) STORED)",
	"index":          "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); CREATE INDEX i ON wal2vec.schema_version (theirs.evil(version))",
	"predicate":      "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); CREATE INDEX i ON wal2vec.schema_version (version) WHERE theirs.evil(version)",
	"exclusion":      "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz, EXCLUDE ((theirs.evil(version)) WITH =))",
	"domain":         "CREATE TABLE wal2vec.schema_version (version integer, name theirs.checked, applied_at timestamptz)",
	"array":          "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz, more theirs.checked[])",
	"row type":       "CREATE TABLE wal2vec.schema_version OF theirs.row",
	"row in a row":   "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz, more theirs.row)",
	"collation":      "CREATE TABLE wal2vec.schema_version (version integer, name text COLLATE theirs.sorted, applied_at timestamptz)",
	"child":          "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); CREATE TABLE theirs.child (CHECK (theirs.evil(version))) INHERITS (wal2vec.schema_version)",
	"parent":         "CREATE TABLE theirs.parent (version integer, name text, applied_at timestamptz); CREATE TABLE wal2vec.schema_version () INHERITS (theirs.parent)",
	"partition":      "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz) PARTITION BY LIST (version); CREATE TABLE theirs.part PARTITION OF wal2vec.schema_version (CHECK (theirs.evil(version))) DEFAULT",
	"partition, key": "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz) PARTITION BY LIST (theirs.evil(version))",
	"trigger":        "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); CREATE FUNCTION theirs.takes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM trap.spring(); RETURN NEW; END'; CREATE TRIGGER takes BEFORE INSERT ON wal2vec.schema_version FOR EACH ROW EXECUTE FUNCTION theirs.takes()",
	"trigger, own":   "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); CREATE TRIGGER takes BEFORE UPDATE ON wal2vec.schema_version FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
	"statistics":     "CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); CREATE STATISTICS wal2vec.s ON (theirs.evil(version)), version FROM wal2vec.schema_version",
	"cascade":        "CREATE TABLE wal2vec.pipeline (name text PRIMARY KEY); CREATE TABLE theirs.cascades (name theirs.checked REFERENCES wal2vec.pipeline ON UPDATE CASCADE)",
	"reference":      "CREATE TABLE theirs.target (version integer PRIMARY KEY); CREATE TABLE wal2vec.schema_version (version integer REFERENCES theirs.target, name text, applied_at timestamptz)",
}

// planted makes a stranger's schema with one of the tables, and gives them away.
func (b *bench) planted(statement, gives string, planter, admin account) {
	b.tb.Helper()
	b.trap()
	b.plant(planter, evil)
	b.plant(planter, "CREATE SCHEMA wal2vec; GRANT ALL ON SCHEMA wal2vec TO PUBLIC")
	rls := "ALTER TABLE wal2vec.schema_version ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
	b.plant(planter, strings.ReplaceAll(statement, "{rls}", rls), "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA wal2vec TO PUBLIC")
	b.db.Exec(b.tb, strings.NewReplacer("PLANTER", planter.name, "ADMIN", admin.name).Replace(gives))
	b.db.Exec(b.tb, "DELETE FROM trap.loot")
}

// TestWhatIsOnATableThatWasGivenAwayIsLookedAt: every command refuses it, as whatever role, and
// runs nothing of it.
func TestWhatIsOnATableThatWasGivenAwayIsLookedAt(t *testing.T) {
	t.Parallel()
	gives := []string{
		"ALTER SCHEMA wal2vec OWNER TO ADMIN; DO $$ DECLARE one regclass; BEGIN FOR one IN SELECT oid FROM pg_class WHERE relnamespace = 'wal2vec'::regnamespace " +
			"AND relkind IN ('r', 'p') LOOP EXECUTE format('ALTER TABLE %s OWNER TO ADMIN', one); END LOOP; END $$",
		"REASSIGN OWNED BY PLANTER TO ADMIN",
	}
	for name, statement := range plantedTables {
		for i, give := range gives {
			t.Run(fmt.Sprint(name, " ", i), func(t *testing.T) {
				t.Parallel()
				b := prepare(t)
				planter, admin, streamer := b.maker(), b.maker(), b.account("")
				b.planted(statement, give, planter, admin)
				for _, s := range []*sink.Sink{b.as(admin.name, admin.password), b.trusting(admin.name, streamer.name, streamer.password)} {
					_, err := s.Trusted(t.Context())
					if _, is := errors.AsType[*sink.UntrustedError](err); !is || !strings.Contains(err.Error(), "run what it likes") {
						t.Errorf("%v", err)
					}
					b.refusedAs(s, "run what it likes")
				}
			})
		}
	}
}

// TestWhatPeopleAddToTheirTablesStays: indexes by what is built in or pgvector's, CHECKs, columns
// of theirs.
func TestWhatPeopleAddToTheirTablesStays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, statement := range []string{
		"CREATE INDEX ON wal2vec.vectors_product_1 (updated_at) WHERE product_id > 7",
		"CREATE INDEX ON wal2vec.vectors_product_1 USING hnsw ((embedding::halfvec(3)) halfvec_l2_ops)",
		"CREATE INDEX ON wal2vec.vectors_product_1 USING ivfflat (embedding vector_l2_ops)",
		"ALTER TABLE wal2vec.vectors_product_1 ADD COLUMN more halfvec(3), ADD CHECK (vector_dims(embedding) > 0), ADD COLUMN at date DEFAULT current_date",
		"ALTER TABLE wal2vec.vectors_product_1 ADD UNIQUE (product_id) DEFERRABLE",
		"CREATE STATISTICS wal2vec.s ON epoch, lsn FROM wal2vec.ledger_product",
	} {
		b.db.Exec(t, statement)
		if _, err := b.sink.Trusted(t.Context()); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// TestEveryVersionsTablesPass: an older version's are as init wrote them then, whatever the schema
// is called.
func TestEveryVersionsTablesPass(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"wal2vec", `W2V "é" \ '%`} {
		b := prepare(t)
		b.sink = sink.New(sink.Options{Pool: b.pool, Schema: name, Pipeline: "product", View: "public.of_product"})
		p := productPipeline()
		p.Table.Key = []change.Column{{Name: "a", Type: "integer"}}
		for i, of := range []change.Type{"smallint", "bigint", "text", "character varying(40)", "character varying", "uuid"} {
			p.Table.Key = append(p.Table.Key, change.Column{Name: fmt.Sprintf("pg_input_is_valid(%d", i), Type: of})
		}
		b.init(p, generation(dimension))
		if _, err := b.sink.Trusted(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for version, before := range map[string]string{
		"6": beforeRights, "7": beforeOwnLetters,
		"8": `ALTER POLICY readers ON wal2vec.pipeline USING (
			pg_catalog.has_table_privilege(pg_catalog.to_regclass(pg_catalog.format('%I.ledger_%s', 'wal2vec', name)), 'SELECT'))`,
	} {
		b := setup(t)
		b.beside()
		b.db.Exec(t, before)
		if _, err := b.sink.Trusted(t.Context()); err != nil {
			t.Errorf("version %s: %v", version, err)
		}
	}
}

// restored follows the guide: a dump of b's sink into a database in which a stranger was first.
func (b *bench) restored(planter account, planted string, options ...string) (into *bench, said string, failed bool) {
	b.tb.Helper()
	dump := filepath.Join(b.tb.TempDir(), "wal2vec.dump")
	dumping := b.db.Command(b.tb, "pg_dump", "--format=custom", "--schema=wal2vec", "--schema=analytics_features", "--file="+dump)
	if out, err := dumping.CombinedOutput(); err != nil {
		b.tb.Fatalf("%v: %s", err, out)
	}
	into = prepareOn(b.tb, b.db.Host.Database(b.tb))
	into.db.Exec(b.tb, "CREATE EXTENSION IF NOT EXISTS vector; GRANT CREATE ON DATABASE "+into.db.Name+" TO "+planter.name)
	into.trap()
	into.plant(planter, evil, planted)
	out, err := into.db.Command(b.tb, "pg_restore", append(options, "--dbname="+into.db.Name, dump)...).CombinedOutput()
	return into, string(out), err != nil
}

// TestARestoreIntoAPlantedSchemaGivesNothingAway: as older guides had it, pg_restore goes on after
// an error, and the dump gives the planted table to its owner.
func TestARestoreIntoAPlantedSchemaGivesNothingAway(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	planter, admin, streamer := b.account(""), b.maker(), b.account("")
	b.db.Exec(t, "CREATE EXTENSION IF NOT EXISTS vector")
	b.sink = b.as(admin.name, admin.password)
	b.init(productPipeline(), generation(dimension))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer.name, Access: sink.Write}))
	const planted = "CREATE SCHEMA wal2vec; GRANT ALL ON SCHEMA wal2vec TO PUBLIC; " +
		"CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); " +
		"ALTER TABLE wal2vec.schema_version ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; " +
		"CREATE POLICY p ON wal2vec.schema_version USING (theirs.evil(1)); GRANT SELECT, INSERT ON wal2vec.schema_version TO PUBLIC"
	into, said, failed := b.restored(planter, planted)
	const owner = "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = 'wal2vec.schema_version'::regclass"
	if is := pgtest.One[string](t, into.db, owner); !failed || is != admin.name {
		t.Fatalf("the planted table belongs to %s: %s", is, said)
	}
	into.db.Exec(t, "DELETE FROM trap.loot")
	for _, s := range []*sink.Sink{into.as(admin.name, admin.password), into.trusting(admin.name, streamer.name, streamer.password)} {
		into.refusedAs(s, "policy p that wal2vec init does not write")
	}

	// As the guide has it now, with a trigger that would run as the superuser: nothing is restored,
	// and nothing runs.
	const trigger = "CREATE SCHEMA wal2vec; CREATE TABLE wal2vec.schema_version (version integer, name text, applied_at timestamptz); " +
		"CREATE FUNCTION theirs.takes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM trap.spring(); RETURN NEW; END'; " +
		"CREATE TRIGGER takes BEFORE INSERT ON wal2vec.schema_version FOR EACH ROW EXECUTE FUNCTION theirs.takes()"
	into, said, failed = b.restored(planter, trigger, "--single-transaction", "--exit-on-error")
	if is := pgtest.One[string](t, into.db, owner); !failed || is != planter.name || len(into.loot()) != 0 {
		t.Errorf("the planted table belongs to %s, its function ran as %q: %s", is, into.loot(), said)
	}
	_, err := into.as(admin.name, admin.password).Trusted(t.Context())
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), planter.name) {
		t.Errorf("afterwards: %v", err)
	}
}
