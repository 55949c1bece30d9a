package replication

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// shape is what the catalogue says of a function besides its body.
type shape struct {
	definer  bool // it runs as its owner
	language string
	settings []string
}

// fits reports whether that is what source_swap_function gives.
func (f shape) fits() bool {
	return f.definer && f.language == "plpgsql" && slices.Equal(f.settings, []string{
		"search_path=pg_catalog, pg_temp", fmt.Sprintf("lock_timeout=%d", lockWait.Milliseconds()), "default_tablespace=", "standard_conforming_strings=on",
	})
}

// functionSQL returns the statement that makes the function. What it is told are literals.
func (s Swap) functionSQL(owner string, key, read, listed []string) (string, error) {
	data := map[string]any{
		"Function": pgname.Catalogue(s.Function...), "Table": pgname.Qualified(s.Table.Schema, s.Table.Table),
		"Publication": pgname.Identifier(s.Publication), "Version": swapFunctionVersion, "LockWait": lockWait.Milliseconds(),
		"SchemaLiteral": pgname.Literal(s.Table.Schema), "TableLiteral": pgname.Literal(s.Table.Table), "OwnerLiteral": owner,
		"PublicationLiteral": pgname.Literal(s.Publication), "KeyLiterals": key,
		"ReadLiterals": read, "ListedLiterals": listed, "FunctionLiteral": pgname.Literal(pgname.Catalogue(s.Function...) + "()"),
		"CallLiteral": pgname.Literal(swapCall(s.Function)),
	}
	data["Tag"] = tagFor(data)
	return sql.Render("source_swap_function", data)
}

// tagFor is a tag that quotes what holds these texts.
func tagFor(data map[string]any) string {
	tag := "$wal2vec$"
	for strings.Contains(fmt.Sprint(data), tag) { // a name of the user's
		tag = "$wal2vec_" + tag[1:]
	}
	return tag
}

// regrantSQL returns the statement that leaves the function to its owner and these roles.
func (s Swap) regrantSQL(roles []string) (string, error) {
	data := map[string]any{"FunctionLiteral": pgname.Literal(pgname.Catalogue(s.Function...) + "()"), "RoleLiterals": pgname.Literals(roles)}
	data["Tag"] = tagFor(data)
	return sql.Render("source_swap_regrant", data)
}

// bodyOf is the function's body in a statement of functionSQL.
func bodyOf(create string) string {
	_, quoted, _ := strings.Cut(create, "\nAS $")
	tag, body, _ := strings.Cut(quoted, "$")
	return strings.TrimSuffix(strings.TrimSuffix(body, "\n"), "$"+tag+"$")
}

// literal is one as pgname.Literal writes it.
const literal = `(?:'(?:[^'\\]|'')*'|E'(?:[^'\\]|''|\\[^'])*')`

var (
	aLiteral   = regexp.MustCompile(`^` + literal + `$`)
	ofLiterals = regexp.MustCompile(`^` + literal + `(?:, ` + literal + `)*$`)
)

// wrote reports whether the body is the one that functionSQL gives for this table and publication.
// The names in it that were read when it was made, of the table's owner and of columns, may be any;
// nothing but such names may stand at their places.
func (s Swap) wrote(body string) (bool, error) {
	const end = "]::text[];\n"
	lists := strings.Contains(body, bodyListed+"ARRAY[")
	parts := []struct {
		begin, end string
		names      *regexp.Regexp
	}{
		{"    owner_name CONSTANT text := ", ";\n", aLiteral},
		{"    key_columns CONSTANT text[] := ARRAY[", end, ofLiterals},
		{"    read_columns CONSTANT text[] := ARRAY[", end, ofLiterals},
		{"    " + bodyListed + "ARRAY[", end, ofLiterals},
	}
	if !lists {
		parts = parts[:3]
	}
	// What is left without the names is the same for all.
	for _, part := range parts {
		before, after, _ := strings.Cut(body, part.begin)
		names, rest, _ := strings.Cut(after, part.end)
		if !part.names.MatchString(names) {
			return false, nil
		}
		body = before + part.begin + part.end + rest
	}
	var listed []string
	if lists {
		listed = []string{""}
	}
	create, err := s.functionSQL("", nil, nil, listed)
	return err == nil && bodyOf(create) == body, err
}
