package sink_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// beforeRights takes the schema back to version 6, in which rights were given by schema.
const beforeRights = `DELETE FROM wal2vec.schema_version WHERE version >= 7;
	ALTER TABLE wal2vec.pipeline DROP CONSTRAINT pipeline_slot, DROP COLUMN slot_name;
	DROP TABLE wal2vec.dead_letter;
	CREATE TABLE wal2vec.dead_letter (
		pipeline text NOT NULL REFERENCES wal2vec.pipeline, key text[] NOT NULL, epoch bigint NOT NULL, lsn pg_lsn NOT NULL,
		text_hash bytea NOT NULL CHECK (length(text_hash) = 16), reason text NOT NULL, attempts integer NOT NULL DEFAULT 1,
		first_at timestamptz NOT NULL DEFAULT now(), last_at timestamptz NOT NULL DEFAULT now(), generation integer NOT NULL,
		PRIMARY KEY (pipeline, key, generation)
	);
	DO $$ DECLARE shared text; BEGIN
		FOREACH shared IN ARRAY ARRAY['pipeline', 'generation', 'stream_state', 'backfill', 'shape'] LOOP
			EXECUTE format('ALTER TABLE wal2vec.%I DISABLE ROW LEVEL SECURITY', shared);
			EXECUTE format('DROP POLICY readers ON wal2vec.%I', shared);
			EXECUTE format('DROP POLICY writers ON wal2vec.%I', shared);
		END LOOP;
	END $$`

const oneLetter = `INSERT INTO wal2vec.dead_letter (pipeline, key, generation, epoch, lsn, text_hash, reason)
	VALUES ('product', '{2}', 1, 1, '0/1', decode(repeat('00', 16), 'hex'), 'why')`

// TestASchemaBeforeGenerationsIsBroughtUpToDate: what init looks at before it migrates is there.
func TestASchemaBeforeGenerationsIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	// As migration 3 left it, with a dead letter and an open job.
	b.db.Exec(t, beforeRights)
	b.db.Exec(t, oneLetter)
	b.db.Exec(t, `DELETE FROM wal2vec.schema_version WHERE version >= 4; DROP TABLE wal2vec.shape;
		ALTER TABLE wal2vec.generation DROP COLUMN source, DROP COLUMN hash_column, DROP COLUMN precision, DROP COLUMN activated_at,
			ADD CONSTRAINT generation_precisions_check CHECK (precisions IS NOT NULL);
		ALTER TABLE wal2vec.backfill DROP COLUMN generation, DROP COLUMN swap;
		ALTER TABLE wal2vec.dead_letter DROP COLUMN generation, ADD PRIMARY KEY (pipeline, key);
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
	if n := pgtest.One[int](t, b.db, "SELECT generation FROM wal2vec.dead_letter_product"); n != 1 {
		t.Errorf("the letter is of generation %d", n)
	}
	if j := b.job(everything); !j.Resumed() {
		t.Error("the job is another one")
	}
}

// TestRightsThatWereGivenBySchemaBecomeRightsByTable: init brings a schema up to date in which roles could do everything.
func TestRightsThatWereGivenBySchemaBecomeRightsByTable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.beside()
	b.db.Exec(t, beforeRights)
	b.db.Exec(t, oneLetter)
	streamer, streamerSecret := b.db.Role(t, "")
	reader, readerSecret := b.db.Role(t, "")
	for role, rights := range map[string]string{streamer: "SELECT, INSERT, UPDATE, DELETE", reader: "SELECT"} {
		b.db.Exec(t, "GRANT USAGE ON SCHEMA wal2vec TO "+role)
		b.db.Exec(t, "GRANT "+rights+" ON ALL TABLES IN SCHEMA wal2vec TO "+role)
		b.db.Exec(t, "ALTER DEFAULT PRIVILEGES IN SCHEMA wal2vec GRANT "+rights+" ON TABLES TO "+role)
	}
	b.db.Exec(t, "GRANT SELECT ON "+viewName+" TO "+streamer+", "+reader+"; GRANT SELECT ON wal2vec.ledger_other, wal2vec.vectors_other_1 TO PUBLIC")
	plan, err := b.sink.Plan(t.Context(), productPipeline(), generation(dimension))
	b.ok(err)
	b.ok(b.sink.Rehearse(t.Context(), plan))
	regrants, err := b.sink.Regranted(t.Context())
	b.ok(err)
	what := map[string]sink.Access{} // who keeps what, in the words that init prints
	for _, r := range regrants {
		what[r.Pipeline+" "+r.Role] = r.Access
	}
	want := map[string]sink.Access{
		"product " + streamer: sink.Write, "product " + reader: sink.Read, "other " + streamer: sink.Nothing, "other " + reader: sink.Nothing, "other ": sink.Nothing,
	}
	if !maps.Equal(what, want) {
		t.Errorf("told is %v, want %v", what, want)
	}
	b.ok(b.sink.Migrate(t.Context()))
	if again, err := b.sink.Regranted(t.Context()); err != nil || len(again) > 0 {
		t.Errorf("afterwards %v, %v", again, err)
	}
	for role, secret := range map[string]string{streamer: streamerSecret, reader: readerSecret} {
		conn := b.conn(role, secret)
		b.denied(conn, "SELECT FROM wal2vec.ledger_other", "SELECT FROM wal2vec.vectors_other_1", "SELECT FROM wal2vec.dead_letter_other")
		b.untouched(conn, "SELECT FROM wal2vec.pipeline WHERE name = 'other'")
	}
	if n := pgtest.One[int](t, b.db, "SELECT count(*)::int FROM pg_default_acl"); n != 0 {
		t.Errorf("%d default privileges are left", n)
	}
	old := b.sink
	b.sink = b.as(streamer, streamerSecret)
	one := upsert(1, 0x1101, "one")
	b.commit(b.takeover(), 0x1200, one)
	letters, err := b.sink.DeadLetters(t.Context(), 0)
	if err != nil || len(letters) != 1 || letters[0].Key != change.KeyOf("2") {
		t.Errorf("letters %+v, %v", letters, err)
	}
	b.denied(b.conn(streamer, streamerSecret), "INSERT INTO wal2vec.schema_version VALUES (99, 'x')", "UPDATE wal2vec.pipeline SET key_types = '{text}'")
	found, err := b.as(reader, readerSecret).Search(t.Context(), sink.Query{Vector: vectorOf(dimension, one.Document.Hash), K: 1})
	if err != nil || len(found.Hits) != 1 {
		t.Errorf("found %+v, %v", found, err)
	}
	b.sink = old
	b.db.Exec(t, "CREATE TABLE wal2vec.later (i integer)")
	b.denied(b.conn(reader, readerSecret), "SELECT FROM wal2vec.later")
	if again, err := b.sink.Plan(t.Context(), productPipeline(), generation(dimension)); err != nil || !slices.Equal(again, nil) {
		t.Errorf("init would still run %q, %v", again, err)
	}
}
