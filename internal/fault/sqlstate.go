package fault

import (
	"errors"
	"slices"
)

// kindOfState are the SQLSTATEs whose kind is not that of their class.
var kindOfState = map[string]Kind{
	"55006": Busy, // object in use: the slot

	// Time repairs these.
	"25006": Unavailable, // read only: a failover, a guard of the disk, a setting of role or database that someone may take back
	"25P03": Unavailable, // idle in a transaction, and
	"25P04": Unavailable, // a transaction, for longer than the server allows: the next session takes the limit off, see package pgsession
	"26000": Unavailable, // a prepared statement is gone: a pooler has reset the session under us
	"55P03": Unavailable, // a lock was not to be had
	"58000": Unavailable, // the server's system
	"58030": Unavailable, // its disk
	"72000": Unavailable, // snapshot too old (PostgreSQL 16): the next one is newer
	// Nearly always a catalogue that moved between two looks of one statement: "could not open
	// relation with OID", "cache lookup failed", "tuple concurrently updated". A stream gives it a
	// bounded number of tries; see Moving.
	"XX000": Unavailable,

	// A person has to change something.
	"22021": Usage, // bytes that are no text in the encoding of the database or the session, or
	"22P05": Usage, // a character that it has not
	"0A000": Usage, // the server, as it is built or set, cannot
	"0LP01": Usage, // a grant, and
	"0P000": Usage, // a role that there is not
	"2BP01": Usage, // something depends on what is to be dropped
	"3D000": Usage, // no such database, or
	"3F000": Usage, // schema
	"55000": Usage, // a setting (wal_level), a standby, a slot of another kind
	"55P02": Usage, // a setting that the connection string cannot change
	"58P01": Usage, // a file: a library that is not installed. Of a slot's log that is gone the replication makes a gap
	"P0001": Usage, // a trigger or function of somebody else's refuses
}

// kindOfClass are the classes of which every other code has one kind. What is in neither is
// Internal: a statement or an order of statements that the program should not have sent
// (constraints state what it must hold: 23; a cursor, a cast, a value out of range: 2x), a function
// that failed (38, 39, P0), damage that no retry repairs and a person must see (XX001, XX002), and
// what only other programs meet (F0, HV).
var kindOfClass = map[string]Kind{
	"08": Unavailable, // the connection. 08P01 is a pooler's refusal at times: doctor tells it apart
	"28": Usage,       // who we are: a password, a line of pg_hba.conf
	"40": Unavailable, // a transaction that lost against others
	"42": Usage,       // a missing object, column or right. Syntax errors too: names and options are a person's where a replication command takes them
	"53": Unavailable, // disk, memory, connections
	"54": Usage,       // a value too long for an index, a table with too many columns: the server's limits are met by what people made
	"57": Unavailable, // stopped, cancelled, timed out. 57P04 (the database was dropped) is 3D000 at the next connection
}

// classifyState follows Appendix A of the PostgreSQL manual.
func classifyState(state string) Kind {
	if kind, found := kindOfState[state]; found {
		return kind
	}
	if len(state) == stateLength {
		if kind, found := kindOfClass[state[:classLength]]; found {
			return kind
		}
	}
	return Internal
}

const stateLength, classLength = 5, 2

// Untranslatable reports whether a server refuses bytes that are no text in its encoding or the
// session's, or a character that one of them has not.
func Untranslatable(err error) bool {
	state := SQLSTATE(err)
	return state == "22021" || state == "22P05"
}

// moving are the SQLSTATEs with which a server answers when a table is replaced, dropped, altered
// or published in the middle of a look at it.
var moving = []string{
	"0A000", // cached plan must not change result type
	"3F000", // no such schema
	"42501", // a new table has the rights of the old one only when somebody gave them
	"42703", // no such column
	"42704", // no such publication, type or role
	"42710", // there is such an object already: two looks made the same
	"42809", // another kind of object has the name for now
	"42883", // an operator or function of a type that is gone
	"42P01", // no such table
	"42P07", // there is such an index already
	"55000", // not in the state for it
	"55006", // in use by a statement that is running
	"XX000", // what a statement looked up a moment before is gone
}

// Moving reports whether a server's answer may come from a catalogue that changes under the
// statement, so that the same look, made again, may go through. What a package has made a fault of
// its own of is none of these: it knows better.
func Moving(err error) bool {
	if _, known := errors.AsType[*Error](err); known {
		return false
	}
	return slices.Contains(moving, SQLSTATE(err))
}

// NotPermitted is the SQLSTATE of a missing right.
const NotPermitted = "42501"
