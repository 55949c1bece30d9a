package doctor_test

import (
	"sync"
	"testing"

	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgtest"
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
	r := healthy(t, pgtest.Server(t, healthySettings()...))
	report := r.examine()
	for _, f := range report.Findings {
		t.Logf("%-5s %-22s %s", f.Status, f.Check, f.Text)
		if f.Status != doctor.OK {
			t.Errorf("%+v", f)
		}
	}
	if err := report.Err(); err != nil || report.Worst != doctor.OK {
		t.Errorf("%v, worst %s", err, report.Worst)
	}
	if fault.KindOf(report.Err()) != 0 {
		t.Error("a kind")
	}
}
