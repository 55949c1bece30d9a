package sink_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/pgtest"
)

// TestASchemaBeforeGenerationsIsBroughtUpToDate: what init looks at before it migrates is there.
func TestASchemaBeforeGenerationsIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	// As migration 3 left it, with a dead letter and an open job.
	b.db.Exec(t, `DELETE FROM wal2vec.schema_version WHERE version >= 4; DROP TABLE wal2vec.shape;
		ALTER TABLE wal2vec.generation DROP COLUMN source, DROP COLUMN hash_column, DROP COLUMN precision, DROP COLUMN activated_at,
			ADD CONSTRAINT generation_precisions_check CHECK (precisions IS NOT NULL);
		ALTER TABLE wal2vec.backfill DROP COLUMN generation, DROP COLUMN swap;
		ALTER TABLE wal2vec.dead_letter DROP COLUMN generation, ADD PRIMARY KEY (pipeline, key);
		INSERT INTO wal2vec.dead_letter (pipeline, key, epoch, lsn, text_hash, reason) VALUES ('product', '{2}', 1, '0/1', decode(repeat('00', 16), 'hex'), 'why');
		INSERT INTO wal2vec.backfill (pipeline, mode, started_epoch, started_lsn) SELECT name, 'incremental', epoch, watermark FROM wal2vec.pipeline`)
	if st, found, err := b.sink.Registered(t.Context()); err != nil || !found || !st.Started() || st.Generation == nil || st.Generation.HashColumn != "text_hash" {
		t.Fatalf("registered %+v, %v, %v", st, found, err)
	}
	plan, err := b.sink.Plan(t.Context(), productPipeline(), generation(dimension))
	b.ok(err)
	b.ok(b.sink.Rehearse(t.Context(), plan))
	b.ok(b.sink.Migrate(t.Context()))
	if g := b.state().Generation; g == nil || g.ID != 1 || g.ActivatedAt.IsZero() || g.Precision != "auto" {
		t.Errorf("generation %+v", g)
	}
	if n := pgtest.One[int](t, b.db, "SELECT generation FROM wal2vec.dead_letter"); n != 1 {
		t.Errorf("the letter is of generation %d", n)
	}
	if j := b.job(everything); !j.Resumed() {
		t.Error("the job is another one")
	}
}
