package sink_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// beforeOwnLetters takes the schema back to version 7, in which dead letters were partitions of one
// table.
const beforeOwnLetters = `DELETE FROM wal2vec.schema_version
		WHERE version >= (SELECT version FROM wal2vec.schema_version WHERE name LIKE '%own_letters');
	ALTER TABLE wal2vec.pipeline DROP COLUMN last_lsn, DROP COLUMN last_xid, DROP COLUMN last_committed_at; ALTER TABLE wal2vec.stream_state DROP COLUMN gap;
	ALTER TABLE wal2vec.pipeline DROP CONSTRAINT pipeline_texts, DROP CONSTRAINT pipeline_epochs;
	ALTER TABLE wal2vec.generation DROP CONSTRAINT generation_precisions, DROP COLUMN template_rule;
	ALTER TABLE wal2vec.backfill DROP CONSTRAINT backfill_cursor, DROP CONSTRAINT backfill_times;
	ALTER TABLE wal2vec.stream_state DROP CONSTRAINT stream_state_times;
	ALTER TABLE wal2vec.shape DROP CONSTRAINT shape_marks;
	CREATE TABLE wal2vec.dead_letter (
		pipeline text NOT NULL REFERENCES wal2vec.pipeline, key text[] NOT NULL, generation integer NOT NULL, epoch bigint NOT NULL,
		lsn pg_lsn NOT NULL, text_hash bytea NOT NULL CHECK (length(text_hash) = 16), reason text NOT NULL, attempts integer NOT NULL DEFAULT 1,
		first_at timestamptz NOT NULL DEFAULT now(), last_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (pipeline, key, generation)
	) PARTITION BY LIST (pipeline);
	ALTER TABLE wal2vec.dead_letter ENABLE ROW LEVEL SECURITY;
	DO $$ DECLARE one text; BEGIN
		FOR one IN SELECT name FROM wal2vec.pipeline LOOP
			EXECUTE format('ALTER INDEX wal2vec.%I RENAME TO %I', 'pkey_ledger_' || one, 'ledger_' || one || '_pkey');
			EXECUTE format('ALTER INDEX wal2vec.%I RENAME TO %I', 'tombstones_' || one, 'ledger_' || one || '_dead');
			EXECUTE format('DROP INDEX wal2vec.%I', 'key_dead_letter_' || one);
			EXECUTE format('ALTER TABLE wal2vec.%I DROP CONSTRAINT %I, ADD PRIMARY KEY (pipeline, key, generation)', 'dead_letter_' || one, 'pkey_dead_letter_' || one);
			EXECUTE format('ALTER TABLE wal2vec.%I DROP CONSTRAINT letter_pipeline, DROP CONSTRAINT letter_key, DROP CONSTRAINT letter_reason,
				DROP CONSTRAINT letter_counts, DROP CONSTRAINT letter_times', 'dead_letter_' || one);
			EXECUTE format('ALTER TABLE wal2vec.%I RENAME CONSTRAINT %I TO dead_letter_text_hash_check', 'dead_letter_' || one,
				'dead_letter_' || one || '_text_hash_check');
			EXECUTE format('ALTER TABLE wal2vec.dead_letter ATTACH PARTITION wal2vec.%I FOR VALUES IN (%L)', 'dead_letter_' || one, one);
		END LOOP;
	END $$;`

// beforeRights takes the schema back to version 6, in which rights were given by schema.
const beforeRights = beforeOwnLetters + `DELETE FROM wal2vec.schema_version WHERE version >= 7;
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
	b.job(everything)
	if n := pgtest.One[int](t, b.db, "SELECT count(*) FROM wal2vec.backfill"); n != 1 {
		t.Error("the job is another one")
	}
}

// TestAWriterMovesTheColumnsThatCame: a role that was given a pipeline by an older version keeps it
// when init has brought the schema up to date.
func TestAWriterMovesTheColumnsThatCame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role, secret := b.db.Role(t, "")
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: role, Access: sink.Write}))
	b.db.Exec(t, `DELETE FROM wal2vec.schema_version
			WHERE version >= (SELECT version FROM wal2vec.schema_version WHERE name LIKE '%last_transaction');
		ALTER TABLE wal2vec.generation DROP COLUMN template_rule;
		ALTER TABLE wal2vec.pipeline DROP COLUMN last_lsn, DROP COLUMN last_xid, DROP COLUMN last_committed_at;
		ALTER TABLE wal2vec.stream_state DROP COLUMN gap`)
	b.ok(b.sink.Migrate(t.Context()))
	b.sink = b.as(role, secret)
	place, err := b.sink.Place(t.Context())
	if err != nil || place.Last != (change.Transaction{}) {
		t.Errorf("place %+v, %v", place, err)
	}
	last := change.Transaction{LSN: 0x1102, XID: 7, CommitTime: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)}
	b.ok(b.takeover().Commit(t.Context(), change.Commit{Watermark: 0x1200, Last: last}))
	if place, err = b.sink.Place(t.Context()); err != nil || !place.Last.Is(last) || place.Watermark != 0x1200 {
		t.Errorf("place %+v, %v", place, err)
	}
	last.LSN, last.XID = 0x1202, 8
	b.ok(b.takeover().Commit(t.Context(), change.Commit{Watermark: 0x1280, Last: last}))
	b.ok(b.takeover().Commit(t.Context(), change.Commit{Watermark: 0x1300}))
	if place, err = b.sink.Place(t.Context()); err != nil || !place.Last.Is(last) || place.Watermark != 0x1300 {
		t.Errorf("after a position: place %+v, %v", place, err)
	}
}

// R16: a new slot begins a new history.
func TestANewSlotHasNoTransactionYet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ok(b.takeover().Commit(t.Context(), change.Commit{Watermark: 0x1200, Last: change.Transaction{LSN: 0x1102, XID: 7, CommitTime: time.Unix(1, 0)}}))
	begun := b.start(true)
	if place, err := b.sink.Place(t.Context()); err != nil || place.Last != (change.Transaction{LSN: begun.LSN}) {
		t.Errorf("place %+v, %v", place, err)
	}
}

// TestRightsThatWereGivenBySchemaBecomeRightsByTable: init brings a schema up to date in which
// roles could do everything.
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
	// What it may write of rows chooses nothing: neither another pipeline's view nor which of its
	// tables there are, and a view of its own is none of ours.
	b.db.Exec(t, "CREATE SCHEMA mine AUTHORIZATION "+streamer)
	b.plant(account{streamer, streamerSecret}, "UPDATE wal2vec.pipeline SET view_schema = 'analytics_features', view_name = 'product_embeddings' WHERE name = 'other'",
		"UPDATE wal2vec.generation SET state = 'retired' WHERE pipeline = 'other'",
		"CREATE VIEW mine.of_the_other AS SELECT 1 AS i FROM wal2vec.vectors_other_1", "GRANT SELECT ON mine.of_the_other TO "+reader)
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
	found, err := b.as(reader, readerSecret).NewSearcher().Search(t.Context(), sink.Query{Vector: vectorOf(dimension, one.Document.Hash), K: 1})
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

// TestLettersThatWerePartitionsBecomeTables: rights, rows and names of what was there come along,
// and what roles had on the parent is gone.
func TestLettersThatWerePartitionsBecomeTables(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.beside()
	streamer, streamerSecret := b.db.Role(t, "")
	reader, readerSecret := b.db.Role(t, "")
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: streamer, Access: sink.Write}))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: reader, Access: sink.Read}))
	want := indexesOf(t, b.db)
	b.db.Exec(t, beforeOwnLetters)
	b.db.Exec(t, "GRANT SELECT ON wal2vec.dead_letter TO "+streamer+", "+reader)
	b.db.Exec(t, oneLetter)
	// A row that no command can read does not keep the schema from being brought up to date.
	b.db.Exec(t, strings.Replace(oneLetter, "'{2}'", "'{NULL}'", 1))
	plan, err := b.sink.Plan(t.Context(), productPipeline(), generation(dimension))
	b.ok(err)
	b.ok(b.sink.Rehearse(t.Context(), plan))
	b.ok(b.sink.Migrate(t.Context()))
	if again, err := b.sink.Plan(t.Context(), productPipeline(), generation(dimension)); err != nil || !slices.Equal(again, nil) {
		t.Errorf("init would still run %q, %v", again, err)
	}
	if got := indexesOf(t, b.db); !slices.Equal(got, want) {
		t.Errorf("indexes are %q, new ones %q", got, want)
	}
	if left := pgtest.One[int](t, b.db, "SELECT count(*)::int FROM pg_class WHERE relnamespace = 'wal2vec'::regnamespace AND (relkind IN ('p', 'I') OR relispartition)"); left != 0 {
		t.Errorf("%d partitions are left", left)
	}
	if foreign := pgtest.One[int](t, b.db, "SELECT count(*)::int FROM pg_constraint WHERE conrelid = 'wal2vec.dead_letter_other'::regclass AND contype = 'f'"); foreign != 0 {
		t.Errorf("%d references are left", foreign)
	}
	if n := pgtest.One[int](t, b.db, "SELECT count(*)::int FROM wal2vec.dead_letter_product"); n != 2 {
		t.Errorf("%d letters", n)
	}
	b.db.Exec(t, "DELETE FROM wal2vec.dead_letter_product WHERE key[1] IS NULL")
	b.worksAs(streamer, streamerSecret, reader, readerSecret)
	b.ok(other.sink.Teardown(t.Context()))
	b.ok(b.sink.Teardown(t.Context()))
}

// indexesOf are the names of the indexes of wal2vec's tables, with their tables.
func indexesOf(tb testing.TB, db *pgtest.DB) []string {
	tb.Helper()
	return pgtest.Column[string](tb, db, "SELECT tablename || ' ' || indexname FROM pg_indexes WHERE schemaname = 'wal2vec' ORDER BY 1")
}

// TestVectorsAndLettersGetRoomForLongKeys: those of an older version, beside a pipeline whose keys
// are numbers, which keeps its index as it is.
func TestVectorsAndLettersGetRoomForLongKeys(t *testing.T) {
	t.Parallel()
	p := productPipeline()
	p.Table.Key = []change.Column{{Name: "nr", Type: "integer"}, {Name: `co"de`, Type: "character varying(4000)"}}
	b := setupWith(t, p, generation(dimension))
	b.beside()
	const definitions = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'wal2vec' ORDER BY 1"
	want := pgtest.Column[string](t, b.db, definitions)
	b.db.Exec(t, `DELETE FROM wal2vec.schema_version WHERE version >= (SELECT version FROM wal2vec.schema_version WHERE name LIKE '%wide_keys');
		ALTER TABLE wal2vec.stream_state DROP COLUMN gap;
		ALTER TABLE wal2vec.vectors_product_1 DROP CONSTRAINT vectors_product_1_pkey, ADD PRIMARY KEY (nr, "co""de") INCLUDE (text_hash)`)
	for _, one := range []string{"product", "other"} {
		b.db.Exec(t, "DROP INDEX wal2vec.key_dead_letter_"+one+"; ALTER TABLE wal2vec.dead_letter_"+one+" DROP CONSTRAINT pkey_dead_letter_"+one+
			", ADD CONSTRAINT pkey_dead_letter_"+one+" PRIMARY KEY (pipeline, key, generation), REPLICA IDENTITY DEFAULT")
	}
	const file = "SELECT pg_relation_filenode('wal2vec.vectors_other_1_pkey')::text"
	kept := pgtest.One[string](t, b.db, file)
	b.ok(b.sink.Migrate(t.Context()))
	if got := pgtest.Column[string](t, b.db, definitions); !slices.Equal(got, want) {
		t.Errorf("indexes are %q, new ones %q", got, want)
	}
	const identities = "SELECT DISTINCT relreplident::text FROM pg_class WHERE oid IN ('wal2vec.dead_letter_product'::regclass, 'wal2vec.dead_letter_other'::regclass)"
	if got := pgtest.Column[string](t, b.db, identities); !slices.Equal(got, []string{"f"}) {
		t.Errorf("replica identities of the letters are %q", got)
	}
	if !slices.ContainsFunc(want, func(d string) bool {
		return strings.Contains(d, "vectors_other_1_pkey") && strings.Contains(d, "INCLUDE (text_hash)")
	}) {
		t.Errorf("the vectors of numbers have no hash in their index: %q", want)
	}
	if is := pgtest.One[string](t, b.db, file); is != kept {
		t.Error("the index of a pipeline whose keys are numbers was built again")
	}
	text := pgtest.One[string](t, b.db, "SELECT string_agg(md5(g::text), '') FROM generate_series(1, 90) AS g")
	one := change.Change{Key: change.KeyOf("7", text[:2688]), LSN: 0x1101, Document: change.NewDocument("one")}
	b.commit(b.takeover(), 0x1200, one)
	if counts, err := b.sink.Counts(t.Context()); err != nil || counts.Fresh != 1 {
		t.Errorf("counts %+v, %v", counts, err)
	}
}
