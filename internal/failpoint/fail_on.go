//go:build failpoint

package failpoint

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// clockEnvironment names a file that says by how much the program's clock is off ("-2h30m");
// without the file it is right.
const clockEnvironment = "FAILPOINT_CLOCK"

var failing = sync.OnceValue(func() *place { return parsePlace(failEnvironment) })

// Fail returns the error of a full disk when FAILPOINT_ERROR names this place and it was passed
// often enough.
func Fail(name string) error {
	if !failing().acts(name) {
		return nil
	}
	return &pgconn.PgError{Severity: "ERROR", Code: "53100", Message: "could not extend file: No space left on device (injected)"}
}

// Clock returns a clock that is off by what the file says that FAILPOINT_CLOCK names, read again at
// each look; nil, the system's, where it names none.
func Clock() func() time.Time {
	path := os.Getenv(clockEnvironment)
	if path == "" {
		return nil
	}
	return func() time.Time {
		now := time.Now()
		text, err := os.ReadFile(path)
		if err != nil {
			return now
		}
		offset, err := time.ParseDuration(strings.TrimSpace(string(text)))
		if err != nil {
			return now // the test is writing it
		}
		return now.Add(offset)
	}
}
