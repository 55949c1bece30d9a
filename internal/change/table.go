package change

import (
	"slices"
	"strings"
)

// Table describes the source table as the configuration and the catalogue name it.
type Table struct {
	Schema string
	Name   string
	OID    uint32
	// Partitioned is true for a table whose rows are in partitions, which have replica identities
	// of their own.
	Partitioned bool
	// Key lists the key columns in the configured order.
	Key []Column
	// Template renders a row's text.
	Template Template
	// SoftDelete names the column that marks a row as deleted: a boolean that is true, or any other
	// type that is not NULL. Empty when there is none.
	SoftDelete string
	// SoftDeleteBool is true when that column is a boolean.
	SoftDeleteBool bool
	// Shape is what the log says nothing of, as of a moment before any row is read; nil where it is
	// not known.
	Shape Shape
}

// Column is a column of the source table.
type Column struct {
	Name string
	// Type is the type as format_type prints it, of a domain the one below it, without a modifier:
	// "bigint", "text", "character varying".
	Type Type
	// OID is the object id of the source's type, which may be a domain; zero where it is not known.
	OID uint32
}

// SameKey reports whether two keys have the same columns of the same types: a longer varchar has
// the keys of a shorter one.
func SameKey(a, b []Column) bool {
	return slices.EqualFunc(a, b, func(a, b Column) bool { return a.Name == b.Name && Unbounded(a.Type) == Unbounded(b.Type) })
}

// Unbounded is a varchar without its length, with which a cast would cut a key short; other types
// are left as they are.
func Unbounded(typ Type) Type {
	if base, _, found := strings.Cut(string(typ), "("); found && base == "character varying" {
		return Type(base)
	}
	return typ
}
