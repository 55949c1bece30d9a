package pgname

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hidden reports whether a character does not show as itself: it ends the line, moves a terminal's
// cursor, changes the direction of the text behind it, or takes no room.
func Hidden(r rune) bool {
	return !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Hides reports whether a text holds a hidden character, or a byte that is no character at all.
func Hides(text string) bool {
	return !utf8.ValidString(text) || strings.ContainsFunc(text, Hidden)
}

// Identifier quotes the name of one object for a statement. Hidden characters are written as
// U&"..." escapes, so the server's encoding has to have them; a byte that is not UTF-8 becomes
// U+FFFD, which names no object. The role "public" stays the word for every role: PostgreSQL reads
// it so with quotes too, and lets no role have the name.
func Identifier(name string) string {
	if !Hides(name) {
		return Catalogue(name)
	}
	var b strings.Builder
	b.WriteString(`U&"`)
	for _, r := range name {
		switch {
		case r == '"' || r == '\\':
			b.WriteRune(r)
			b.WriteRune(r)
		case r == utf8.RuneError || Hidden(r) && r <= 0xFFFF:
			fmt.Fprintf(&b, `\%04X`, r)
		case Hidden(r):
			fmt.Fprintf(&b, `\+%06X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Qualified quotes a name with what stands before it: schema and table.
func Qualified(parts ...string) string {
	quoted := make([]string, len(parts))
	for i, part := range parts {
		quoted[i] = Identifier(part)
	}
	return strings.Join(quoted, ".")
}

// List quotes names, with commas between them.
func List(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = Identifier(name)
	}
	return strings.Join(quoted, ", ")
}

// Catalogue quotes a name in double quotes and nothing else: for texts that the server reads as a
// name outside of a statement (regclass, the publications of a stream), where it knows no escapes.
// It is not for what people paste.
func Catalogue(parts ...string) string {
	quoted := make([]string, len(parts))
	for i, part := range parts {
		quoted[i] = `"` + strings.ReplaceAll(part, `"`, `""`) + `"`
	}
	return strings.Join(quoted, ".")
}

// Literal quotes a text as a string constant that reads the same whatever
// standard_conforming_strings is. Hidden characters and bytes that are not UTF-8 are written as
// escapes; the server refuses the zero byte.
func Literal(text string) string {
	if !Hides(text) && !strings.Contains(text, `\`) {
		return Plain(text)
	}
	var b strings.Builder
	b.WriteString("E'")
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == '\'' || r == '\\':
			b.WriteRune(r)
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case size == 1 && (r == utf8.RuneError || Hidden(r)):
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case Hidden(r):
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	b.WriteByte('\'')
	return b.String()
}

// Literals is Literal of each text.
func Literals(texts []string) []string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = Literal(text)
	}
	return quoted
}

// Plain quotes a text as a string constant where the server knows no escapes: in replication
// commands. It is not for what people paste.
func Plain(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// Conninfo quotes a value of a key/value connection string, only where it needs to be: libpq reads
// it back.
func Conninfo(value string) string {
	if value != "" && !strings.ContainsAny(value, " \t\n\r\v\f'\\") {
		return value
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

// ByOwner stands behind an advice that alters a table of the source. Such a statement may run
// functions that the table's owner wrote, in a CHECK say, with the rights of the session.
const ByOwner = " -- in a session of the table's owner, not of a superuser or a member of that role"

// Still is the statement that comes first in an advice about a table that gives something of it
// away: it fails where the name is another relation's than the one of this object id by the time
// that it is pasted. Who owns two schemas can exchange their names, and the role that pastes may
// have the rights of the other table's owner. Nothing keeps the name between this statement and the
// next one.
func Still(oid uint32, table ...string) string {
	name := Catalogue(table...)
	const body = "BEGIN IF pg_catalog.oideq(pg_catalog.to_regclass(%s), %d::pg_catalog.oid) THEN RETURN; END IF; " +
		"RAISE EXCEPTION USING MESSAGE = %s; END"
	return "DO " + Literal(fmt.Sprintf(body, Literal(name), oid, Literal(Qualified(table...)+" is another table by now: nothing was done")))
}

// Script puts statements on one line that is pasted. Several are one transaction: psql goes on
// behind a statement that failed, and what comes next could then do more than was meant, to a role
// of that name that another client made first, say.
func Script(statements ...string) string {
	var lines []string
	for _, statement := range statements {
		lines = append(lines, strings.TrimSuffix(statement, ";")+";")
	}
	if len(lines) > 1 {
		lines = append([]string{"BEGIN;"}, append(lines, "COMMIT;")...)
	}
	return strings.Join(lines, " ")
}
