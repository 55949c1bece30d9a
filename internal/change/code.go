package change

// Code is what the server runs, with the rights of the role that reads the source table, though it
// belongs to another role.
type Code struct {
	// Place is where the table names it ("index item_lower"), Function its name with schema and
	// arguments; empty where another role wrote an expression of which it cannot be said what it
	// runs. Owner is the role that may change it at any time. All three are quoted as identifiers.
	Place, Function, Owner string
}

// String says it in one line.
func (c Code) String() string {
	if c.Function == "" {
		return c.Place + " may run what role " + c.Owner + " wrote"
	}
	return c.Place + " calls " + c.Function + " of role " + c.Owner
}
