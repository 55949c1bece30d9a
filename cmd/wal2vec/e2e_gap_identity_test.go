package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/doctor"
)

const (
	// moveIdentity moves the table's identity to an index without the key, and back.
	moveIdentity = "ALTER TABLE " + product + " REPLICA IDENTITY USING INDEX by_number"
	// otherKey is a primary key without the key, beside a unique index on that.
	otherKey = "ALTER TABLE " + product + " DROP CONSTRAINT dim_product_pkey, ADD PRIMARY KEY (number)"
	theKey   = "ALTER TABLE " + product + " DROP CONSTRAINT dim_product_pkey, ADD PRIMARY KEY (product_id)"
)

// numbered gives the table a second column that tells its rows apart.
func numbered(more ...string) func(t *testing.T, w *gapWorld) {
	return func(t *testing.T, w *gapWorld) {
		t.Helper()
		w.db.Exec(t, "ALTER TABLE "+product+" ADD number bigint GENERATED ALWAYS AS IDENTITY")
		w.db.Exec(t, "CREATE UNIQUE INDEX by_number ON "+product+" (number); CREATE UNIQUE INDEX by_id ON "+product+" (product_id)")
		for _, statement := range more {
			w.db.Exec(t, statement)
		}
	}
}

// unidentified spoils a pipeline by changes under an identity that is taken back before the stream
// runs again.
func unidentified(move, change, back string) func(t *testing.T, w *gapWorld) {
	return func(t *testing.T, w *gapWorld) {
		t.Helper()
		for _, statement := range []string{move, change, back} {
			w.db.Exec(t, statement)
		}
		w.edit(t, 1)
	}
}

// lostIdentities are found in the log alone, for good.
func lostIdentities() []gap {
	const (
		deletes = "DELETE FROM " + product + " WHERE product_id = 15"
		renames = "UPDATE " + product + " SET product_id = 6015 WHERE product_id = 15"
		back    = "ALTER TABLE " + product + " REPLICA IDENTITY DEFAULT"
		full    = "ALTER TABLE " + product + " REPLICA IDENTITY FULL"
	)
	return []gap{
		{name: "a delete under another index", says: "carries no value of key column", first: numbered(), byLog: true, encoded: 3, spoil: unidentified(moveIdentity, deletes, back)},
		{name: "another key under another index", says: "did not hold the key", first: numbered(), byLog: true, encoded: 3, spoil: unidentified(moveIdentity, renames, back)},
		{
			name: "another key and number under another index", says: "carries no value of key column", first: numbered(),
			byLog: true, encoded: 3, spoil: unidentified(moveIdentity, strings.Replace(renames, "SET", "SET number = DEFAULT,", 1), back),
		},
		{name: "a delete under another primary key", says: "carries no value of key column", first: numbered(), byLog: true, encoded: 3, spoil: unidentified(otherKey, deletes, theKey)},
		{name: "another key under another primary key", says: "did not hold the key", first: numbered(), byLog: true, encoded: 3, spoil: unidentified(otherKey, renames, theKey)},
		{
			name: "a delete under the default identity", says: "carries no value of key column", first: numbered(otherKey, full),
			byLog: true, encoded: 3, spoil: unidentified(back, deletes, full),
		},
		{
			name: "another key under the default identity", says: "did not hold the key", first: numbered(otherKey, full),
			byLog: true, encoded: 3, spoil: unidentified(back, renames, full),
		},
	}
}

// TestAnIdentityThatDoesNotHoldTheKeyIsRefused at the start, whatever on_gap says, until it is put
// right; doctor says so. What a server lets happen to a table without any identity is no gap.
func TestAnIdentityThatDoesNotHoldTheKeyIsRefused(t *testing.T) {
	t.Parallel()
	w := newGapWorld(t, gap{first: numbered()})
	w.db.Exec(t, moveIdentity)
	w.db.Exec(t, "DELETE FROM "+product+" WHERE product_id = 15")
	for _, command := range [][]string{{"stream", "--until-current"}, {"init"}, {"init", "--resync"}} {
		for _, env := range [][]string{nil, {resyncOnGap}} {
			w.refuses(t, refusal{env: env, args: command, code: 2, says: []string{"replica identity"}, try: "REPLICA IDENTITY USING INDEX"})
		}
	}
	found := w.finds(w.doctor(3, nil), "table.identity", doctor.Fail)
	fix, _, _ := strings.Cut(found.Fix, " -- ")
	w.db.Exec(t, fix)
	w.refuses(t, refusal{args: []string{"stream", "--until-current"}, code: 6, says: []string{"carries no value"}, try: "wal2vec init --resync"})
	w.run("init", "--resync")
	w.run("backfill")
	w.run("stream", "--until-current")
	w.checkPair(w.products)

	w.db.Exec(t, "ALTER TABLE "+product+" REPLICA IDENTITY NOTHING")
	if _, err := w.db.Conn(t).Exec(t.Context(), "DELETE FROM "+product+" WHERE product_id = 16"); err == nil {
		t.Error("a row of a published table without an identity was deleted")
	}
	w.db.Exec(t, "TRUNCATE "+product)
	w.db.Exec(t, "INSERT INTO "+product+" (product_id, name) VALUES (1, 'new')")
	w.db.Exec(t, "ALTER TABLE "+product+" REPLICA IDENTITY DEFAULT")
	w.run("stream", "--until-current")
	w.checkPair(w.products)
}

// TestARunningStreamResyncsAfterAnIdentityThatDidNotHoldTheKey: and goes on behind it.
func TestARunningStreamResyncsAfterAnIdentityThatDidNotHoldTheKey(t *testing.T) {
	t.Parallel()
	w := newGapWorld(t, gap{first: numbered()})
	stream := w.start([]string{resyncOnGap}, "stream")
	stream.waitFor(`"message":"streaming"`)
	w.db.Exec(t, fmt.Sprintf("BEGIN; %s; DELETE FROM %s WHERE product_id = 15; ALTER TABLE %[2]s REPLICA IDENTITY DEFAULT; COMMIT", moveIdentity, product))
	stream.waitFor("refresh complete")
	w.edit(t, 2)
	w.settle()
	w.checkPair(w.products)
	stream.stop()
	w.run("stream", "--until-current")
	w.checkPair(w.products)
}

// TestAPartitionsIdentityThatDidNotHoldTheKey: a DELETE of it is a gap. Of an UPDATE the log tells
// nothing, since it describes the whole table: the catalogue does, and a refresh follows.
func TestAPartitionsIdentityThatDidNotHoldTheKey(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"a delete":    "DELETE FROM public.part WHERE product_id = 15",
		"another key": "UPDATE public.part SET product_id = 16 WHERE product_id = 15",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newGapWorld(t, gap{})
			w.db.Exec(t, "CREATE TABLE public.part (LIKE "+product+", number bigint NOT NULL, PRIMARY KEY (product_id)) PARTITION BY RANGE (product_id)")
			w.db.Exec(t, `CREATE TABLE public.part_1 PARTITION OF public.part FOR VALUES FROM (1) TO (100); CREATE UNIQUE INDEX part_1_number ON public.part_1 (number);
				CREATE TABLE public.part_2 PARTITION OF public.part FOR VALUES FROM (100) TO (200)`)
			w.db.Exec(t, "INSERT INTO public.part (product_id, name, number, deleted, updated_at) SELECT 5 * n, 'row ' || n, n * 1, false, now() FROM generate_series(1, 30) n")
			parts := pair{pipeline: w.db.Name + "_p", table: "public.part", key: []string{"product_id"}}
			w.env = append(w.env, set(map[string]string{
				"pipeline": parts.pipeline, "source.table": "public.part", "source.slot": "wal2vec_" + parts.pipeline,
				"source.publication": "wal2vec_" + parts.pipeline, "sink.view": "analytics_features.part_embeddings",
			})...)
			w.run("init")
			w.run("backfill")
			w.run("stream", "--until-current")
			w.db.Exec(t, "ALTER TABLE public.part_1 REPLICA IDENTITY USING INDEX part_1_number")
			w.db.Exec(t, change)
			w.refuses(t, refusal{args: []string{"stream", "--until-current"}, code: 2, says: []string{"replica identity", "part_1"}, try: "REPLICA IDENTITY FULL"})
			w.db.Exec(t, "ALTER TABLE public.part_1 REPLICA IDENTITY DEFAULT")
			if strings.HasPrefix(change, "DELETE") {
				w.refuses(t, refusal{args: []string{"stream", "--until-current"}, code: 6, says: []string{"carries no value"}, try: "wal2vec init --resync"})
			}
			got := w.ends([]string{resyncOnGap}, "", "stream", "--until-current")
			if got.code != 0 || !strings.Contains(got.stderr, "refresh complete") {
				t.Errorf("exit code %d\n%s", got.code, got.stderr)
			}
			w.checkPair(parts)
		})
	}
}
