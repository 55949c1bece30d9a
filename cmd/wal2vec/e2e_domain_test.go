package main

import (
	"fmt"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestTypesAreSeenThroughDomains: what is a boolean, a key or a text is so in a domain, in a domain
// over a domain, and in an array of one, wherever it is read.
func TestTypesAreSeenThroughDomains(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 60)
	w.db.Exec(t, `CREATE SCHEMA shop;
		CREATE DOMAIN shop.truth AS boolean; CREATE DOMAIN shop.yes_no AS shop.truth DEFAULT false NOT NULL;
		CREATE DOMAIN shop.id AS bigint CHECK (VALUE > 0); CREATE DOMAIN shop.product_id AS shop.id;
		CREATE DOMAIN shop.label AS varchar(100); CREATE DOMAIN shop.word AS text; CREATE DOMAIN shop.words AS shop.word;
		ALTER TABLE staging_marts.dim_product ALTER deleted DROP DEFAULT, ALTER deleted TYPE shop.yes_no, ALTER deleted SET DEFAULT false,
			ALTER product_id TYPE shop.product_id, ALTER name TYPE shop.words, ALTER brand TYPE shop.label`)
	w.db.Exec(t, "UPDATE staging_marts.dim_product SET deleted = true WHERE product_id % 10 = 0")
	w.run("init")
	w.run("backfill")
	w.check()

	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.write(1)
	w.settle()
	w.check()
	if got := w.ends(nil, "", "audit", "--full"); got.code != 0 {
		t.Errorf("audit: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if got := w.ends(nil, "", "doctor"); got.code != 0 {
		t.Errorf("doctor: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	w.db.Exec(t, "UPDATE staging_marts.dim_product SET deleted = product_id = 5 WHERE product_id IN (4, 5)")
	var live, gone printedRow
	w.result(&live, nil, "config", "print", "--row", "4", "-o", "json")
	w.result(&gone, nil, "config", "print", "--row", "5", "-o", "json")
	if live.Deleted || live.Text == nil || !gone.Deleted {
		t.Errorf("config print: %+v is not live, or %+v is", live, gone)
	}
	stream.stop()

	// The log has rows of a domain that is gone when it is read.
	w.write(2)
	w.db.Exec(t, "ALTER TABLE staging_marts.dim_product ALTER deleted TYPE boolean, ALTER brand TYPE text; DROP DOMAIN shop.yes_no; DROP DOMAIN shop.label")
	w.write(3)
	w.run("stream", "--until-current")
	w.check()
}

// TestAnOlderVersionsDomainIsRefreshed: rows that were taken for deleted, because the mark was a
// domain over boolean, come back by themselves.
func TestAnOlderVersionsDomainIsRefreshed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 30)
	w.db.Exec(t, `CREATE DOMAIN yes_no AS boolean;
		ALTER TABLE staging_marts.dim_product ALTER deleted DROP DEFAULT, ALTER deleted TYPE yes_no`)
	w.run("init")
	w.run("backfill")
	// As an older version leaves it.
	table := pgtest.One[string](t, w.db, "SELECT vector_table FROM wal2vec.generation WHERE state = 'active'")
	w.db.Exec(t, "UPDATE wal2vec.ledger_"+w.db.Name+" SET deleted = true, text_hash = NULL")
	w.db.Exec(t, "DELETE FROM wal2vec."+table)
	marks := w.db.Exec(t, `UPDATE wal2vec.shape SET marks = (
		SELECT jsonb_object_agg(key, regexp_replace(value, ' boolean$', '')) FROM jsonb_each_text(marks))
		WHERE EXISTS (SELECT FROM jsonb_each_text(marks) WHERE value LIKE '% boolean')`)
	if marks.RowsAffected() != 1 {
		t.Fatal("no mark of a domain over boolean")
	}
	stream := w.start(nil, "stream")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		n := pgtest.One[int](t, w.db, "SELECT count(*)::int FROM wal2vec."+table)
		return n == 30, fmt.Sprintf("%d vectors came back", n)
	})
	stream.stop()
	w.check()
}
