package replication_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

func TestInspectDescribesTheTable(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, `CREATE SCHEMA "My shop"; CREATE TABLE "My shop"."The item" (id bigint, s varchar(40), u uuid NOT NULL, "Long name" text, gone_at date,
		PRIMARY KEY (id, s), UNIQUE (u, s))`)
	db.Exec(t, `ALTER TABLE "My shop"."The item" REPLICA IDENTITY FULL`)
	opts := replication.InspectOptions{Schema: "My shop", Table: "The item", Key: []string{"s", "u"}, Template: mustTemplate(t, "{Long name}"), SoftDelete: "gone_at"}
	got, err := replication.Inspect(t.Context(), db.Conn(t), opts)
	want := change.Table{
		Schema: "My shop", Name: "The item", OID: pgtest.One[uint32](t, db, `SELECT '"My shop"."The item"'::regclass::oid`),
		Key:      []change.Column{{Name: "s", Type: "character varying", OID: 1043}, {Name: "u", Type: "uuid", OID: 2950}},
		Template: opts.Template, SoftDelete: "gone_at", Shape: got.Shape,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	boolean := items(t)
	db.Exec(t, itemTable)
	if got, err = replication.Inspect(t.Context(), db.Conn(t), boolean); err != nil || !got.SoftDeleteBool {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestInspectRefuses(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	conn := db.Conn(t)
	// f inspects public.item as the statements make it. When the advice is SQL, it is run and must
	// help.
	f := func(name, what, try string, alter func(*replication.InspectOptions), ddl ...string) {
		t.Helper()
		db.Exec(t, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
		for _, statement := range ddl {
			db.Exec(t, statement)
		}
		opts := items(t)
		if alter != nil {
			alter(&opts)
		}
		_, err := replication.Inspect(t.Context(), conn, opts)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), what) || !strings.Contains(fault.Try(err), try) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v (try: %s)", name, err, fault.Try(err))
			return
		}
		if advice := fault.Try(err); strings.HasSuffix(advice, ";") {
			db.Exec(t, advice)
			if _, err := replication.Inspect(t.Context(), conn, opts); err != nil {
				t.Errorf("%s: the advice does not help: %v", name, err)
			}
		}
	}
	key := func(columns ...string) func(*replication.InspectOptions) {
		return func(o *replication.InspectOptions) { o.Key = columns }
	}
	f("no table", `"public"."item" does not exist`, "source.table", nil)
	f("view", "is a view", "", nil, "CREATE VIEW item AS SELECT 1 AS id")
	f("unlogged", "unlogged", "SET LOGGED", nil, strings.Replace(itemTable, "CREATE", "CREATE UNLOGGED", 1))
	f("children", "child tables", "", nil, itemTable, "CREATE TABLE item_child () INHERITS (item)")
	f("no key column", `no column "nr", which the key names`, "", key("nr"), itemTable)
	f("no key", "no key column", "source.key", key(), itemTable)
	f("no template column", `no column "title", which the template`, "", func(o *replication.InspectOptions) { o.Template = mustTemplate(t, "{title}") }, itemTable)
	f("no soft-delete column", `no column "dead"`, `source.soft_delete: ""`, func(o *replication.InspectOptions) { o.SoftDelete = "dead" }, itemTable)
	f("key type", "numeric", "bigint", key("price"), itemTable)
	f("char key", "character(3)", "varchar", key("c"), itemTable, "ALTER TABLE item ADD c char(3) NOT NULL UNIQUE")
	f("enum key", `"m" of "public"."item" is of type mood`, "bigint", key("m"), "CREATE TYPE mood AS ENUM ('a')", itemTable, "ALTER TABLE item ADD m mood NOT NULL UNIQUE")
	f("date key", `is of type date`, "bigint", key("d"), itemTable, "ALTER TABLE item ADD d date NOT NULL UNIQUE")
	f("domain over numeric", `is of type n`, "bigint", key("d"), "CREATE DOMAIN n AS numeric", itemTable, "ALTER TABLE item ADD d n NOT NULL UNIQUE")
	// Only ICU has such collations; a server that is built without it can be told so.
	const loose = "CREATE COLLATION public.anycase (locale = 'C'); UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'anycase'"
	f("loose collation", `the collation "anycase", which holds different texts to be equal`, "deterministic", key("c"),
		loose, itemTable, "ALTER TABLE item ADD c text COLLATE anycase NOT NULL UNIQUE")
	f("domain of a loose collation", `"anycase"`, "deterministic", key("c"),
		loose, "CREATE DOMAIN code AS text COLLATE anycase", itemTable, "ALTER TABLE item ADD c code NOT NULL UNIQUE")
	f("null key", "may be NULL", "SET NOT NULL", key("sku"), itemTable, "ALTER TABLE item ADD sku text UNIQUE", "ALTER TABLE item REPLICA IDENTITY FULL")
	f("no unique index", `no unique index on exactly ("sku")`, `CREATE UNIQUE INDEX`, key("sku"), itemTable, "ALTER TABLE item ADD sku text NOT NULL; ALTER TABLE item REPLICA IDENTITY FULL")
	f("wider unique index", `no unique index`, "", key("id"), strings.Replace(itemTable, "PRIMARY KEY", "", 1), "ALTER TABLE item ADD PRIMARY KEY (id, gone)")
	f("partial unique index", `no unique index`, "", key("sku"), itemTable, "ALTER TABLE item ADD sku text NOT NULL; CREATE UNIQUE INDEX ON item (sku) WHERE NOT gone; ALTER TABLE item REPLICA IDENTITY FULL")
	f("deferrable", `no unique index`, "", key("sku"), itemTable, "ALTER TABLE item ADD sku text NOT NULL UNIQUE DEFERRABLE; ALTER TABLE item REPLICA IDENTITY FULL")
	f("identity nothing", "nothing", "REPLICA IDENTITY USING INDEX", nil, itemTable, "ALTER TABLE item REPLICA IDENTITY NOTHING")
	f("identity without the key", "default", "REPLICA IDENTITY USING INDEX", key("sku"), itemTable, "ALTER TABLE item ADD sku text NOT NULL UNIQUE")
	f("no primary key", "default", "REPLICA IDENTITY USING INDEX", nil, strings.Replace(itemTable, "PRIMARY KEY", "NOT NULL UNIQUE", 1))
	f("identity by another index", "an index", "", nil, itemTable, "ALTER TABLE item ADD sku text NOT NULL UNIQUE; ALTER TABLE item REPLICA IDENTITY USING INDEX item_sku_key")
	f("identity of a partition", `"item_1" is nothing`, "FULL", nil,
		"CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, gone boolean) PARTITION BY RANGE (id)",
		"CREATE TABLE item_1 PARTITION OF item FOR VALUES FROM (0) TO (9); ALTER TABLE item_1 REPLICA IDENTITY NOTHING")
	if db.Host.Major() >= 18 {
		f("virtual soft-delete column", "virtual", "STORED", nil, strings.Replace(itemTable, "NOT NULL DEFAULT false", "GENERATED ALWAYS AS (name = '') VIRTUAL", 1))
	} else {
		const code = "ALTER TABLE item ADD code text GENERATED ALWAYS AS (upper(name)) STORED NOT NULL UNIQUE"
		f("generated key", "generated", "PostgreSQL 18", key("code"), itemTable, code)
		f("generated soft-delete column", "generated", "PostgreSQL 18", nil, strings.Replace(itemTable, "NOT NULL DEFAULT false", "GENERATED ALWAYS AS (name = '') STORED", 1))
	}
}

func TestInspectNamesMissingRights(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, "CREATE SCHEMA shop; CREATE TABLE shop.item (id bigint PRIMARY KEY, name text, body text, gone boolean); ALTER TABLE shop.item ENABLE ROW LEVEL SECURITY")
	role, password := db.Role(t, "")
	conn, err := pgx.Connect(t.Context(), db.DSNFor(role, password))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	opts := items(t)
	opts.Schema = "shop"
	db.Exec(t, "GRANT USAGE ON SCHEMA shop TO "+role)
	unread := opts
	unread.Unread = true
	if _, err := replication.Inspect(t.Context(), conn, unread); err != nil {
		t.Errorf("before a role has its rights: %v", err)
	}
	owner, _ := db.Role(t, "")
	db.Exec(t, "ALTER TABLE shop.item OWNER TO "+owner)
	for range 2 { // rows, then columns
		_, err := replication.Inspect(t.Context(), conn, opts)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), "set source.read_dsn") {
			t.Fatalf("of another role's table: %v, try %q", err, fault.Try(err))
		}
		db.Exec(t, "ALTER TABLE shop.item DISABLE ROW LEVEL SECURITY")
	}
	db.Exec(t, "ALTER TABLE shop.item OWNER TO CURRENT_USER; ALTER TABLE shop.item ENABLE ROW LEVEL SECURITY; REVOKE USAGE ON SCHEMA shop FROM "+role)
	for _, want := range []string{"GRANT USAGE ON SCHEMA", "CREATE POLICY", `GRANT SELECT ("id", "name", "body", "gone") ON TABLE "shop"."item"`} {
		_, err := replication.Inspect(t.Context(), conn, opts)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), want) {
			t.Fatalf("got %v, try %q, want %s", err, fault.Try(err), want)
		}
		db.Exec(t, fault.Try(err))
	}
	if _, err := replication.Inspect(t.Context(), conn, opts); err != nil {
		t.Fatal(err)
	}
}

func TestServerInfo(t *testing.T) {
	t.Parallel()
	db := pgtest.Server(t, "wal_level=replica", "max_slot_wal_keep_size=1GB", "wal_sender_timeout=7s", "max_replication_slots=1").Database(t)
	info, err := replication.Server(t.Context(), db.Conn(t))
	if err != nil {
		t.Fatal(err)
	}
	if info.Version/10000 != db.Host.Major() || info.SystemID == "" || info.Timeline != 1 || info.InRecovery || info.WALSenderTimeout.Seconds() != 7 ||
		info.MaxSlotWALKeepSize == nil || *info.MaxSlotWALKeepSize != 1<<30 || info.Database != db.Name || info.User == "" {
		t.Errorf("got %+v", info)
	}
	if info.WALLevel != "replica" || info.EffectiveWALLevel != "replica" {
		t.Errorf("got %+v", info)
	}
	for _, c := range []struct {
		version          int
		level, effective string
		refused          bool
	}{
		{180004, "replica", "replica", true},
		{180004, "logical", "logical", false},
		{190000, "minimal", "minimal", true},
		{190000, "replica", "replica", false}, // until there is a logical slot
		{190000, "replica", "logical", false},
		{190000, "logical", "logical", false},
	} {
		given := info
		given.Version, given.WALLevel, given.EffectiveWALLevel = c.version, c.level, c.effective
		err := given.Check()
		if refused := fault.KindOf(err) == fault.Usage && strings.Contains(err.Error(), `wal_level of the source server is "`+c.level+`"`); refused != c.refused || !refused && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	info.WALLevel, info.EffectiveWALLevel = "logical", "logical"
	if err := info.CheckFreeSlot(); err != nil {
		t.Error(err)
	}
	info.Slots = 1
	if err := info.CheckFreeSlot(); fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
	info.InRecovery = true
	if err := info.Check(); !strings.Contains(err.Error(), "standby") {
		t.Errorf("got %v", err)
	}
	info.Version = 130004
	if err := info.Check(); !strings.Contains(err.Error(), "PostgreSQL 13") {
		t.Errorf("got %v", err)
	}
}

// TestAnAdviceAboutATableActsOnThatTable: the owner of two schemas exchanges their names between
// the advice and the paste, of a role that has the rights of both owners.
func TestAnAdviceAboutATableActsOnThatTable(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		const table = ".item (id bigint PRIMARY KEY, name text, body text, gone boolean)"
		db.Exec(t, "CREATE SCHEMA shop; CREATE SCHEMA other; CREATE TABLE shop"+table+"; CREATE TABLE other"+table+"; ALTER TABLE shop.item ENABLE ROW LEVEL SECURITY")
		role, password := db.Role(t, "")
		db.Exec(t, "GRANT USAGE ON SCHEMA shop, other TO "+role)
		conn, err := pgx.Connect(t.Context(), db.DSNFor(role, password))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		opts := items(t)
		opts.Schema = "shop"
		exchange := func() {
			db.Exec(t, "ALTER SCHEMA shop RENAME TO moving; ALTER SCHEMA other RENAME TO shop; ALTER SCHEMA moving RENAME TO other")
		}
		paster := db.Conn(t)
		for _, want := range []string{"; CREATE POLICY", "; GRANT SELECT ("} {
			_, err := replication.Inspect(t.Context(), conn, opts)
			try := fault.Try(err)
			if fault.KindOf(err) != fault.Usage || !strings.Contains(try, want) {
				t.Fatalf("got %v, try %q, want %s", err, try, want)
			}
			exchange()
			if _, err := paster.Exec(t.Context(), try); err == nil || !strings.Contains(err.Error(), `"shop"."item" is another table by now: nothing was done`) {
				t.Errorf("pasted for another table: %v", err)
			}
			if _, err := paster.Exec(t.Context(), "ROLLBACK"); err != nil {
				t.Fatal(err)
			}
			if pgtest.One[bool](t, db, "SELECT has_any_column_privilege($1, 'shop.item', 'SELECT') OR EXISTS (SELECT FROM pg_policy WHERE polrelid = 'shop.item'::regclass)", role) {
				t.Errorf("%s: it was done to the other table", want)
			}
			exchange()
			if _, err := paster.Exec(t.Context(), try); err != nil {
				t.Errorf("pasted for the table: %v", err)
			}
		}
		if _, err := replication.Inspect(t.Context(), conn, opts); err != nil {
			t.Error(err)
		}
	})
}
