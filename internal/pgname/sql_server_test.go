package pgname_test

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// askServer makes a table of the name and reads the name from the catalogue, and selects the text,
// in either state of the setting that changes how constants are read.
func askServer(t *testing.T, db *pgtest.DB, name, text string) {
	t.Helper()
	states := []string{"on", "off"}
	if db.Host.Major() >= pgtest.FixedStrings {
		states = states[:1]
	}
	for _, setting := range states {
		db.Exec(t, "BEGIN; SET LOCAL standard_conforming_strings = "+setting+"; SET LOCAL client_min_messages = error; CREATE TEMPORARY TABLE "+pgname.Identifier(name)+" ()")
		got := pgtest.One[[]string](t, db, "SELECT ARRAY[relname, "+pgname.Literal(text)+"]::text[] FROM pg_class WHERE oid = $1::text::regclass",
			pgname.Catalogue(name))
		tables := pgtest.Column[string](t, db, "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()")
		db.Exec(t, pgname.Still(pgtest.One[uint32](t, db, "SELECT $1::text::regclass::oid", pgname.Catalogue(name)), "pg_temp", name))
		db.Exec(t, "ROLLBACK")
		if want := []string{name, text}; !slices.Equal(got, want) || !slices.Equal(tables, []string{name}) {
			t.Errorf("%s: %s and %s are %q, the tables %q", setting, pgname.Identifier(name), pgname.Literal(text), got, tables)
		}
	}
}

func TestAServerReadsTheNames(t *testing.T) {
	db := pgtest.Database(t)
	for i, name := range hostile {
		if name != "" {
			askServer(t, db, name, hostile[len(hostile)-1-i])
		}
	}
}

// TestPsqlReadsTheNames pastes statements as a person does: psql has commands and variables of its
// own.
func TestPsqlReadsTheNames(t *testing.T) {
	db := pgtest.Database(t)
	folder := t.TempDir()
	var script strings.Builder
	var want []string
	for _, name := range hostile {
		if name == "" {
			continue
		}
		want = append(want, name+" of "+name)
		script.WriteString("CREATE TABLE " + pgname.Qualified("public", name) + " ();\nCOMMENT ON TABLE " + pgname.Qualified("public", name) +
			" IS " + pgname.Literal(name) + ";\n")
	}
	psql := db.Command(t, "psql", "-X", "-v", "ON_ERROR_STOP=1", "-v", "name=other")
	psql.Dir, psql.Stdin = folder, strings.NewReader(script.String())
	if out, err := psql.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := pgtest.Column[string](t, db,
		"SELECT relname || ' of ' || obj_description(oid, 'pg_class') FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("psql made %v, %v", left, err)
	}
}

// TestLibpqReadsTheValues gives psql connection strings through a shell.
func TestLibpqReadsTheValues(t *testing.T) {
	db := pgtest.Database(t)
	c, err := pgconn.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"it's a \\ back", "a b=c", "\t", "$(id)", "application_name=x", "' host='nowhere", `\`}
	if db.Host.Major() < 19 { // which takes no line end in the name of a database or a role
		names = append(names, "\n\t")
	}
	for _, name := range names {
		db.Exec(t, "CREATE DATABASE "+pgname.Identifier(name))
		var pairs []string
		for _, pair := range [][2]string{
			{"host", c.Host}, {"port", strconv.Itoa(int(c.Port))}, {"user", c.User}, {"dbname", name},
		} {
			pairs = append(pairs, pair[0]+"="+pgname.Conninfo(pair[1]))
		}
		line := pgname.Shell(db.Host.Program("psql")) + " -XAtc 'SELECT current_database()' " + pgname.Shell(strings.Join(pairs, " "))
		shell := exec.Command("bash", "-c", line)
		shell.Env = append(os.Environ(), "PGPASSWORD="+c.Password)
		out, err := shell.CombinedOutput()
		if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != name {
			t.Errorf("%s: %q, %v", line, got, err)
		}
		db.Exec(t, "DROP DATABASE "+pgname.Identifier(name))
	}
}
