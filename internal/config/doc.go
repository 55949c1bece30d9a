// Package config holds every setting of wal2vec in one struct and reads it from flags, environment,
// a .env file, a YAML file and libpq's PG* variables, in this order of precedence.
//
// It guarantees that a misspelt setting is an error wherever it stands, that all faults of a
// configuration are reported at once with setting, value, origin and rule, that every value
// remembers where it came from, and that passwords are printed only as stars. It changes nothing in
// the process: no environment variable, no logger, no file. Of a .env file it believes only what no
// other account could have written, and it sends no password from elsewhere to an address from
// there, or from a file that it names.
//
// It does not connect to anything: whether a table, a model or a server exists is found by those
// who use them.
package config
