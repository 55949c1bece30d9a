// Package pgsession opens every connection of the program to a source or a sink, so that none is
// without the settings that its statements rely on, whatever its role or its database sets, and
// finds the session that another one waits for.
//
// It writes nothing, retries nothing, and closes nothing that it has handed out: who opens a
// session or a pool closes it.
package pgsession
