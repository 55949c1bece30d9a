// Package setup makes and drops what a pipeline needs in both databases: schema, tables and view in
// the sink, publication, slot and the function that follows swapped tables on the source, and the
// rights of the roles that stream and search.
//
// Guarantees. Every check and a rehearsal come before the first change; what was cut off is gone on
// with by the same command. The source is changed before the sink, each in one transaction, but for
// the slot. Nothing that only a row of the sink names is dropped on the source.
//
// It prints nothing, reads no rows, and follows no table.
package setup
