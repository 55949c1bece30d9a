package change

import "github.com/wal2vec/wal2vec/internal/pgname"

// Code is a function that the server calls, with the rights of who reads the source table, though it belongs to another role.
type Code struct {
	// Place is where the table names it ("index item_lower"), Function its name with schema and arguments; both are quoted.
	Place, Function string
	// Owner is the role that may change it at any time.
	Owner string
}

// String says it in one line.
func (c Code) String() string {
	return pgname.Visible(c.Place) + " calls " + pgname.Visible(c.Function) + " of role " + pgname.Identifier(c.Owner)
}
