package change

import "strings"

// Key is the key of a source row: the text output of its key columns, in the configured order. It is comparable and sorts
// bytewise, which is the order in which every writer locks rows.
type Key string

// keySeparator cannot occur in a Postgres text value.
const keySeparator = "\x00"

// KeyOf joins the text outputs of the key columns.
func KeyOf(parts ...string) Key { return Key(strings.Join(parts, keySeparator)) }

// Parts returns the text outputs of the key columns.
func (k Key) Parts() []string { return strings.Split(string(k), keySeparator) }

// String prints the key for people: its parts with commas.
func (k Key) String() string { return strings.ReplaceAll(string(k), keySeparator, ",") }
