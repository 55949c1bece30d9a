package safefile

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// TrustVariable is the environment variable with the numbers of further accounts that may own files,
// joined by commas: each of them may act as the account that runs the program.
const TrustVariable = "WAL2VEC_TRUST_UIDS"

// Error says that an account which is not trusted could change a file.
type Error struct {
	// Path is the file, folder or link that the account owns or may write; it may stand anywhere on the
	// way to what was checked.
	Path string
	// Why follows the path in a sentence.
	Why string
	// Try is what to run.
	Try string
	// Foreign says that the account owns it; it may write what is another's otherwise.
	Foreign bool
}

// Error is one line.
func (p *Error) Error() string { return strconv.Quote(p.Path) + " " + p.Why }

// ownUIDs is the number of accounts that are trusted in any case.
const ownUIDs = 2

// trusted are the accounts that may own and write files.
func trusted() ([]uint32, error) {
	uids := []uint32{0, uint32(os.Geteuid())} //nolint:gosec // never negative on Unix
	for text := range strings.SplitSeq(os.Getenv(TrustVariable), ",") {
		if text == "" {
			continue
		}
		uid, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
		if err != nil {
			return nil, &Error{Path: TrustVariable, Why: "must hold numbers of accounts, joined by commas", Try: "export " + TrustVariable + "=1000"}
		}
		uids = append(uids, uint32(uid))
	}
	return uids, nil
}

func foreign(path string, owner uint32) *Error {
	e := &Error{Path: path, Why: fmt.Sprintf("belongs to another account (uid %d)", owner), Foreign: true}
	trust := fmt.Sprintf("if that account may act as you: export %s=%d", TrustVariable, owner)
	if path == "/" { // no account but root should have it
		e.Try = "as root: chown -h 0 /; " + trust
		return e
	}
	e.Try = fmt.Sprintf("if what is in it is yours, as root: chown -h %d %s; %s", os.Geteuid(), pgname.Shell(path), trust)
	return e
}

// outside is foreign where nothing can be given to another owner: the system does not say which account it is.
func outside(path string, owner uint32) *Error {
	return &Error{
		Path: path, Foreign: true, Why: fmt.Sprintf("belongs to an account outside of this user namespace (shown as uid %d), root or any other", owner),
		Try: fmt.Sprintf("run it in a namespace that knows that account; or, if every account outside may act as you: export %s=%d", TrustVariable, owner),
	}
}

// writable does not say of a file that its mode is all: what others wrote into it is there, and a process that has it open goes on writing.
func writable(path, by string, file bool) *Error {
	e := &Error{Path: path, Why: "may be written by " + by, Try: "chmod go-w " + pgname.Shell(path)}
	if file {
		e.Try += "  # if what is in it is yours; if not, make it again in a new file"
	}
	return e
}
