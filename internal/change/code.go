package change

// Code is a function that the server calls, with the rights of the role that reads the source table, though it belongs to another role.
type Code struct {
	// Place is where the table names it ("index item_lower"), Function its name with schema and arguments. Owner is the role that may change it
	// at any time. All three are quoted as identifiers.
	Place, Function, Owner string
}

// String says it in one line.
func (c Code) String() string {
	return c.Place + " calls " + c.Function + " of role " + c.Owner
}
