package fault_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// kindsOf reads the table of every SQLSTATE.
func kindsOf(t *testing.T) map[string]fault.Kind {
	t.Helper()
	words := map[string]fault.Kind{"retry": fault.Unavailable, "usage": fault.Usage, "busy": fault.Busy, "internal": fault.Internal}
	content, err := os.ReadFile(filepath.Join("testdata", "sqlstates.txt"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]fault.Kind{}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		kind, known := words[fields[1]]
		if _, twice := kinds[fields[0]]; twice || !known || len(fields) != 3 {
			t.Fatalf("bad line %q", line)
		}
		kinds[fields[0]] = kind
	}
	return kinds
}

func TestEverySQLSTATEHasItsKind(t *testing.T) {
	t.Parallel()
	for state, want := range kindsOf(t) {
		err := fmt.Errorf("asking: %w", &pgconn.PgError{Code: state})
		if got := fault.KindOf(err); got != want {
			t.Errorf("%s is of kind %d, want %d", state, got, want)
		}
	}
	for _, state := range []string{"", "4", "99999", "XX0001"} {
		if got := fault.KindOf(&pgconn.PgError{Code: state}); got != fault.Internal {
			t.Errorf("%q is of kind %d", state, got)
		}
	}
}

// errcode is a line of a server's own list.
var errcode = regexp.MustCompile(`^([0-9A-Z]{5})\s+[SWE]\s`)

// TestTheTableHasEverySQLSTATEOfTheServers: a new version's code gets a kind by a decision, not by
// accident.
func TestTheTableHasEverySQLSTATEOfTheServers(t *testing.T) {
	t.Parallel()
	parts, err := pgtest.Parts()
	if err != nil {
		t.Fatal(err)
	}
	kinds := kindsOf(t)
	versions := []string{"pg16", "pg18"}
	if mine := fmt.Sprintf("pg%d", pgtest.Major()); !slices.Contains(versions, mine) {
		versions = append(versions, mine)
	}
	for _, version := range versions {
		codes := 0
		folder, err := filepath.EvalSymlinks(filepath.Join(parts, version))
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.Name() != "errcodes.txt" {
				return err
			}
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			defer file.Close()
			lines := bufio.NewScanner(file)
			for lines.Scan() {
				if found := errcode.FindStringSubmatch(lines.Text()); found != nil {
					codes++
					if _, known := kinds[found[1]]; !known {
						t.Errorf("%s has %s, the table has not", version, found[1])
					}
				}
			}
			return lines.Err()
		})
		if err != nil || codes < 200 {
			t.Errorf("%s: %d codes, %v", version, codes, err)
		}
	}
}

func TestMovingIsWhatTheServerSaidAndNoPackageKnowsBetter(t *testing.T) {
	t.Parallel()
	gone := &pgconn.PgError{Code: "XX000", Message: "could not open relation with OID 1"}
	if !fault.Moving(fmt.Errorf("looking: %w", gone)) {
		t.Error("a relation that is gone")
	}
	for what, err := range map[string]error{"known better": fault.Wrap(gone, fault.Usage, "", "known"), "nothing": nil, "a row": &pgconn.PgError{Code: "22021"}} {
		if fault.Moving(err) {
			t.Error(what)
		}
	}
}
