package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// Run is a TestMain: it runs the tests, stops the servers that they used, and fails when goroutines
// are left over; leaks says which ones may be. It does not return.
func Run(m *testing.M, leaks ...goleak.Option) {
	trustServers()
	code := m.Run()
	if err := finish(leaks); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// trustServers has this process, and the programs that it starts, believe servers of the account
// that runs them here: it is another one where root runs the tests.
func trustServers() {
	name := pgserver.Account()
	if name == "" {
		return
	}
	who, err := user.Lookup(name)
	if err == nil {
		err = os.Setenv(safefile.TrustVariable, strings.TrimPrefix(os.Getenv(safefile.TrustVariable)+","+who.Uid, ","))
	}
	if err != nil {
		panic(fmt.Sprintf("pgtest: the account of the servers: %v", err))
	}
}

func finish(leaks []goleak.Option) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := errors.Join(nearby.stop(ctx), faraway.stop(ctx)); err != nil {
		return err
	}
	return goleak.Find(leaks...)
}
