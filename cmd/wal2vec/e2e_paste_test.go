package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/setup"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// What people paste into psql runs with their rights and under their search path, which begins with
// the schema that is called like them. Any role that may create schemas can make that one.

// trapped is the role that pastes, and the schema of another role that is called like it.
const trapped = "pasting"

// forPsql is a text that people give to psql, and where it stands.
type forPsql struct{ where, text string }

var (
	sqlBlock   = regexp.MustCompile("(?s)```sql[a-z ]*\n(.*?)```")
	callOf     = regexp.MustCompile(`(^|[^.\w"])([a-z_][a-z0-9_]*)\(`)
	called     = regexp.MustCompile(`([a-z_][a-z0-9_]*)\(`)
	operatorOf = regexp.MustCompile(`[-+*/<>=~!@#%^&|]+`)
	selection  = regexp.MustCompile(`SELECT (?:pg_catalog\.)?[a-z_]+\([^;]*`)
	extension  = regexp.MustCompile(`CREATE EXTENSION (IF NOT EXISTS )?vector( WITH SCHEMA | SCHEMA )?`)
	inString   = regexp.MustCompile(`(?s)'[^']*'|--[^\n]*`)
)

// documented are the SQL blocks of every page.
func documented(t *testing.T) (found []forPsql) {
	t.Helper()
	walk(t, ".md", func(path string, content []byte) {
		for i, match := range sqlBlock.FindAllStringSubmatch(string(content), -1) {
			text := strings.ReplaceAll(match[1], "$1", "(SELECT embedding FROM analytics_features.product_embeddings LIMIT 1)")
			found = append(found, forPsql{fmt.Sprintf("%s, block %d", path, i+1), text})
		}
	})
	return found
}

// advised are the statements that the program's texts hold, with any value in the place of theirs.
func advised(t *testing.T) (found []forPsql) {
	t.Helper()
	walk(t, ".go", func(path string, content []byte) {
		if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "pgtest") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, content, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			literal, ok := node.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, statement := range selection.FindAllString(text, -1) {
				statement = regexp.MustCompile(`%(\[\d\])?[a-z]|\$\d`).ReplaceAllString(statement, "'x'")
				if strings.Count(statement, "(") > strings.Count(statement, ")") {
					statement += "'x')"
				}
				found = append(found, forPsql{path, statement + ";\n"})
			}
			return true
		})
	})
	return found
}

// walk calls do for every file of the repository with that ending.
func walk(t *testing.T, ending string, do func(path string, content []byte)) {
	t.Helper()
	root := os.DirFS(filepath.Join("..", ".."))
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ending):
			return nil
		}
		content, err := fs.ReadFile(root, path)
		if err == nil {
			do(path, content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// traps is a database in which a schema that is called like the role that pastes holds every
// function and operator of some texts, with such parameters that the server would rather take them
// than its own.
type traps struct {
	db       *pgtest.DB
	password string
}

// setTraps plants what the texts call; it returns the functions that there are.
func (tr *traps) set(t *testing.T, texts []forPsql) (functions []string) {
	t.Helper()
	conn := tr.db.Conn(t)
	run := func(statement string) {
		_, _ = conn.Exec(t.Context(), statement) // some exist already, and some cannot be: the controls tell whether enough are there
	}
	var names []string
	operators := []string{"=", "<>", "<", ">", "<=", ">=", "~~"} // of words: IN, BETWEEN, LIKE
	for _, text := range texts {
		for _, match := range called.FindAllStringSubmatch(text.text, -1) {
			names = append(names, match[1])
		}
		operators = append(operators, operatorOf.FindAllString(inString.ReplaceAllString(text.text, ""), -1)...)
	}
	for _, p := range tr.procedures(t, names) {
		functions = append(functions, p.name)
		for _, parameters := range p.parameters() {
			run(tr.function(p.name, parameters, p.result))
		}
	}
	slices.Sort(operators)
	kinds := []string{
		"text", "name", "oid", "regclass", "regnamespace", "integer", "bigint", `"char"`, "pg_lsn", "interval", "timestamptz", "text[]", "bytea",
		"boolean", "public.vector",
	}
	for _, operator := range slices.Compact(operators) {
		for _, left := range kinds {
			for _, right := range kinds {
				run(tr.function("of_operator", []string{left, right}, "boolean"))
				run(fmt.Sprintf("CREATE OPERATOR %s.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %[1]s.of_operator)", trapped, operator, left, right))
			}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(functions)))
}

func (tr *traps) function(name string, parameters []string, result string) string {
	end := "RETURN NULL"
	if strings.HasPrefix(result, "SETOF") {
		end = "RETURN"
	}
	// What a sequence was asked for stays also when the statement fails.
	return fmt.Sprintf(`CREATE FUNCTION %s.%q(%s) RETURNS %s LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_catalog.nextval('loot.taken'); RAISE WARNING 'TRAP %[2]s(%[3]s)'; %[5]s; END $$`,
		trapped, name, strings.Join(parameters, ", "), result, end)
}

// procedure is a function of the server.
type procedure struct {
	name, result string
	arguments    []string
	defaults     int
	variadic     bool
}

func (tr *traps) procedures(t *testing.T, names []string) []procedure {
	t.Helper()
	rows, err := tr.db.Conn(t).Query(t.Context(), `SELECT p.proname::text,
			CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END || CASE WHEN r.typtype = 'p' THEN 'text' ELSE format_type(r.oid, NULL) END,
			ARRAY(SELECT CASE WHEN a.typtype <> 'p' THEN format_type(a.oid, NULL) WHEN a.typname LIKE '%array' THEN 'text[]' ELSE 'text' END
				FROM unnest(p.proargtypes) WITH ORDINALITY AS u (oid, n) JOIN pg_type AS a ON a.oid = u.oid ORDER BY u.n),
			p.pronargdefaults, p.provariadic <> 0
		FROM pg_proc AS p JOIN pg_type AS r ON r.oid = p.prorettype
		WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY ($1) AND r.typname NOT IN ('internal', 'trigger', 'record')`, names)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p procedure, err error) {
		return p, row.Scan(&p.name, &p.result, &p.arguments, &p.defaults, &p.variadic)
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// parameters are lists of types that win against the function's own where it is called with
// something else than exactly those.
func (p procedure) parameters() (lists [][]string) {
	add := func(list []string) {
		if !slices.ContainsFunc(lists, func(l []string) bool { return slices.Equal(l, list) }) {
			lists = append(lists, list)
		}
	}
	least, most := len(p.arguments)-p.defaults, len(p.arguments)
	if p.variadic {
		least, most = 0, 5
	}
	for n := least; n <= most; n++ {
		exact := slices.Clone(p.arguments[:min(n, len(p.arguments))])
		for len(exact) < n {
			exact = append(exact, "text")
		}
		add(exact)
		for _, kind := range []string{"text", "name", "oid", "integer", "bigint", "text[]", "integer[]"} {
			for i := range exact {
				list := slices.Clone(exact)
				list[i] = kind
				add(list)
				for j := range list {
					list[j] = kind
				}
				add(list)
				list = slices.Clone(list)
				list[i] = "name"
				add(list)
			}
		}
	}
	return lists
}

// paste gives a text to psql as the role that pastes, and returns what it printed.
func (tr *traps) paste(t *testing.T, text string) string {
	t.Helper()
	psql := tr.db.CommandFor(t, trapped, tr.password, "psql", "-X")
	psql.Dir, psql.Stdin = t.TempDir(), strings.NewReader(text)
	out, err := psql.CombinedOutput()
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	return string(out)
}

// loot is how often a trap ran, or stands in something that was made.
func (tr *traps) loot(t *testing.T) int64 {
	t.Helper()
	return pgtest.One[int64](t, tr.db, `SELECT (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM loot.taken) + (
		SELECT count(*) FROM pg_depend AS d
		JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid AND p.pronamespace = $1::text::regnamespace
		WHERE d.classid <> 'pg_operator'::regclass)`, trapped)
}

// safe fails where a text gave loot.
func (tr *traps) safe(t *testing.T, p forPsql, text string) {
	t.Helper()
	before := tr.loot(t)
	if out := tr.paste(t, text); tr.loot(t) != before {
		t.Errorf("%s: what is planted ran, or was bound:\n%s\n%s", p.where, text, out)
	}
}

// trapsOn makes a database of a world's kind with the schema for the traps, and the role.
func trapsOn(t *testing.T, host *pgtest.Host) (*world, *traps) {
	t.Helper()
	w := newWorldOn(t, host.Database(t), 3)
	w.env = append(w.env, "WAL2VEC_SINK_OWNER=wal2vec_admin")
	tr := &traps{db: w.db, password: "of who pastes"}
	w.db.Exec(t, "CREATE SCHEMA "+trapped+"; CREATE SCHEMA loot; CREATE SEQUENCE loot.taken")
	if !pgtest.One[bool](t, w.db, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", trapped) {
		w.db.Exec(t, "CREATE ROLE "+trapped+" SUPERUSER LOGIN PASSWORD '"+tr.password+"'; CREATE ROLE another")
	}
	return w, tr
}

// printedSQL is what init would run for roles of its own.
func (w *world) printedSQL() forPsql {
	w.t.Helper()
	got := w.ends(nil, "", "init", "--print-sql", "--grant-stream=wal2vec_stream", "--grant-search=wal2vec_search")
	if got.code != 0 {
		w.t.Fatal(got.stderr)
	}
	return forPsql{"init --print-sql", got.stdout}
}

// TestWhatIsPastedCallsNothingOfAnotherRole: roles.sql, what init prints, every block of the pages
// and every statement of an advice call functions and operators of the server and of pgvector,
// whatever a role that may create schemas has put on the search path.
func TestWhatIsPastedCallsNothingOfAnotherRole(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "roles.sql"))
	if err != nil {
		t.Fatal(err)
	}
	roles, rest := forPsql{"deploy/roles.sql", string(script)}, append(documented(t), advised(t)...)
	if len(rest) < 20 {
		t.Fatalf("only %d texts found", len(rest))
	}
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			host := pgtest.ServerOf(t, major)
			w, tr := trapsOn(t, host)
			tr.db.Exec(t, roles.text+"RESET search_path;")
			printed := w.printedSQL()
			functions := tr.set(t, append([]forPsql{roles, printed}, rest...))
			for _, text := range append([]forPsql{roles, printed}, rest...) {
				for _, match := range callOf.FindAllStringSubmatch(inString.ReplaceAllString(text.text, "''"), -1) {
					if slices.Contains(functions, match[2]) {
						t.Errorf("%s: %s is called by a name without its schema:\n%s", text.where, match[2], text.text)
					}
				}
			}
			for _, control := range []string{
				"SELECT pg_drop_replication_slot('x');", "SELECT format('%I', 'x'::name);", "SELECT pg_table_size(1::oid);",
				"SELECT 1::oid = 'pg_catalog'::regnamespace;", "SELECT cardinality(ARRAY['x']);", "SELECT '[1]'::public.vector <=> '[2]';",
				"CREATE TABLE loot.bound (a text[] CHECK (cardinality(a) > 0)); DROP TABLE loot.bound;", "SELECT * FROM unnest(ARRAY[1]);",
			} {
				if before := tr.loot(t); !strings.Contains(tr.paste(t, control), "TRAP") && tr.loot(t) == before && !strings.Contains(control, "DROP TABLE") {
					t.Errorf("nothing is planted against %s", control)
				}
			}
			tr.safe(t, roles, roles.text)
			tr.safe(t, roles, partOf(roles.text))
			tr.safe(t, printed, printed.text)
			w.run("init")
			w.run("backfill")
			for _, text := range rest {
				tr.safe(t, text, text.text)
			}
		})
	}
}

// partOf is a text of ours without the line that sets the search path, as when somebody pastes the
// rest of it.
func partOf(text string) string {
	return regexp.MustCompile(`(?m)^SELECT pg_catalog\.set_config\('search_path'.*$`).ReplaceAllString(text, "")
}

// TestAPartOfWhatInitPrintsIsSafeToo, and the whole where the search path has pg_catalog last.
func TestAPartOfWhatInitPrintsIsSafeToo(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "roles.sql"))
	if err != nil {
		t.Fatal(err)
	}
	host := pgtest.Server(t)
	for _, last := range []bool{false, true} {
		w, tr := trapsOn(t, host)
		roles := forPsql{"deploy/roles.sql", string(script)}
		tr.db.Exec(t, roles.text+"RESET search_path;")
		printed := w.printedSQL()
		tr.set(t, []forPsql{roles, printed})
		text := partOf(printed.text)
		if text == printed.text || strings.Count(printed.text, setup.OwnPath) != 2 {
			t.Errorf("init prints\n%s", printed.text)
		}
		if last {
			text = printed.text
			tr.db.Exec(t, "ALTER ROLE "+trapped+` SET search_path = "$user", public, pg_catalog`)
			if out := tr.paste(t, "SELECT pg_catalog.current_setting('search_path'), current_setting('search_path')"); !strings.Contains(out, "TRAP") {
				t.Errorf("nothing is planted: %s", out)
			}
			tr.safe(t, roles, roles.text)
		}
		tr.safe(t, printed, text)
		w.run("init")
		w.run("backfill")
		if loot := tr.loot(t); loot > 1 || !last && loot > 0 { // the one that was tried
			t.Errorf("what is planted stands in wal2vec's tables: %d functions ran (last %t)", loot, last)
		}
	}
}

// TestPgvectorHasASchemaOfItsOwn in every text: without one it goes into the first schema of the
// search path, and the owner of that may drop it.
func TestPgvectorHasASchemaOfItsOwn(t *testing.T) {
	t.Parallel()
	found := 0
	for _, ending := range []string{".md", ".sql", ".go", ".yaml", ".service"} {
		walk(t, ending, func(path string, content []byte) {
			if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "pgtest") {
				return
			}
			for _, match := range extension.FindAllStringSubmatch(string(content), -1) {
				found++
				if match[2] == "" {
					t.Errorf("%s: %s without a schema", path, match[0])
				}
			}
		})
	}
	if found < 4 {
		t.Errorf("only %d found", found)
	}
}
