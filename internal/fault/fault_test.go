package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/fault"
)

func TestKindOf(t *testing.T) {
	f := func(err error, want fault.Kind) {
		t.Helper()
		if got := fault.KindOf(err); got != want {
			t.Errorf("KindOf(%v) = %d, want %d", err, got, want)
		}
	}
	f(nil, 0)
	f(errors.New("x"), fault.Internal)
	f(fmt.Errorf("opening: %w", fault.New(fault.Gap, "wal2vec init --resync", "slot %q is lost", "w")), fault.Gap)
	f(fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), fault.Unavailable)
	f(context.DeadlineExceeded, fault.Unavailable)
	f(fmt.Errorf("writing: %w", new(pgconn.PgConn).Exec(t.Context(), "SELECT 1").Close()), fault.Unavailable) // found to be closed before it was used
	stopped, stop := context.WithCancel(t.Context())
	stop()
	f(stopped.Err(), fault.Internal)
	f(&pgconn.PgError{Code: "28P01"}, fault.Usage)
	f(&pgconn.PgError{Code: "55006"}, fault.Busy)
	f(&pgconn.PgError{Code: "57P01"}, fault.Unavailable)
	f(&pgconn.PgError{Code: "53100"}, fault.Unavailable)
	f(&pgconn.PgError{Code: "23505"}, fault.Internal)
	f(fault.Wrap(&pgconn.PgError{Code: "28P01"}, fault.Model, "", "x"), fault.Model)
}

func TestAServerWithoutAResourceIsNamedWhereNothingElseIsAdvised(t *testing.T) {
	full := fmt.Errorf("committing: %w", &pgconn.PgError{Code: "53100"})
	f := func(err error, want string) {
		t.Helper()
		if got := fault.Try(err); got != want {
			t.Errorf("%v: try %q, want %q", err, got, want)
		}
	}
	f(full, fault.Exhausted(full))
	f(fault.Wrap(full, fault.Unavailable, "", "x"), fault.Exhausted(full))
	f(fault.Wrap(full, fault.Unavailable, "do this", "x"), "do this")
	f(errors.New("x"), "")
	if fault.Exhausted(full) == "" {
		t.Error("a full disk has no advice")
	}
}

func TestErrorSaysCauseAndAdvice(t *testing.T) {
	err := fmt.Errorf("starting: %w", fault.Wrap(io.EOF, fault.Unavailable, "start the server", "connecting to %s", "db"))
	if err.Error() != "starting: connecting to db: EOF" || fault.Try(err) != "start the server" || !errors.Is(err, io.EOF) {
		t.Fatalf("%v / %s", err, fault.Try(err))
	}
}
