package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Run is a TestMain: it runs the tests, stops the servers that they used, and fails when goroutines are left over; leaks says
// which ones may be. It does not return.
func Run(m *testing.M, leaks ...goleak.Option) {
	code := m.Run()
	if err := finish(leaks); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func finish(leaks []goleak.Option) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := errors.Join(nearby.stop(ctx), faraway.stop(ctx)); err != nil {
		return err
	}
	return goleak.Find(leaks...)
}
