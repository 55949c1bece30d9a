package pgserver

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// account is the operating system's user that runs the server: nil means the current one.
type account struct {
	uid, gid uint32
}

// uidOrOwn is the account that the server runs as.
func (a *account) uidOrOwn() uint32 {
	if a == nil {
		return uint32(os.Geteuid()) //nolint:gosec // never negative on Unix
	}
	return a.uid
}

// weaker is the account that runs servers for root.
const weaker = "nobody"

// Account names the account that runs servers, "" where that is the current one: connections that
// look whose the server is have to be told.
func Account() string {
	if os.Geteuid() != 0 {
		return ""
	}
	return weaker
}

// serverAccount returns the user to run as: PostgreSQL refuses root, so root runs it as nobody.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no other account is an answer
	}
	who, err := user.Lookup(weaker)
	if err != nil {
		return nil, fmt.Errorf("looking up the user to run PostgreSQL as: %w", err)
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the uid of nobody: %w", err)
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the gid of nobody: %w", err)
	}
	return &account{uid: uint32(uid), gid: uint32(gid)}, nil
}

// apply lets a command run as the account, with SysProcAttr set. It hands on nothing of this
// process's environment, which holds passwords and which every process of the account can read in
// /proc, and no folder that may be closed to the account.
func (a *account) apply(cmd *exec.Cmd, home string) {
	cmd.Dir, cmd.Env = "/", environment(home)
	if a != nil {
		cmd.SysProcAttr.Setsid = true // a process of another account has no terminal of this one's, into which it could type
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
}

// own gives path to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	if err := os.Lchown(path, int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("giving a folder to the server's user: %w", err)
	}
	return nil
}
