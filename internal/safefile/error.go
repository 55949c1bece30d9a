package safefile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// TrustVariable is the environment variable with the numbers of further accounts that may own
// files, joined by commas: each of them may act as the account that runs the program.
const TrustVariable = "WAL2VEC_TRUST_UIDS"

// Error says that an account which is not trusted could change a file.
type Error struct {
	// Path is the file, folder or link that the account owns or may write; it may stand anywhere on
	// the way to what was checked.
	Path string
	// Why follows the path in a sentence.
	Why string
	// Try is what to run.
	Try string
	// Trust is the end of Try that says how to trust the account; empty where that is no way.
	Trust string
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

// foreign gives a folder or a link to the account that runs the program, and never a file: a
// process of the old owner that has it open goes on writing.
func foreign(path string, owner uint32, mode fs.FileMode) *Error {
	trust := trusting(owner)
	e := &Error{Path: path, Why: fmt.Sprintf("belongs to another account (uid %d)", owner), Trust: trust, Foreign: true}
	switch {
	case path == "/": // no account but root should have it
		e.Try = "as root: chown -h 0 /; " + trust
	case mode.IsRegular():
		e.Try = fmt.Sprintf("%s; %s", copied(path, "go="), trust)
	case mode.IsDir(), mode&fs.ModeSymlink != 0:
		e.Try = fmt.Sprintf("if what is in it is yours, as root: chown -h %d %s; %s", os.Geteuid(), pgname.Shell(path), trust)
	default: // a pipe, a socket, a device: who has it open keeps it
		e.Try = trust
	}
	return e
}

func trusting(uid uint32) string {
	return fmt.Sprintf("if that account may act as you: export %s=%d", TrustVariable, uid)
}

// copied says how to put a copy in the place of a file: one that no process has open. It is made in
// a folder of its own, which no other account can enter: in a folder as /tmp is, one could lay a
// link, or a file that it has open, where the copy is to be.
//
// The file's owner may put another file in its place at any time between the look and the paste, a
// link to a file of root's too. So cp follows no link, a link is not put into the place, and mode
// takes from the copy what other accounts could do with it. The name may be a link to a folder when
// the copy comes into its place: mv does not go into that.
//
// The advice is two commands, and the second one stands behind a #: who pastes the whole line has
// made the copy and reads what to look at.
func copied(path, mode string) string {
	first, second := copying(path, mode)
	return first + "  # look whether what is in the copy is yours; only then: " + second
}

func copying(path, mode string) (first, second string) {
	aside := path + ".new"
	file, folder, within := pgname.Shell(path), pgname.Shell(aside), pgname.Shell(aside+"/"+filepath.Base(path))
	inPlace := "mv -fh"
	if runtime.GOOS == "linux" {
		inPlace = "mv -fT"
	}
	first = fmt.Sprintf("mkdir -m 700 %[2]s && cp -P %[1]s %[3]s && [ ! -L %[3]s ] && chmod %[4]s %[3]s", file, folder, within, mode)
	return first, fmt.Sprintf("%s %s %s && rmdir %s", inPlace, within, file, folder)
}

// outside is foreign where nothing can be given to another owner: the system does not say which
// account it is.
func outside(path string, owner uint32) *Error {
	return &Error{
		Path: path, Foreign: true, Why: fmt.Sprintf("belongs to an account outside of this user namespace (shown as uid %d), root or any other", owner),
		Try: fmt.Sprintf("run it in a namespace that knows that account; or, if every account outside may act as you: export %s=%d", TrustVariable, owner),
	}
}

// writable does not say of a file that its mode is all: what others wrote into it is there, and a
// process that has it open goes on writing.
func writable(path, by string, file bool) *Error {
	e := &Error{Path: path, Why: "may be written by " + by, Try: "chmod go-w " + pgname.Shell(path)}
	if file {
		// Its owner and those of the folders above it are trusted: no other account can put another
		// file in its place, and those who may read it have read it.
		e.Try = copied(path, "go-w")
	}
	return e
}
