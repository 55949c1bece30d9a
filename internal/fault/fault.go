package fault

import (
	"errors"
	"fmt"
)

// Kind is a way to stop; its number is the exit code.
type Kind int

// The kinds, with the exit codes of the command line.
const (
	Internal    Kind = 1 // failed
	Usage       Kind = 2 // usage or configuration: a missing object or right, a wrong password, a wrong wal_level
	Findings    Kind = 3 // doctor or audit found problems
	Busy        Kind = 4 // the slot is held by another
	Unavailable Kind = 5 // unreachable or timed out: try again
	Gap         Kind = 6 // the stream cannot go on from the watermark
	Model       Kind = 7 // the model is not the one that wrote the vectors, or fails its self-test
)

// Error is an error that a person will read.
type Error struct {
	Kind Kind
	// What says what is wrong in one line, without a capital or a full stop: object and cause.
	What string
	// Try is the command or setting that repairs it; may be empty.
	Try string
	// Err is the cause, if any; it is part of the printed line.
	Err error
	// Absent says that something is not there that a setting names or that init makes: a table, a
	// pipeline. Other settings may be meant.
	Absent bool
	// Asked says that what was asked for is wrong, and not what is set up: a column that is not
	// there, a value of another type. Who asked can repair it.
	Asked bool
}

// New returns an Error; what is a format string.
func New(kind Kind, try, what string, args ...any) *Error {
	return &Error{Kind: kind, Try: try, What: fmt.Sprintf(what, args...)}
}

// Missing returns an Error of kind Usage about something that is not there; see Absent. what is a
// format string.
func Missing(try, what string, args ...any) *Error {
	return &Error{Kind: Usage, Try: try, What: fmt.Sprintf(what, args...), Absent: true}
}

// Unanswerable returns an Error of kind Usage about what was asked for; see Asked. what is a format
// string.
func Unanswerable(try, what string, args ...any) *Error {
	return &Error{Kind: Usage, Try: try, What: fmt.Sprintf(what, args...), Asked: true}
}

// Wrap returns an Error with a cause; what is a format string.
func Wrap(err error, kind Kind, try, what string, args ...any) *Error {
	return &Error{Kind: kind, Try: try, What: fmt.Sprintf(what, args...), Err: err}
}

// Error prints what and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.What
	}
	return e.What + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the outermost Error in the chain; a database error without one is
// classified by its SQLSTATE or network cause, anything else is Internal. It returns 0 for nil.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return classify(err)
}

// Absent reports whether the outermost Error in the chain is about something that is not there.
func Absent(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Absent
}

// Asked returns the outermost Error in the chain where that is about what was asked for, and else
// nil.
func Asked(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok && e.Asked {
		return e
	}
	return nil
}

// Try returns the advice of the outermost Error in the chain or, where that has none, what repairs
// a server that is out of a resource; else "".
func Try(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Try != "" {
		return e.Try
	}
	return Exhausted(err)
}
