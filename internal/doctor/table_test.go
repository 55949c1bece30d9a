package doctor_test

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

const product = "staging_marts.dim_product"

// broken is a finding about the table that a statement brings about and none repairs.
func broken(name, check, statement string) finding {
	return finding{name, func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.db.Exec(t, statement)
		r.want(check, doctor.Fail)
	}}
}

var tableFindings = []finding{
	broken("no table", "table.relation", "DROP TABLE "+product),
	broken("a view", "table.relation", "ALTER TABLE "+product+" RENAME TO other; CREATE VIEW "+product+" AS SELECT * FROM staging_marts.other"),
	broken("a table with children", "table.relation", "CREATE TABLE staging_marts.child () INHERITS ("+product+")"),
	broken("a column that is not there", "table.columns", "ALTER TABLE "+product+" DROP COLUMN brand"),
	broken("a mark of deletion that the log lacks", "table.columns",
		"ALTER TABLE "+product+" DROP COLUMN deleted; ALTER TABLE "+product+" ADD deleted boolean GENERATED ALWAYS AS (brand IS NULL)"),
	broken("a key of another type", "table.columns", "ALTER TABLE "+product+" ALTER product_id TYPE numeric"),
	{"an unlogged table", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.db.Exec(t, "ALTER TABLE "+product+" SET UNLOGGED")
		r.repair(r.want("table.relation", doctor.Fail))
	}},
	{"a key that may be NULL", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.db.Exec(t, "ALTER TABLE "+product+" DROP CONSTRAINT dim_product_pkey; ALTER TABLE "+product+" ALTER product_id DROP NOT NULL")
		r.repair(r.want("table.columns", doctor.Fail))
		r.repair(r.want("table.key", doctor.Fail))
		r.repair(r.want("table.identity", doctor.Fail))
	}},
	{"a table that a role may not read", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		role, as := r.reader("")
		r.db.Exec(t, "REVOKE USAGE ON SCHEMA staging_marts FROM "+role+"; REVOKE SELECT ON "+product+" FROM "+role)
		as.repair(as.want("table.relation", doctor.Fail))
		as.repair(as.want("table.columns", doctor.Fail))
		r.db.Exec(t, "ALTER TABLE "+product+" ENABLE ROW LEVEL SECURITY")
		as.repair(as.want("table.relation", doctor.Fail))
	}},
	{"a partitioned table", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		r.db.Exec(t, "ALTER TABLE "+product+" RENAME TO one; "+
			"CREATE TABLE "+product+" (LIKE staging_marts.one INCLUDING INDEXES) PARTITION BY RANGE (product_id); "+
			"ALTER TABLE "+product+" ATTACH PARTITION staging_marts.one DEFAULT")
		r.want("table.partitions", doctor.Warn)
	}},
	{"a function of another role in an index", func(t *testing.T, host *pgtest.Host) {
		r := bare(t, host)
		_, as := r.reader("")
		owner, _ := r.db.Role(t, "")
		r.db.Exec(t, "CREATE SCHEMA others AUTHORIZATION "+owner+"; GRANT USAGE ON SCHEMA others TO PUBLIC; SET ROLE "+owner+
			"; CREATE FUNCTION others.yes() RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'; RESET ROLE")
		as.want("table.code", doctor.OK)
		r.db.Exec(t, "CREATE INDEX coded ON "+product+" (lower(name)) WHERE others.yes()")
		for _, reads := range []*rig{r, as} {
			if f := reads.want("table.code", doctor.Warn); !strings.Contains(f.Text, "index coded calls others.yes() of role") || f.FixIn != doctor.Server || strings.Contains(f.Fix, "OWNER") {
				t.Errorf("%+v", f)
			}
		}
		as.options.Config.Source.TrustOwner = true
		as.want("table.code", doctor.OK)
		as.options.Config.Source.TrustOwner = false
		r.db.Exec(t, "ALTER FUNCTION others.yes() OWNER TO "+pgtest.One[string](t, r.db, "SELECT quote_ident(current_user)"))
		as.want("table.code", doctor.OK)
		r.want("table.code", doctor.OK)
	}},
	{"a table of another role, looked at by one that may do more than its owner is to have", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		role, as := r.reader("")
		owner, _ := r.db.Role(t, "")
		r.want("table.code", doctor.OK)
		r.db.Exec(t, "ALTER TABLE "+product+" OWNER TO "+owner+"; GRANT SELECT ON "+product+" TO "+role)
		for reads, why := range map[*rig]string{r: "it is a superuser", as: "it has the rights of pg_monitor"} {
			if reads == as {
				as.want("table.code", doctor.OK)
				r.db.Exec(t, "GRANT pg_monitor TO "+role)
			}
			f := reads.want("table.code", doctor.Warn)
			if !strings.Contains(f.Text, why+", and table "+product+" belongs to role "+owner) || !strings.Contains(f.Fix, "source.trust_owner: true") {
				t.Errorf("%+v", f)
			}
			reads.options.Config.Source.TrustOwner = true
			reads.want("table.code", doctor.OK)
		}
	}},
	{"a publication that is gone", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "DROP PUBLICATION "+r.options.Config.Source.Publication)
		r.want("publication.present", doctor.Fail)
		r.want("publication.others", doctor.Skip)
	}},
	{"a publication that carries another table", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "CREATE TABLE public.other (id int PRIMARY KEY); ALTER PUBLICATION "+r.options.Config.Source.Publication+" SET TABLE public.other")
		r.want("publication.present", doctor.Fail)
	}},
	{"a table that was replaced", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "CREATE TABLE staging_marts.next (LIKE "+product+" INCLUDING ALL); ALTER TABLE "+product+" RENAME TO before; "+
			"ALTER TABLE staging_marts.next RENAME TO dim_product")
		r.want("publication.present", doctor.Warn)
		r.options.Config.Stream.OnSwap = config.SwapRefuse
		r.want("publication.present", doctor.Fail)
		r.want("role.owner", doctor.OK)
	}},
	{"a publication of half the operations", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "ALTER PUBLICATION "+r.options.Config.Source.Publication+" SET (publish = 'insert')")
		r.repair(r.want("publication.complete", doctor.Fail))
	}},
	{"a publication of half the rows", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "ALTER PUBLICATION "+r.options.Config.Source.Publication+" SET TABLE "+product+" WHERE (product_id > 1)")
		r.repair(r.want("publication.complete", doctor.Fail))
	}},
	{"a publication of half the columns", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "ALTER PUBLICATION "+r.options.Config.Source.Publication+" SET TABLE "+product+" (product_id, name)")
		r.repair(r.want("publication.complete", doctor.Fail))
	}},
	{"a publication of a stranger", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		stranger, _ := r.db.Role(t, "")
		r.want("publication.owner", doctor.OK)
		r.db.Exec(t, "GRANT CREATE ON DATABASE "+r.db.Name+" TO "+stranger+"; ALTER PUBLICATION "+r.options.Config.Source.Publication+" OWNER TO "+stranger)
		r.repair(r.want("publication.owner", doctor.Fail))
		r.want("publication.owner", doctor.OK)
	}},
	{"a publication of more tables", func(t *testing.T, host *pgtest.Host) {
		r := healthy(t, host)
		r.db.Exec(t, "CREATE TABLE public.other (id int PRIMARY KEY); ALTER PUBLICATION "+r.options.Config.Source.Publication+" ADD TABLE public.other")
		if f := r.want("publication.others", doctor.Warn); f.FixIn != doctor.Settings { // another pipeline may read it there
			t.Errorf("%+v", f)
		}
		r.db.Exec(t, "ALTER PUBLICATION "+r.options.Config.Source.Publication+" DROP TABLE public.other")
		r.want("publication.others", doctor.OK)
	}},
}
