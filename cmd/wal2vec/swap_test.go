package main

import (
	"errors"
	"os/exec"
	"testing"
)

// TestATableReplacedUnderTheStreamIsAGap swaps the table as dbt does, while the stream runs: the publication follows the old one.
func TestATableReplacedUnderTheStreamIsAGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20)
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.db.Exec(t, `BEGIN;
		CREATE TABLE staging_marts.dim_product__dbt_tmp (LIKE staging_marts.dim_product INCLUDING ALL);
		INSERT INTO staging_marts.dim_product__dbt_tmp SELECT * FROM staging_marts.dim_product WHERE product_id <> 7;
		ALTER TABLE staging_marts.dim_product RENAME TO dim_product__dbt_backup;
		ALTER TABLE staging_marts.dim_product__dbt_tmp RENAME TO dim_product;
		DROP TABLE staging_marts.dim_product__dbt_backup;
		COMMIT`)
	const gap = 6
	var exit *exec.ExitError
	if err := stream.wait(); !errors.As(err, &exit) || exit.ExitCode() != gap {
		t.Fatalf("the stream ended with %v, want exit code %d:\n%s", err, gap, stream.output)
	}
	if !stream.output.contains("was replaced") || !stream.output.contains("wal2vec init --resync") {
		t.Errorf("the output does not say what happened and what to do:\n%s", stream.output)
	}
	w.run("init", "--resync")
	w.run("backfill")
	w.write(1)
	w.run("stream", "--until-current")
	w.check()
}
