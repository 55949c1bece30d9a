package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

func TestTheStateOfAnAuditIsOurs(t *testing.T) {
	t.Setenv(safefile.TrustVariable, "")
	dir := pgtest.Folder(t)
	victim := filepath.Join(dir, "victim")
	f := stateFile{path: filepath.Join(dir, "state.json"), identity: "me"}
	err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o644), os.Symlink(victim, f.path+".new"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.save(Report{Identity: "me", Rows: 7}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(f.path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got, err := f.load(); err != nil || got.Rows != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "precious" {
		t.Errorf("a link was followed: %s, %v", text, err)
	}
	if err := os.Chmod(f.path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := f.load(); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "may be written by every account") {
		t.Errorf("another account's state: %v", err)
	}
	if err := errors.Join(os.Remove(f.path), os.Symlink(victim, f.path)); err != nil {
		t.Fatal(err)
	}
	if err := f.save(Report{}); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "links are not followed") {
		t.Errorf("a link in the state's place: %v", err)
	}
}
