package replication_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// TestAPublicationNotesWhoReadsIt: each pipeline by its slot, beside what people and the swap
// function write into the comment.
func TestAPublicationNotesWhoReadsIt(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	table, conn := inspected(t, db), db.Conn(t)
	oid := pgtest.One[string](t, db, "SELECT 'item'::regclass::oid::text")
	slot := func(name string) string { return slotName(db) + name } // unique on the server
	for _, name := range []string{"a", "b"} {
		db.Exec(t, "SELECT pg_create_logical_replication_slot('"+slot(name)+"', 'pgoutput')")
	}
	comment := func(what string, lines ...string) {
		t.Helper()
		got := pgtest.One[string](t, db, "SELECT coalesce(obj_description(oid, 'pg_publication'), '') FROM pg_publication")
		if want := strings.Join(lines, "\n"); got != want {
			t.Errorf("%s: the comment is %q, want %q", what, got, want)
		}
	}
	use := func(pipeline, name string) replication.Use {
		return replication.Use{Pipeline: pipeline, Slot: slot(name)}
	}
	ensure := func(what string, u replication.Use) error {
		t.Helper()
		err := replication.EnsurePublication(t.Context(), conn, "pub", table, u)
		if err != nil && fault.KindOf(err) != fault.Usage {
			t.Fatalf("%s: %v", what, err)
		}
		return err
	}
	must := func(what string, u replication.Use) {
		t.Helper()
		if err := ensure(what, u); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	tables, ofA := "wal2vec tables: "+oid, slot("a")+"=one"
	must("the first", use("one", "a"))
	comment("the first", "wal2vec slots: "+ofA, tables)
	db.Exec(t, fmt.Sprintf("COMMENT ON PUBLICATION pub IS E'of the mart\\nwal2vec slots: %s\\nwal2vec tables: %s'", ofA, oid))
	must("again", use("one", "a"))
	comment("again", "of the mart", "wal2vec slots: "+ofA, tables)
	if err := ensure("another", use("one", "b")); err == nil || !strings.Contains(err.Error(), "pipeline one of another sink or schema, which reads it by slot "+slot("a")) {
		t.Errorf("another: %v", err)
	}
	comment("another", "of the mart", "wal2vec slots: "+ofA, tables)

	// One that shares it, and gets another slot.
	shared := use("two", "b")
	shared.Shared = true
	must("one that shares it", shared)
	comment("one that shares it", "of the mart", "wal2vec slots: "+ofA+" "+slot("b")+"=two", tables)
	must("the first, which is noted", use("one", "a"))
	renamed := use("two", "c")
	renamed.Shared, renamed.Former = true, slot("b")
	must("another slot", renamed)
	comment("another slot", "of the mart", "wal2vec slots: "+ofA+" "+slot("c")+"=two", tables)

	// Who may not write the comment of a publication that carries the table already notes nothing;
	// its member does.
	publisher, _ := db.Role(t, "")
	admin, _ := db.Role(t, "")
	db.Exec(t, "GRANT CREATE ON DATABASE "+db.Name+" TO "+publisher+"; GRANT USAGE, CREATE ON SCHEMA public TO "+publisher+"; ALTER TABLE item OWNER TO "+publisher+
		"; ALTER PUBLICATION pub OWNER TO "+publisher)
	if _, err := conn.Exec(t.Context(), "SET ROLE "+admin); err != nil {
		t.Fatal(err)
	}
	shared = use("three", "d")
	shared.Shared = true
	must("who is no member", shared)
	comment("who is no member", "of the mart", "wal2vec slots: "+ofA+" "+slot("c")+"=two", tables)
	db.Exec(t, "GRANT "+publisher+" TO "+admin)
	must("a member", shared)
	comment("a member", "of the mart", "wal2vec slots: "+ofA+" "+slot("c")+"=two "+slot("d")+"=three", tables)

	for _, name := range []string{"c", "d"} {
		db.Exec(t, "SELECT pg_create_logical_replication_slot('"+slot(name)+"', 'pgoutput')")
	}
	removeUses(t, db, conn, [3]replication.Use{use("one", "a"), use("two", "c"), use("three", "d")}, func() { comment("two are gone", "of the mart", "wal2vec slots: "+ofA, tables) })
}

// TestANoteWithoutItsSlotKeepsNothing: the owner of a publication may note whatever he likes, the
// pipeline's own name too, and a dump brings the notes of another database.
func TestANoteWithoutItsSlotKeepsNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	conn, name := db.Conn(t), slotName(db)
	use := replication.Use{Pipeline: "one", Slot: name + "own"}
	remove := func() (removed replication.Removal, exists bool, comment string) {
		t.Helper()
		removed, err := replication.Remove(t.Context(), conn, replication.Removed{Use: use, Swap: replication.Swap{
			Publication: "pub", Table: items(t), Function: replication.SwapFunction("public", "one"),
		}})
		if err != nil {
			t.Fatal(err)
		}
		return removed, pgtest.One[bool](t, db, "SELECT EXISTS (SELECT FROM pg_publication)"),
			pgtest.One[string](t, db, "SELECT coalesce((SELECT obj_description(oid, 'pg_publication') FROM pg_publication), '')")
	}
	note := func(notes string) {
		t.Helper()
		if err := replication.EnsurePublication(t.Context(), conn, "pub", inspected(t, db), use); err != nil {
			t.Fatal(err)
		}
		db.Exec(t, "COMMENT ON PUBLICATION pub IS 'wal2vec slots: "+notes+"'")
	}
	ghost := name + "ghost"
	said := "by slot " + ghost + ", but there is no such slot"
	note(ghost + "=one " + use.Slot + "=one") // of the pipeline's name: it would keep function and rights, too
	if removed, exists, _ := remove(); exists || len(removed.Left) > 0 || len(removed.Gone) != 1 || !strings.Contains(removed.Gone[0], said) {
		t.Errorf("the publication stays: %v, %+v", exists, removed)
	}

	// Beside one that is there, the note goes.
	live := name + "live"
	db.Exec(t, "SELECT pg_create_logical_replication_slot('"+live+"', 'pgoutput')")
	note(ghost + "=two " + live + "=three " + use.Slot + "=one")
	removed, exists, comment := remove()
	if !exists || comment != "wal2vec slots: "+live+"=three" || len(removed.Gone) != 1 || !strings.Contains(removed.Gone[0], said) {
		t.Errorf("the publication stays: %v with the comment %q, %+v", exists, comment, removed)
	}
	if left := strings.Join(removed.Left, "\n"); !strings.Contains(left, live) || strings.Contains(left, ghost) {
		t.Errorf("left is said to be %q", left)
	}
}

// removeUses tears pipelines down: each takes its own note, and the last of them the publication.
func removeUses(t *testing.T, db *pgtest.DB, conn *pgx.Conn, uses [3]replication.Use, one func()) {
	t.Helper()
	remove := func(u replication.Use) replication.Removal {
		t.Helper()
		removed, err := replication.Remove(t.Context(), conn, replication.Removed{Use: u, Swap: replication.Swap{
			Publication: "pub", Table: items(t), Function: replication.SwapFunction("public", u.Pipeline),
		}})
		if err != nil {
			t.Fatal(err)
		}
		return removed
	}
	remove(uses[2])
	removed := remove(uses[1])
	one()
	if left := strings.Join(removed.Left, "\n"); !strings.HasPrefix(left, `publication "pub", which goes on as it is for pipeline one (slot `+uses[0].Slot+")") {
		t.Errorf("left is said to be %q", left)
	}
	remove(uses[0])
	if pgtest.One[bool](t, db, "SELECT EXISTS (SELECT FROM pg_publication)") {
		t.Error("the last teardown leaves the publication")
	}
}
