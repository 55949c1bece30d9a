// Package pgname quotes names and values for the place where they stand: a statement, a connection
// string, a shell line. Whatever bytes a name holds, it stays one name there, on one line, and all
// of it is visible. It knows nothing of databases and runs nothing.
package pgname
