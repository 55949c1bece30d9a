package safefile

import (
	"errors"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// Fault returns what a check found as a fault of kind fault.Usage: that another account could
// change a file, with the command that repairs it. Any other error, and nil, is returned as it is.
// What may be done instead stands before that command; it may be empty. The format says what was
// not done.
func Fault(err error, instead, format string, args ...any) error {
	problem, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	try := problem.Try
	if instead != "" {
		try = instead + "; or " + try
	}
	return fault.Wrap(err, fault.Usage, try, format, args...)
}
