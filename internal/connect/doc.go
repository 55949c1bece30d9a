// Package connect opens the source and the sink that the configuration names, and looks whether
// they belong together: the same table, key, slot and publication as the pipeline was set up for.
//
// Guarantees. An error names the setting that leads to the database, and never repeats a connection
// string. A store that is opened for reading cannot write: the server refuses it.
//
// It follows nothing, reads no rows by itself, and loads no model.
package connect
