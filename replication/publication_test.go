package replication_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

func inspected(t *testing.T, db *pgtest.DB) change.Table {
	t.Helper()
	table, err := replication.Inspect(t.Context(), db.Conn(t), items(t))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestPublicationIsMadeOrMended(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	conn := db.Conn(t)
	db.Exec(t, itemTable+"; CREATE TABLE other (id int PRIMARY KEY)")
	table := inspected(t, db)
	f := func(name, ddl string, want ...string) {
		t.Helper()
		if len(want) > 0 {
			want = append(want, fmt.Sprintf(`COMMENT ON PUBLICATION "my ""pub""" IS 'wal2vec tables: %d'`, table.OID))
		}
		db.Exec(t, `DROP PUBLICATION IF EXISTS "my ""pub"""`)
		if ddl != "" {
			db.Exec(t, ddl)
		}
		got, err := replication.PublicationSQL(t.Context(), conn, `my "pub"`, table)
		if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		for range 2 { // the second time there is nothing left to do
			if err := replication.EnsurePublication(t.Context(), conn, `my "pub"`, table); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := replication.CheckPublication(t.Context(), conn, `my "pub"`, table); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("none", "", `CREATE PUBLICATION "my ""pub""" FOR TABLE ONLY "public"."item"`)
	f("of another table", `CREATE PUBLICATION "my ""pub""" FOR TABLE other`, `ALTER PUBLICATION "my ""pub""" ADD TABLE ONLY "public"."item"`)
	f("of the table", `CREATE PUBLICATION "my ""pub""" FOR TABLE item`)
	f("of all tables", `CREATE PUBLICATION "my ""pub""" FOR ALL TABLES`)
	if db.Host.Major() >= 15 {
		f("of the schema", `CREATE PUBLICATION "my ""pub""" FOR TABLES IN SCHEMA public`)
		f("with a list of all needed columns", `CREATE PUBLICATION "my ""pub""" FOR TABLE item (gone, id, body, name)`)
	}
}

// swapping is a connection on which something happens before its second query.
type swapping struct {
	replication.Querier
	happens func()
	queries int
}

func (s *swapping) QueryRow(ctx context.Context, statement string, args ...any) pgx.Row { //nolint:ireturn // as Querier has it
	if s.queries++; s.queries == 2 {
		s.happens()
	}
	return s.Querier.QueryRow(ctx, statement, args...)
}

// TestATableReplacedBetweenTwoLooks is one that was replaced, not one that the publication does not
// carry.
func TestATableReplacedBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable+"; CREATE TABLE next (LIKE item INCLUDING ALL); CREATE PUBLICATION pub FOR TABLE item")
	conn := &swapping{Querier: db.Conn(t), happens: func() {
		db.Exec(t, "BEGIN; DROP TABLE item; ALTER TABLE next RENAME TO item; COMMIT")
	}}
	err := replication.CheckPublication(t.Context(), conn, "pub", inspected(t, db))
	if _, swapped := errors.AsType[*replication.SwapError](err); !swapped {
		t.Errorf("got %v", err)
	}
}

func TestPublicationThatLeavesSomethingOutIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	conn := db.Conn(t)
	f := func(name, what string, ddl ...string) {
		t.Helper()
		db.Exec(t, "DROP PUBLICATION IF EXISTS pub; DROP TABLE IF EXISTS item CASCADE")
		for _, statement := range ddl {
			db.Exec(t, statement)
		}
		table := inspected(t, db)
		err := replication.EnsurePublication(t.Context(), conn, "pub", table)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), what) || !strings.Contains(fault.Try(err), "; -- or, where another program reads it") {
			t.Errorf("%s: got %v (try: %s)", name, err, fault.Try(err))
			return
		}
		if checked := replication.CheckPublication(t.Context(), conn, "pub", table); fault.KindOf(checked) != fault.Usage {
			t.Errorf("%s: at start: %v", name, checked)
		}
		db.Exec(t, fault.Try(err))
		if err := replication.CheckPublication(t.Context(), conn, "pub", table); err != nil {
			t.Errorf("%s: the advice does not help: %v", name, err)
		}
	}
	f("no delete", "delete", itemTable, "CREATE PUBLICATION pub FOR TABLE item WITH (publish = 'insert, update, truncate')")
	if db.Host.Major() >= 15 {
		f("row filter", "filters", itemTable, "CREATE PUBLICATION pub FOR TABLE item WHERE (id > 5)")
		f("column list", `"body"`, itemTable, "CREATE PUBLICATION pub FOR TABLE item (id, name, gone)")
	}
	f("partitions", "partitions", "CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, gone boolean) PARTITION BY RANGE (id)",
		"CREATE TABLE item_1 PARTITION OF item FOR VALUES FROM (0) TO (9)", "CREATE PUBLICATION pub FOR TABLE item")
	if db.Host.Major() >= 18 {
		f("generated column", `generated column "gone"`, strings.Replace(itemTable, "NOT NULL DEFAULT false", "GENERATED ALWAYS AS (name = '') STORED", 1),
			"CREATE PUBLICATION pub FOR TABLE item")
	}
}

// TestAnAdvicePublishesNothingElse: other tables stay as they are published, and no column is
// published that was left out; where that cannot be had, no statement is advised.
func TestAnAdvicePublishesNothingElse(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	conn := db.Conn(t)
	db.Exec(t, "CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, secret text, gone boolean NOT NULL DEFAULT false); "+
		"CREATE TABLE other (id int PRIMARY KEY, shown text, hidden text); CREATE TABLE third (id int PRIMARY KEY)")
	table := inspected(t, db)
	published := func() []string {
		return pgtest.Column[string](t, db, "SELECT tablename || ' ' || coalesce(to_jsonb(t) ->> 'attnames', '') || coalesce(' ' || (to_jsonb(t) ->> 'rowfilter'), '') "+
			"FROM pg_publication_tables AS t WHERE pubname = 'pub' ORDER BY 1")
	}
	const others = ", other (id, shown) WHERE (id > 5), third"
	listed := []string{`item ["id", "name", "body", "gone"]`, `other ["id", "shown"] (id > 5)`, `third ["id"]`}
	f := func(ddl string, want ...string) {
		t.Helper()
		db.Exec(t, "DROP PUBLICATION IF EXISTS pub; CREATE PUBLICATION pub FOR TABLE "+ddl)
		before := published()
		err := replication.EnsurePublication(t.Context(), conn, "pub", table)
		if fault.KindOf(err) != fault.Usage {
			t.Fatalf("%s: got %v", ddl, err)
		}
		if want == nil {
			want = before
			if try := fault.Try(err); !strings.HasPrefix(try, "name a publication of its own: source.publication") || strings.Contains(try, "ALTER") {
				t.Errorf("%s: try %s", ddl, try)
			}
		} else {
			db.Exec(t, fault.Try(err))
			if err := replication.CheckPublication(t.Context(), conn, "pub", table); err != nil {
				t.Errorf("%s: %v after %s", ddl, err, fault.Try(err))
			}
		}
		if got := published(); !slices.Equal(got, want) {
			t.Errorf("%s: it publishes %q, not %q", ddl, got, want)
		}
	}
	f("item, third WITH (publish = 'insert')")
	if db.Host.Major() < 15 { // there are neither lists nor filters
		return
	}
	f("item (id, name)"+others, listed...)
	f("item (id, name) WHERE (id > 7)"+others, listed...)
	f("item WHERE (id > 7), third", `item ["id", "name", "body", "secret", "gone"]`, `third ["id"]`)
	f("item (id, name), third WITH (publish = 'insert')")
}

// TestGeneratedColumns: those that the log carries come with it, the others are left to be read by
// key.
func TestGeneratedColumns(t *testing.T) {
	t.Parallel()
	read := change.Field{State: change.FieldUnchanged}
	f := func(kind string, body change.Field, ddl ...string) {
		t.Helper()
		ddl = append([]string{strings.Replace(itemTable, "body text", "body text GENERATED ALWAYS AS (upper(name)) "+kind, 1)}, ddl...)
		b := setup(t, pgtest.Database(t), items(t), ddl...)
		r := b.run(t, b.slot.ConsistentPoint)
		b.db.Exec(t, "INSERT INTO item (id, name) VALUES (1, 'a')")
		if got := events(r.until(t, b.now(t))); !reflect.DeepEqual(got, []change.Event{upsert("1", text("a"), body)}) {
			t.Errorf("%s %v: got %+v", kind, ddl, got)
		}
		if err := replication.NewSource(b.opts).CheckTable(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if pgtest.Major() < 18 {
		f("STORED", read)
		f("STORED", read, "CREATE PUBLICATION pub FOR TABLE item (id, name, gone)")
		return
	}
	f("STORED", text("A"))
	f("STORED", read, "CREATE PUBLICATION pub FOR TABLE item")
	f("STORED", text("A"), "CREATE PUBLICATION pub FOR TABLE item (id, name, body, gone)")
	f("VIRTUAL", read)
}

func TestPublicationOfAnotherOwnersTableNamesTheStatement(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, itemTable)
	table := inspected(t, db)
	role, _ := db.Role(t, "")
	conn := db.Conn(t)
	if _, err := conn.Exec(t.Context(), "SET ROLE "+role); err != nil {
		t.Fatal(err)
	}
	err := replication.EnsurePublication(t.Context(), conn, "pub", table)
	if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), "CREATE PUBLICATION") {
		t.Fatalf("got %v (try: %s)", err, fault.Try(err))
	}
}

// TestWhoMayPublishIsAskedFirst, and no role is to get the owner's rights by that.
func TestWhoMayPublishIsAskedFirst(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t).Database(t)
	db.Exec(t, `CREATE ROLE "o'; DROP TABLE item; --"; CREATE ROLE "my ""admin"; CREATE SCHEMA closed; CREATE TABLE closed.item (id int); CREATE TABLE supers (id int);
		ALTER TABLE closed.item OWNER TO "o'; DROP TABLE item; --"`)
	conn := db.Conn(t)
	if _, err := conn.Exec(t.Context(), `SET ROLE "my ""admin"`); err != nil {
		t.Fatal(err)
	}
	check := func(schema, table string) error {
		return replication.CheckPublisher(t.Context(), conn, "pub", schema, table)
	}
	err := check("closed", "item")
	found, is := errors.AsType[*replication.PublisherError](err)
	if fault.KindOf(err) != fault.Usage || !is || found.Owner != "o'; DROP TABLE item; --" || found.Role != `my "admin` || strings.Contains(fault.Try(err), "GRANT") {
		t.Fatalf("got %v (try: %s)", err, fault.Try(err))
	}
	for _, table := range []string{"none", "supers"} { // a superuser's rights are not to be given
		if err := check("public", table); err != nil {
			t.Errorf("%s: %v", table, err)
		}
	}
	db.Exec(t, "CREATE PUBLICATION pub FOR TABLE closed.item")
	if err := check("closed", "item"); err != nil {
		t.Errorf("published: %v", err)
	}
	db.Exec(t, `DROP PUBLICATION pub; GRANT "o'; DROP TABLE item; --" TO "my ""admin"`)
	if err := check("closed", "item"); err != nil {
		t.Errorf("with the owner's rights: %v", err)
	}
}

// TestAPublicationOfOtherTablesIsNotDropped: it is somebody's, though this pipeline streams through
// it.
func TestAPublicationOfOtherTablesIsNotDropped(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	conn := db.Conn(t)
	db.Exec(t, itemTable+"; CREATE TABLE other (id int PRIMARY KEY)")
	f := func(ddl string, wantKept bool, wantTables ...string) {
		t.Helper()
		db.Exec(t, "DROP PUBLICATION IF EXISTS pub")
		if ddl != "" {
			db.Exec(t, "CREATE PUBLICATION pub "+ddl)
		}
		removed, err := replication.Remove(t.Context(), conn, replication.Removed{Swap: replication.Swap{
			Publication: "pub", Table: items(t), Function: replication.SwapFunction("public", "none"),
		}})
		kept := len(removed.Left) > 0
		tables := pgtest.Column[string](t, db, "SELECT tablename::text FROM pg_publication_tables WHERE pubname = 'pub' ORDER BY 1")
		if there := pgtest.One[bool](t, db, "SELECT EXISTS (SELECT FROM pg_publication)"); err != nil || kept != wantKept || there != wantKept || !slices.Equal(tables, wantTables) {
			t.Errorf("%s: kept %v, it is there: %v, with %q, %v", ddl, kept, there, tables, err)
		}
	}
	f("", false)
	f("FOR TABLE item", false)
	f("FOR TABLE item, other", true, "other")
	f("FOR TABLE other", true, "other")
	f("FOR ALL TABLES", true, "item", "other")
	if db.Host.Major() >= 15 {
		f("FOR TABLES IN SCHEMA public", true, "item", "other")
	}
}

// TestWhatLeavesAPublicationIsNoRowsToSay: the object id of the old table comes from the pipeline's
// row, which a stream's role may write.
func TestWhatLeavesAPublicationIsNoRowsToSay(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	conn := db.Conn(t)
	db.Exec(t, itemTable+"; CREATE TABLE other (id int PRIMARY KEY); CREATE TABLE before (id int PRIMARY KEY)")
	oid := func(name string) uint32 { return pgtest.One[uint32](t, db, "SELECT $1::text::regclass::oid", name) }
	var publisher string
	check := func(what, was, want string) {
		t.Helper()
		got, owner, err := replication.UnpublishSQL(t.Context(), conn, "pub", oid(was), oid("item"))
		if err != nil || got != want || want != "" && owner != publisher {
			t.Errorf("%s: %q of %q, %v, want %q", what, got, owner, err, want)
		}
	}
	publisher, _ = db.Role(t, "")
	db.Exec(t, "CREATE PUBLICATION pub FOR TABLE item, before; GRANT CREATE ON DATABASE "+db.Name+" TO "+publisher+"; ALTER PUBLICATION pub OWNER TO "+publisher+
		"; ALTER TABLE before OWNER TO "+publisher+"; ALTER TABLE other OWNER TO "+publisher)
	check("its own publication", "before", `ALTER PUBLICATION "pub" DROP TABLE ONLY "public"."before"`)
	check("a table that is not there", "other", "")
	db.Exec(t, "ALTER PUBLICATION pub ADD TABLE other")
	check("another pipeline's table", "other", "")
	check("one that is not noted, among others", "before", "")
	db.Exec(t, fmt.Sprintf("COMMENT ON PUBLICATION pub IS 'wal2vec tables: %d'", oid("before")))
	check("one that is noted, among others", "before", `ALTER PUBLICATION "pub" DROP TABLE ONLY "public"."before"`)
	check("another pipeline's table, beside a note", "other", "")
}

// TestAPublicationOfAStrangerIsNotAdopted: its owner could take the table out of it again.
func TestAPublicationOfAStrangerIsNotAdopted(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t).Database(t)
	db.Exec(t, itemTable+"; CREATE ROLE stranger; CREATE ROLE mart_owner; CREATE ROLE admin; CREATE ROLE swapping; GRANT mart_owner TO admin, swapping; "+
		"GRANT CREATE ON DATABASE "+db.Name+" TO stranger, mart_owner, admin, swapping; ALTER TABLE item OWNER TO mart_owner; SET ROLE stranger; CREATE PUBLICATION pub; RESET ROLE")
	table := inspected(t, db)
	conn := db.Conn(t)
	carries := func() bool {
		return pgtest.One[bool](t, db, "SELECT EXISTS (SELECT FROM pg_publication_rel)")
	}
	for _, as := range []string{"RESET ROLE", "SET ROLE admin"} {
		if _, err := conn.Exec(t.Context(), as); err != nil {
			t.Fatal(err)
		}
		err := replication.EnsurePublication(t.Context(), conn, "pub", table)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), `belongs to role "stranger"`) || carries() {
			t.Fatalf("%s: got %v; it carries the table: %v", as, err, carries())
		}
		if !strings.HasPrefix(fault.Try(err), `ALTER PUBLICATION "pub" OWNER TO "mart_owner";`) {
			t.Errorf("the advice is %q", fault.Try(err))
		}
	}
	// The table in it makes it no less the stranger's.
	db.Exec(t, "ALTER PUBLICATION pub ADD TABLE item")
	if err := replication.EnsurePublication(t.Context(), conn, "pub", table); fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
	// One that carries other tables is not for the owner of this one to get.
	db.Exec(t, "CREATE TABLE others (id int PRIMARY KEY); ALTER PUBLICATION pub ADD TABLE others")
	if err := replication.EnsurePublication(t.Context(), conn, "pub", table); fault.KindOf(err) != fault.Usage || strings.Contains(fault.Try(err), "OWNER") {
		t.Errorf("got %v (try: %s)", err, fault.Try(err))
	}
	db.Exec(t, "ALTER PUBLICATION pub DROP TABLE others")
	for _, owner := range []string{"mart_owner", "admin", "swapping", "CURRENT_USER"} {
		db.Exec(t, "ALTER PUBLICATION pub OWNER TO "+owner)
		if err := replication.EnsurePublication(t.Context(), conn, "pub", table); err != nil {
			t.Errorf("of %s: %v", owner, err)
		}
	}
}

// TestAPublicationForAllTablesThatLeavesTheTableOut: no ALTER PUBLICATION adds a table to one that
// is for all.
func TestAPublicationForAllTablesThatLeavesTheTableOut(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	conn := db.Conn(t)
	// It is for other programs, which were not to have the table.
	const ofItsOwn = "name a publication of its own: source.publication; where the pipeline is set up already, put back what was changed of this one"
	const parts = "CREATE TABLE whole (id bigint PRIMARY KEY, name text, body text, gone boolean NOT NULL DEFAULT false) PARTITION BY RANGE (id); " +
		"CREATE TABLE item PARTITION OF whole FOR VALUES FROM (0) TO (100)"
	f := func(name, ddl, what, try string) {
		t.Helper()
		db.Exec(t, "DROP PUBLICATION IF EXISTS pub; DROP TABLE IF EXISTS item; DROP TABLE IF EXISTS whole; DROP TABLE IF EXISTS \"o.ther\"")
		db.Exec(t, "CREATE TABLE \"o.ther\" (id int PRIMARY KEY)")
		for statement := range strings.SplitSeq(ddl, "; ") {
			db.Exec(t, statement)
		}
		table := inspected(t, db)
		err := replication.EnsurePublication(t.Context(), conn, "pub", table)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), what) || fault.Try(err) != try {
			t.Errorf("%s: got %v (try: %s)", name, err, fault.Try(err))
		}
		err = replication.CheckPublication(t.Context(), conn, "pub", table)
		if fault.KindOf(err) != fault.Gap || !strings.Contains(err.Error(), what) || !strings.HasPrefix(fault.Try(err), try) {
			t.Errorf("%s: got %v (try: %s)", name, err, fault.Try(err))
		}
	}
	f("a partition, under the name above it", parts+"; CREATE PUBLICATION pub FOR ALL TABLES WITH (publish_via_partition_root = true)",
		"by its own name", "follow the table that it is a partition of, or name another publication: source.publication")
	if db.Host.Major() < 19 {
		return
	}
	f("the table", itemTable+"; CREATE PUBLICATION pub FOR ALL TABLES EXCEPT (TABLE item)",
		`EXCEPT "public"."item": it does not carry "public"."item"`, ofItsOwn)
	f("the table and another", itemTable+"; CREATE PUBLICATION pub FOR ALL TABLES EXCEPT (TABLE item, \"o.ther\")",
		`EXCEPT "public"."item"`, ofItsOwn)
	f("what it is a partition of", parts+"; CREATE PUBLICATION pub FOR ALL TABLES EXCEPT (TABLE whole)",
		`EXCEPT "public"."whole": it does not carry "public"."item"`, ofItsOwn)
}

// TestAPublicationIsOfTheTableThatWasLookedAt, also where the schema's name was given to another
// since.
func TestAPublicationIsOfTheTableThatWasLookedAt(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, "CREATE SCHEMA shop; CREATE TABLE shop.item (id bigint PRIMARY KEY, name text); CREATE SCHEMA other; CREATE TABLE other.item (id bigint PRIMARY KEY, name text)")
	conn := db.Conn(t)
	table, err := replication.Inspect(t.Context(), conn, replication.InspectOptions{
		Schema: "shop", Table: "item", Key: []string{"id"}, Template: mustTemplate(t, "{name}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	db.Exec(t, "ALTER SCHEMA shop RENAME TO was; ALTER SCHEMA other RENAME TO shop")
	err = replication.EnsurePublication(t.Context(), conn, "pub", table)
	if _, swapped := errors.AsType[*replication.SwapError](err); !swapped {
		t.Errorf("got %v", err)
	}
	db.Exec(t, "ALTER SCHEMA shop RENAME TO other; ALTER SCHEMA was RENAME TO shop")
	if err := replication.EnsurePublication(t.Context(), conn, "pub", table); err != nil {
		t.Error(err)
	}
	if published := pgtest.Column[uint32](t, db, "SELECT prrelid FROM pg_publication_rel"); len(published) != 1 || published[0] != table.OID {
		t.Errorf("published are %v, not %d", published, table.OID)
	}
}
