package demo

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/mart"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestTheDemosLinesFindItsDatabase: psql by variables of the environment, whatever others are set
// there, and with no argument.
func TestTheDemosLinesFindItsDatabase(t *testing.T) {
	t.Parallel()
	pgtest.UseParts(t)
	m, err := mart.Open(t.Context(), mart.Options{Major: Version})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(context.WithoutCancel(t.Context()))
	var out bytes.Buffer
	d := &demo{page: page{out: &out}, mart: m}
	if err := d.sayConnection(); err != nil || d.err != nil {
		t.Fatal(err, d.err)
	}
	lines := strings.TrimSpace(out.String())
	if psql := m.Server.Program("psql"); !strings.HasSuffix(lines, "\n   "+psql) {
		t.Errorf("the last line is not %s alone:\n%s", psql, lines)
	}
	shell := exec.CommandContext(t.Context(), "bash", "-e", "-c", lines+` -XAtc "SELECT current_database() || ' as ' || current_user"; printenv WAL2VEC_SOURCE_DSN`)
	shell.Env = append(os.Environ(), "PGHOSTADDR=192.0.2.1", "PGSERVICE=elsewhere", "PGPORT=1", "PGPASSWORD=another")
	got, err := shell.CombinedOutput()
	if want := mart.Database + " as postgres\n" + m.Config.Source.DSN.Reveal() + "\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestMain(m *testing.M) { pgtest.Run(m) }
