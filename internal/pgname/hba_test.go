package pgname_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// wordsOfHBA want to be more than a name in pg_hba.conf.
var wordsOfHBA = []string{
	"all", "sameuser", "samerole", "samegroup", "replication", "host", "local", "include", "reject", "+group", "+", "@/etc/passwd", "@", "/", "/.*", "/^a$", "/a\\/b",
	"//", "/\"", "/é", "/\n", `"quoted"`, `"`, `""x`, `x"`, "a b", "a,b", ",", "a#b", `end\`, "0", "10.0.0.0/8", "MiXed", "/[[:alpha:]]+", "/(a|b)\\1", "\n", "\r",
}

func TestNamesInHBAReadWell(t *testing.T) {
	t.Parallel()
	f := func(name string, major int, want string) {
		t.Helper()
		got, ok := pgname.HBA(name, major)
		if got != want || ok != (want != "") {
			t.Errorf("got  %s, %v\nwant %s", got, ok, want)
		}
	}
	for _, major := range []int{14, 15, 16, 18} {
		f("wal2vec_stream", major, "wal2vec_stream")
		f("all", major, `"all"`)
		f("replication", major, `"replication"`)
		f("Mixed", major, `"Mixed"`)
		f("+group", major, `"+group"`)
		f("@file", major, `"@file"`)
		f(`a"b`, major, `"a""b"`)
		f("é b,#", major, `"é b,#"`)
		f("", major, "")
	}
	f("/x", 15, `"/x"`)
	f("/x.é", 16, `"/^\/x\.é$"`)
	f("a\nb", 15, "")
	f("a\nb", 16, `"/^a\u000ab$"`)
	f("\u202e\"\\", 15, "")
	f("\u202e\"\\", 16, `"/^\u00e2\u0080\u00ae\u0022\\$"`)
	f("\xff", 16, `"/^\u00ff$"`)
}

// readHBA reads one word of a line as PostgreSQL's documentation says.
func readHBA(text string) (word string, quoted bool, err error) {
	if !strings.HasPrefix(text, `"`) {
		if strings.ContainsAny(text, "\", \t\r\n#+@/") {
			return "", false, fmt.Errorf("%s is not one word", text)
		}
		return text, false, nil
	}
	word, err = inside(text, '"')
	return word, true, err
}

// checkHBA reads a word back, as a regular expression where it is one.
func checkHBA(t *testing.T, name string, major int) {
	t.Helper()
	text, ok := pgname.HBA(name, major)
	if !ok {
		odd := func(r rune) bool { return hidden(r) || !unicode.IsPrint(r) } // a code point that Unicode has not given away shows as nothing, too
		if plain := utf8.ValidString(name) && !strings.ContainsFunc(name, odd) && name != ""; plain || major >= 16 && name != "" {
			t.Errorf("%q: %d can name it", name, major)
		}
		return
	}
	checkVisible(t, text)
	word, quoted, err := readHBA(text)
	if pattern, found := strings.CutPrefix(word, "/"); found && major >= 16 {
		word = matches(t, pattern)
	}
	if err != nil || word != name || !quoted && slices.Contains(wordsOfHBA[:5], word) {
		t.Errorf("%q: %s reads as %q, %v", name, text, word, err)
	}
}

// matches returns the one text that a pattern of ours stands for.
func matches(t *testing.T, pattern string) string {
	t.Helper()
	inner, begins := strings.CutPrefix(pattern, "^")
	inner, ends := strings.CutSuffix(inner, "$")
	if !begins || !ends {
		t.Errorf("%s matches more than one text", pattern)
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; {
		case c == '\\' && i+5 < len(inner) && inner[i+1] == 'u':
			code, err := strconv.ParseUint(inner[i+2:i+6], 16, 8)
			if err != nil {
				t.Error(err)
			}
			b.WriteByte(byte(code))
			i += 5
		case c == '\\' && i+1 < len(inner):
			i++
			b.WriteByte(inner[i])
		case strings.IndexByte(`.[](){}*+?|^$\`, c) >= 0:
			t.Errorf("%s: %q means more than itself", pattern, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// rolesOf are the names that a role can have.
func rolesOf(lists ...[]string) []string {
	names := slices.Concat(lists...)
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		const longest = 63
		return name == "" || len(name) > longest || slices.Contains([]string{"public", "none", "current_user"}, name) || strings.HasPrefix(name, "pg_")
	})
}

// TestAServerKeepsOutWhomALineNames asks servers that know regular expressions there, of which an
// older one is left out: a line rejects its own role, or closes its own database, and none of the
// others.
func TestAServerKeepsOutWhomALineNames(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			host := pgtest.ServerOf(t, major)
			db := host.Named(t, "postgres")
			names := rolesOf(hostile, wordsOfHBA)
			var rules strings.Builder
			line := func(database, role, method string) {
				rules.WriteString("host " + database + " " + role + " all " + method + "\n")
			}
			for i, name := range names {
				text, ok := pgname.HBA(name, major)
				if !ok {
					t.Fatalf("%q cannot be named", name)
				}
				line("all", text, "reject")
				db.Exec(t, fmt.Sprintf("CREATE ROLE %s LOGIN SUPERUSER; CREATE ROLE %s LOGIN SUPERUSER", pgname.Identifier(name), pgname.Identifier(neighbour(name, i))))
			}
			db.Exec(t, `CREATE ROLE "group"; CREATE ROLE visitor LOGIN SUPERUSER; GRANT "group" TO visitor`)
			databases := []string{"all", "sameuser", "replication", "visitor", "/x.", "a\nb", `a"b`, "@x", "Mixed", "a,b"}
			for _, name := range databases {
				text, _ := pgname.HBA(name, major)
				line(text, "visitor", "reject")
				db.Exec(t, "CREATE DATABASE "+pgname.Identifier(name)+" STRATEGY file_copy")
			}
			db.Exec(t, `CREATE DATABASE "/xy" STRATEGY file_copy`)
			line("all", "all", "trust")
			host.Rules(t, rules.String())
			for i, name := range names {
				enters(t, db, "postgres", name, false)
				enters(t, db, "postgres", neighbour(name, i), true)
			}
			for _, name := range databases {
				enters(t, db, name, "visitor", false)
				enters(t, db, name, neighbour(names[0], 0), true)
			}
			enters(t, db, "postgres", "visitor", true)
			enters(t, db, "/xy", "visitor", true)
		})
	}
}

// neighbour is a name beside another one.
func neighbour(name string, i int) string {
	if r, size := utf8.DecodeLastRuneInString(name); size < len(name) && r < utf8.RuneSelf {
		name = name[:len(name)-1]
	}
	return fmt.Sprintf("%s~%d", strings.ToValidUTF8(name[:min(len(name), 50)], ""), i)
}

func enters(t *testing.T, db *pgtest.DB, database, role string, want bool) {
	t.Helper()
	c, err := pgx.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	c.Database, c.User = database, role
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err == nil {
		err = conn.Close(context.WithoutCancel(t.Context()))
	}
	refusal, refused := errors.AsType[*pgconn.PgError](err)
	switch {
	case want && err != nil:
		t.Errorf("%q into %q: %v", role, database, err)
	case !want && (!refused || refusal.Code != "28000"):
		t.Errorf("%q into %q: %v, and should be rejected", role, database, err)
	}
}
