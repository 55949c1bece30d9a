//go:build dbt

package main

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// dbtWorld is a world whose product table is a mart that dbt builds from raw.product.
type dbtWorld struct {
	*world
	table string // the mart that is streamed
}

// newDBTWorld fills raw.product and has dbt build the marts.
func newDBTWorld(t *testing.T, n int, flags ...string) dbtWorld {
	t.Helper()
	w := newWorld(t, n)
	w.db.Exec(t, "CREATE SCHEMA raw; ALTER TABLE staging_marts.dim_product SET SCHEMA raw; ALTER TABLE raw.dim_product RENAME TO product")
	d := dbtWorld{world: w, table: "staging_marts.dim_product"}
	d.dbt(flags...)
	return d
}

// dbt runs the project.
func (d dbtWorld) dbt(flags ...string) {
	d.t.Helper()
	dsn, err := url.Parse(d.db.DSN)
	if err != nil {
		d.t.Fatal(err)
	}
	password, _ := dsn.User.Password()
	host, port := dsn.Hostname(), dsn.Port()
	if h := dsn.Query().Get("host"); h != "" {
		host, port = h, dsn.Query().Get("port")
	}
	project, err := filepath.Abs("../../deploy/dbt")
	if err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.CommandContext(d.t.Context(), "python3", append([]string{"-m", "dbt.cli.main", "run"}, flags...)...)
	cmd.Dir = project
	cmd.Env = append(os.Environ(), "PYTHONPATH="+os.Getenv("DBT_PACKAGES"), "PYTHONDONTWRITEBYTECODE=1", "DBT_PROFILES_DIR="+project,
		"DBT_TARGET_PATH="+filepath.Join(d.dir, "target"), "DBT_LOG_PATH="+filepath.Join(d.dir, "logs"),
		"PGHOST="+host, "PGPORT="+port, "PGUSER="+dsn.User.Username(), "PGPASSWORD="+password, "PGDATABASE="+strings.TrimPrefix(dsn.Path, "/"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Completed successfully") {
		d.t.Fatalf("dbt run %v: %v\n%s", flags, err, out)
	}
}

// edit changes a hundredth of the rows' texts and another column of all, adds rows and takes some
// away; two rounds touch different rows.
func (d dbtWorld) edit(round int) {
	d.t.Helper()
	d.db.Exec(d.t, `UPDATE raw.product SET price = price + 1, updated_at = clock_timestamp();
		UPDATE raw.product SET description = 'told anew' || product_id WHERE product_id % 100 = `+strconv.Itoa(round)+`;
		UPDATE raw.product SET deleted = true WHERE product_id % 50 = `+strconv.Itoa(round)+`;
		INSERT INTO raw.product (product_id, name, brand, category, description, price)
			SELECT g, 'Product ' || g, 'Brand', '', 'come in round `+strconv.Itoa(round)+`', 1 FROM generate_series(`+strconv.Itoa(10000*round)+`, `+strconv.Itoa(10000*round+4)+`) AS g`)
}

// setUp does what a person does once: what init asks for, init, backfill; and starts the stream.
func (d dbtWorld) setUp() *process {
	d.t.Helper()
	d.db.Exec(d.t, "CREATE UNIQUE INDEX IF NOT EXISTS dim_product_once ON "+d.table+" (product_id); ALTER TABLE "+d.table+" ALTER COLUMN product_id SET NOT NULL")
	d.db.Exec(d.t, "ALTER TABLE "+d.table+" REPLICA IDENTITY FULL")
	d.run("init")
	d.run("backfill")
	stream := d.start(nil, "stream")
	stream.waitFor("streaming")
	return stream
}

// followed does something to the mart and waits until the sink shows it: vectors of changed texts
// are written, those of rows that are gone deleted, and no other is touched.
func (d dbtWorld) followed(change func()) {
	d.t.Helper()
	textsBefore, _ := d.sourceTexts()
	before := d.shown()
	change()
	pgtest.Eventually(d.t, processTimeout, func() (bool, string) {
		done := pgtest.One[bool](d.t, d.db, `SELECT p.source_oid = $1::regclass::oid AND NOT EXISTS (SELECT FROM wal2vec.backfill AS b WHERE b.open)
			FROM wal2vec.pipeline AS p`, d.table)
		return done, "the swap is not followed yet"
	})
	d.settle()
	d.check()
	texts, _ := d.sourceTexts()
	after := d.shown()
	for key, text := range texts {
		if was, there := textsBefore[key]; there && was == text && before[key] != after[key] {
			d.t.Errorf("the text of %s is as it was, and its vector was written again", key)
		}
	}
}

// TestDBTTableIsFollowed: dbt builds the mart again while a stream runs.
func TestDBTTableIsFollowed(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"plain": nil, "unique index": {"--vars", "{unique_index: true}"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDBTWorld(t, 400, flags...)
			w.setUp()
			for round := 1; round <= 2; round++ {
				w.edit(round)
				w.db.Exec(t, "DELETE FROM raw.product WHERE product_id % 60 = "+strconv.Itoa(round))
				w.followed(func() { w.dbt(flags...) })
				// The new table's own writers meet a replica identity.
				w.db.Exec(t, "UPDATE staging_marts.dim_product SET description = 'edited in place' WHERE product_id = 7; DELETE FROM staging_marts.dim_product WHERE product_id = 9")
				w.settle()
				w.check()
			}
			w.checkFeedback()
		})
	}
}

// TestDBTIncrementalIsStreamed, and its full refresh followed.
func TestDBTIncrementalIsStreamed(t *testing.T) {
	t.Parallel()
	w := newDBTWorld(t, 400)
	w.table = "staging_marts.dim_product_incremental"
	w.env = append(w.env, "WAL2VEC_SOURCE_TABLE="+w.table)
	w.setUp()
	for round := 1; round <= 2; round++ {
		w.edit(round)
		w.followed(func() { w.dbt() }) // both marts hold the same rows
	}
	w.edit(3)
	w.followed(func() { w.dbt("--full-refresh") })
	w.checkFeedback()
}
