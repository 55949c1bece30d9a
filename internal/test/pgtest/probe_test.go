package pgtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

type pgQuery = pgproto3.Query

// probe is a test that may fail; Fatal ends its goroutine.
type probe struct {
	testing.TB
	message string
}

func (p *probe) Fatal(args ...any) {
	p.message = fmt.Sprint(args...)
	runtime.Goexit()
}

func (p *probe) Fatalf(format string, args ...any) {
	p.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// rerun runs one test of this binary in another process.
func rerun(t *testing.T, test string, environment ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), environment...)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// scope collects the cleanups of a part of a benchmark.
type scope struct {
	testing.TB
	cleanups []func()
}

func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

// once makes and drops a database.
func once(b *testing.B) {
	s := &scope{TB: b}
	pgtest.Database(s)
	for _, f := range s.cleanups {
		f()
	}
}
