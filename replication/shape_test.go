package replication_test

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// reshaping is a statement and the words that say what it did to the texts without a word in the
// log; none where it did nothing.
type reshaping struct{ statement, says string }

// reshape runs the statements one by one and looks at what the shape says after each.
func reshape(t *testing.T, db *pgtest.DB, opts replication.InspectOptions, all []reshaping) {
	t.Helper()
	conn := db.Conn(t)
	read := func() change.Shape {
		table, err := replication.Inspect(t.Context(), conn, opts)
		if err != nil {
			t.Fatal(err)
		}
		return table.Shape
	}
	old := read()
	for _, r := range all {
		db.Exec(t, r.statement)
		shape := read()
		got, err := replication.Reshaped(t.Context(), conn, old, shape)
		if err != nil {
			t.Fatal(err)
		}
		if r.says == "" && len(got) > 0 || r.says != "" && !strings.Contains(strings.Join(got, "; "), r.says) {
			t.Errorf("%s: got %q, want %q", r.statement, got, r.says)
		}
		old = shape
	}
}

func TestShapeTellsWhatChangesTextsWithoutAnEvent(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	for _, statement := range []string{
		"CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TYPE size AS (w int, h int); CREATE DOMAIN label AS text; CREATE DOMAIN moods AS mood[]",
		`CREATE TABLE item (id bigint PRIMARY KEY, name text, price numeric(10,2), mood mood, moods moods, size size, sizes size[], label label,
			at timestamptz, gone boolean, other int, spare text)`,
		"CREATE PUBLICATION pub FOR TABLE item",
	} {
		db.Exec(t, statement)
	}
	opts := items(t)
	opts.Template, opts.Publication = mustTemplate(t, "{name} {price} {mood} {moods} {size} {sizes} {label} {at}"), "pub"
	reshape(t, db, opts, []reshaping{
		{"INSERT INTO item (id, name) VALUES (1, 'a')", ""},
		{"UPDATE item SET name = 'b'", ""},
		{"VACUUM item", ""},
		{"VACUUM FULL item", ""},
		{"TRUNCATE item", ""},
		{"ALTER TABLE item ADD COLUMN more text DEFAULT 'x'", ""},
		{"CLUSTER item USING item_pkey", ""},
		{"ALTER TABLE item ALTER other TYPE text; ALTER TABLE item DROP COLUMN other", "written again"}, // as SET UNLOGGED, SET LOGGED: nothing tells the two apart
		{"ALTER TABLE item RENAME COLUMN spare TO rest", ""},
		{"ALTER TABLE item ALTER name SET NOT NULL; ALTER TABLE item ALTER name SET DEFAULT 'n'; ALTER TABLE item ALTER name SET STORAGE EXTERNAL", ""},
		{"CREATE INDEX ON item (name); REINDEX TABLE item; ANALYZE item", ""},
		{"ALTER TABLE item ALTER price TYPE numeric(10,4)", `column "price"`},
		{"ALTER TABLE item ALTER price TYPE text", `column "price"`},
		{"ALTER TABLE item ALTER at TYPE date", `column "at"`},
		{"ALTER TABLE item DROP COLUMN name; ALTER TABLE item ADD COLUMN name text DEFAULT 'new'", `column "name"`},
		{"ALTER TABLE item RENAME COLUMN name TO was; ALTER TABLE item RENAME COLUMN rest TO name", `column "name"`},
		{"ALTER TYPE mood ADD VALUE 'calm'", ""},
		{"ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", `"sad" of an enum was renamed to "blue"`},
		{"ALTER TYPE size ADD ATTRIBUTE d int", "a composite type"},
		{"ALTER TYPE size RENAME ATTRIBUTE d TO depth", ""},
		{"ALTER TYPE size ADD ATTRIBUTE u int; ALTER TYPE size DROP ATTRIBUTE u", "a composite type"}, // rows of that time are in the log
		{"ALTER TYPE mood RENAME VALUE 'blue' TO 'sad'; ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", `"blue" of an enum was renamed to "blue"`},
		{"ALTER TABLE item RENAME label TO x; ALTER TABLE item RENAME more TO label; ALTER TABLE item RENAME label TO more; ALTER TABLE item RENAME x TO label", `column "label"`},
		{"ALTER TABLE item ALTER label SET STATISTICS 7; ALTER TABLE item ALTER label SET (n_distinct = 5)", ""},
		{"GRANT SELECT (label) ON item TO pg_monitor", ""},
		{"ALTER TYPE mood RENAME TO temper", ""},
		{"ALTER TABLE item ALTER mood TYPE text", `column "mood"`},
		{"ALTER DOMAIN label ADD CHECK (value <> '')", ""},
		{"ALTER PUBLICATION pub SET (publish = 'insert'); ALTER PUBLICATION pub SET (publish = 'insert, update, delete, truncate')", "the publication"},
		{"ALTER PUBLICATION pub SET TABLE item WHERE (id > 1)", "the publication"},
		{"CREATE TABLE another (id int PRIMARY KEY)", ""},
		{"ALTER PUBLICATION pub ADD TABLE another", ""},
		{"ALTER PUBLICATION pub DROP TABLE another", ""},
		{"ALTER PUBLICATION pub DROP TABLE item; ALTER PUBLICATION pub ADD TABLE item", "the publication"},
		{"ALTER TABLE item ALTER gone TYPE boolean USING NOT gone", `column "gone"`}, // of the same type
		{"ALTER TABLE item ALTER name TYPE text USING upper(name)", `column "name"`},
		{"CREATE TABLE other_item (LIKE item INCLUDING ALL); ALTER TABLE item RENAME TO old; ALTER TABLE other_item RENAME TO item", ""}, // a swap is a gap
	})
}

func TestShapeTellsWhatIsPublishedWithTheSchema(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, "CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, gone boolean)")
	db.Exec(t, "CREATE SCHEMA elsewhere")
	db.Exec(t, "CREATE PUBLICATION pub FOR TABLES IN SCHEMA public")
	opts := items(t)
	opts.Publication = "pub"
	reshape(t, db, opts, []reshaping{
		{"GRANT SELECT ON item TO pg_monitor; COMMENT ON TABLE item IS 'x'; CREATE INDEX ON item (name)", ""},
		{"CREATE TABLE another (id int PRIMARY KEY); DROP TABLE another", ""},
		{"ALTER PUBLICATION pub DROP TABLES IN SCHEMA public; ALTER PUBLICATION pub ADD TABLES IN SCHEMA public", "the publication"},
		{"ALTER TABLE item SET SCHEMA elsewhere; ALTER TABLE elsewhere.item SET SCHEMA public", "the publication"},
		{"ALTER TABLE item RENAME TO x; ALTER TABLE x RENAME TO item", ""},
		{"ALTER TABLE item SET UNLOGGED; ALTER TABLE item SET LOGGED", "written again"},
		{"VACUUM FULL item", ""},
		{"ALTER PUBLICATION pub ADD TABLE item", "the publication"},
		{"DROP PUBLICATION pub; CREATE PUBLICATION pub FOR ALL TABLES", "the publication"},
		{"CREATE TABLE another (id int PRIMARY KEY); DROP TABLE another", ""},
		{"DROP PUBLICATION pub; CREATE PUBLICATION pub FOR ALL TABLES", "the publication"},
	})
	if db.Host.Major() < 19 {
		return
	}
	reshape(t, db, opts, []reshaping{
		{"ALTER PUBLICATION pub SET ALL TABLES EXCEPT (TABLE item)", "the publication"},
		{"ALTER PUBLICATION pub SET ALL TABLES", "the publication"},
		{"CREATE TABLE another (id int PRIMARY KEY); ALTER PUBLICATION pub SET ALL TABLES EXCEPT (TABLE another)", ""},
		{"ALTER PUBLICATION pub SET ALL TABLES EXCEPT (TABLE another, item)", "the publication"},
		{"ALTER PUBLICATION pub SET ALL TABLES; ALTER PUBLICATION pub SET ALL TABLES EXCEPT (TABLE item)", "the publication"}, // and another EXCEPT
		{"REPACK item", ""},
	})
}

func TestShapeTellsOfGeneratedColumns(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	db.Exec(t, "CREATE TABLE item (id bigint PRIMARY KEY, name text, body text GENERATED ALWAYS AS (upper(name)) STORED, gone boolean)")
	steps := []reshaping{{"ALTER TABLE item ALTER body DROP EXPRESSION", `column "body"`}}
	if db.Host.Major() >= 17 {
		steps = append([]reshaping{{"ALTER TABLE item ALTER body SET EXPRESSION AS (lower(name))", `column "body"`}}, steps...)
	}
	reshape(t, db, items(t), steps)
}

func TestShapeTellsOfPartitions(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	for _, statement := range []string{
		"CREATE TABLE item (id bigint PRIMARY KEY, name text, body text, gone boolean) PARTITION BY RANGE (id)",
		"CREATE TABLE item_1 PARTITION OF item FOR VALUES FROM (0) TO (10)",
		"CREATE TABLE apart (LIKE item INCLUDING ALL); INSERT INTO apart VALUES (21, 'with rows')",
		"CREATE TABLE deep (LIKE item INCLUDING ALL) PARTITION BY RANGE (id); CREATE TABLE deep_1 PARTITION OF deep FOR VALUES FROM (30) TO (35)",
		"INSERT INTO deep VALUES (31, 'deep')",
	} {
		db.Exec(t, statement)
	}
	reshape(t, db, items(t), []reshaping{
		{"INSERT INTO item VALUES (1, 'a')", ""},
		{"CREATE TABLE item_2 PARTITION OF item FOR VALUES FROM (10) TO (20)", ""},
		{"INSERT INTO item VALUES (11, 'b')", ""},
		{"ALTER TABLE item ATTACH PARTITION apart FOR VALUES FROM (20) TO (30)", "partition apart came with rows"},
		{"ALTER TABLE item ATTACH PARTITION deep FOR VALUES FROM (30) TO (40)", "partition deep_1 came with rows"},
		{"ALTER TABLE apart RENAME TO item_3", ""},
		{"TRUNCATE item_3", "partition item_3 was truncated"},
		{"ALTER TABLE item DETACH PARTITION item_3; UPDATE item_3 SET name = 'outside'; ALTER TABLE item ATTACH PARTITION item_3 FOR VALUES FROM (20) TO (30)", "partition item_3 was truncated, rewritten or attached again"},
		{"ALTER TABLE item DETACH PARTITION deep; UPDATE deep SET name = 'outside'; ALTER TABLE item ATTACH PARTITION deep FOR VALUES FROM (30) TO (40)", "partition deep_1 was"},
		{"ALTER TABLE item DETACH PARTITION item_1", "partition item_1 was detached"},
		{"DROP TABLE item_2", "partition item_2 was detached or dropped"},
	})
}
