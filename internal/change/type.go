package change

import "strings"

// Type is the name of a key column's type as format_type prints it: "bigint". It may have come from
// a row of the sink: it is data, and SQL alone puts it into a statement.
type Type string

// keyTypes are the types that a key may have, each as a statement names it whatever the session's
// search path. Their equality is equality of their text output, which the ledger's key relies on.
var keyTypes = map[Type]string{
	"smallint": "smallint", "integer": "integer", "bigint": "bigint", "character varying": "character varying", // SQL's own words
	"text": "pg_catalog.text", "uuid": "pg_catalog.uuid",
}

// KeyTypes lists for people the types that a key may have.
const KeyTypes = "smallint, integer, bigint, text, varchar, uuid, or a domain over one"

// Known reports whether a key may have the type. Another one is never put into a statement: a cast
// to a domain, for one, runs its constraint with the rights of the role that casts.
func (t Type) Known() bool {
	_, known := keyTypes[Unbounded(t)]
	return known
}

// Text reports whether keys of the type are texts, which encodings tell apart.
func (t Type) Text() bool { base := Unbounded(t); return base == "text" || base == "character varying" }

// SQL returns the type as it is written in a statement: "bigint", "pg_catalog.text". What is not
// Known becomes one quoted name that no type has, so that the statement fails and does nothing
// else.
func (t Type) SQL() string {
	if name, known := keyTypes[Unbounded(t)]; known {
		return name
	}
	return `pg_catalog."no type of a key: ` + strings.NewReplacer(`"`, `""`, "\x00", "").Replace(string(t)) + `"`
}
