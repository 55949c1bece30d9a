package change

// Row is a source row as read by key or by a chunk, in the server's text output.
type Row struct {
	Key    Key
	Fields []Field // one for each of Template.Columns()
	// SoftDeleted is true when the soft-delete column marks the row.
	SoftDeleted bool
	// Postponed says that the row is there, but was not read with the others because it is large:
	// it is to be asked for again, and until then no row to render.
	Postponed bool
}
