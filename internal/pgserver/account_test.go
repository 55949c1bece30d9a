package pgserver

import (
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestAnAccountGetsNothingOfTheEnvironment: its processes can read a program's in /proc.
func TestAnAccountGetsNothingOfTheEnvironment(t *testing.T) {
	t.Setenv("WAL2VEC_SOURCE_DSN", "postgres://planted")
	t.Setenv("HF_TOKEN", "planted")
	for _, who := range []*account{nil, {uid: 65534, gid: 65534}} {
		cmd := exec.CommandContext(t.Context(), "true")
		cmd.SysProcAttr = &syscall.SysProcAttr{}
		who.apply(cmd, "/home")
		if len(cmd.Env) == 0 || slices.ContainsFunc(cmd.Env, func(e string) bool { return strings.Contains(e, "planted") }) {
			t.Errorf("the environment is %q", cmd.Env)
		}
		if got := cmd.SysProcAttr.Credential; (got == nil) != (who == nil) || cmd.Dir != "/" {
			t.Errorf("runs as %+v in %s", got, cmd.Dir)
		}
		if cmd.SysProcAttr.Setsid != (who != nil) {
			t.Errorf("as %+v it has this process's terminal", who)
		}
	}
}
