package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// sightings are the findings that tests have seen, to be held against the list of checks.
type sightings struct {
	mu   sync.Mutex
	seen map[string]map[doctor.Status]bool
}

var saw sightings

func (s *sightings) note(check string, status doctor.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = make(map[string]map[doctor.Status]bool)
	}
	if s.seen[check] == nil {
		s.seen[check] = make(map[doctor.Status]bool)
	}
	s.seen[check][status] = true
}

func TestAHealthyPipelineHasNoFinding(t *testing.T) {
	host := pgtest.Server(t, healthySettings()...)
	r := healthy(t, host)
	role := r.streamedBy()
	host.Rules(t, rulesFor(role, r.db.Name))
	report := r.examine()
	old := r.oldVector(report)
	for _, f := range report.Findings {
		t.Logf("%-5s %-22s %s", f.Status, f.Check, f.Text)
		if f.Status != doctor.OK && (f.Check != old.Check || f.Text != old.Text) {
			t.Errorf("%+v", f)
		}
	}
	if err := report.Err(); err != nil || report.Worst != doctor.OK && report.Worst != old.Status {
		t.Errorf("%v, worst %s", err, report.Worst)
	}
	if fault.KindOf(report.Err()) != 0 {
		t.Error("a kind")
	}
}

func settingsThatDoNotLoad(t *testing.T) {
	t.Helper()
	saw.note("config.load", doctor.Fail)
	report := doctor.Refused(fault.New(fault.Usage, "wal2vec config reference", "source.key: must not be empty"), time.Now())
	if report.Worst != doctor.Fail || report.Count(doctor.Fail) != 1 || report.Count(doctor.Skip) != len(doctor.Checks())-1 {
		t.Errorf("%+v", report)
	}
	if f := report.Findings[0]; f.Check != "config.load" || f.FixIn != doctor.Settings || fault.KindOf(report.Err()) != fault.Findings {
		t.Errorf("%+v, %v", f, report.Err())
	}
}

func TestAdviceIsSorted(t *testing.T) {
	f := func(try string, place doctor.Place, want string) {
		t.Helper()
		if gotPlace, got := doctor.AdviceOf(try); gotPlace != place || got != want {
			t.Errorf("%q: %s %q", try, gotPlace, got)
		}
	}
	f("", "", "")
	f("ALTER ROLE r REPLICATION;", doctor.Source, "ALTER ROLE r REPLICATION;")
	f("ALTER SYSTEM SET a = 'b'; then restart the server", doctor.Source, "ALTER SYSTEM SET a = 'b'; -- then restart the server")
	f("wal2vec init --resync", doctor.Shell, "wal2vec init --resync")
	f("wal2vec init, which brings it up to date", doctor.Shell, "wal2vec init  # which brings it up to date")
	f("make parts", doctor.Shell, "make parts")
	f("make parts, or unset WAL2VEC_HOME", doctor.Shell, "make parts  # or unset WAL2VEC_HOME")
	f("make the key unique", doctor.Server, "make the key unique")
	f("wal2vec init --grant-stream='a,b;c', as the owner", doctor.Shell, "wal2vec init --grant-stream='a,b;c'  # as the owner")
	f(`DROP VIEW "a;b"; then wal2vec init`, doctor.Source, `DROP VIEW "a;b"; -- then wal2vec init`)
	f(`SELECT 1; SELECT 2; or not`, doctor.Source, `SELECT 1; SELECT 2; -- or not`)
	f(`/* with the rights of both owners */ BEGIN; ALTER TABLE t SET LOGGED; COMMIT;`, doctor.Source, `/* with the rights of both owners */ BEGIN; ALTER TABLE t SET LOGGED; COMMIT;`)
	f(`ALTER TABLE t SET LOGGED;`+pgname.ByOwner, doctor.Source, `ALTER TABLE t SET LOGGED;`+pgname.ByOwner)
	f("connect to the primary", doctor.Server, "connect to the primary")
	f("CREATE a thing", doctor.Server, "CREATE a thing")
}

// everyFindingWasSeen holds what the tests have seen against the list of checks.
func everyFindingWasSeen(t *testing.T) {
	t.Helper()
	for _, check := range doctor.Checks() {
		for _, status := range check.Bad {
			if !saw.seen[check.Name][status] {
				t.Errorf("no test sees %s %s", check.Name, status)
			}
		}
	}
	for name, all := range saw.seen {
		i := slices.IndexFunc(doctor.Checks(), func(c doctor.Check) bool { return c.Name == name })
		if i < 0 {
			t.Errorf("%s is not in the list of checks", name)
			continue
		}
		for status := range all {
			if (status == doctor.Warn || status == doctor.Fail) && !slices.Contains(doctor.Checks()[i].Bad, status) {
				t.Errorf("%s is %s, which the list does not say", name, status)
			}
		}
	}
}

func TestTheDocumentListsEveryCheck(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "doctor.md"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, "| `") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	var want []string
	for _, check := range append(doctor.Checks(), doctor.ProbeChecks()...) {
		bad := "-"
		for i, status := range check.Bad {
			if i == 0 {
				bad = string(status)
			} else {
				bad += ", " + string(status)
			}
		}
		want = append(want, strings.TrimSpace(fmt.Sprintf("| `%s` | %s | %s | %s |", check.Name, bad, check.Asks, check.Else)))
	}
	if !slices.Equal(rows, want) {
		t.Errorf("docs/doctor.md lists\n%s\nthe checks are\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
}
