package doctor

import (
	"fmt"
	"time"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// SchemaVersion is the version of Report's JSON form. It rises when a field changes its meaning or
// goes; new fields and new checks may come without.
const SchemaVersion = 1

// Status is what became of a check.
type Status string

// The statuses. Skip is a check that could not be made: its finding says why.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
	Skip Status = "skip"
)

// Place is where a fix is to be run.
type Place string

// The places. A fix in Source or Sink is SQL, one in Shell a command; Settings names wal2vec's own
// settings, and Server is for the person who runs the server, in words.
const (
	Source   Place = "source"
	Sink     Place = "sink"
	Shell    Place = "shell"
	Settings Place = "settings"
	Server   Place = "server"
)

// Finding is what a check found. A check may have several.
type Finding struct {
	// Check is the check's name, which stays the same from version to version; see Checks.
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Text is the finding in one line.
	Text string `json:"finding"`
	// Fix repairs it; empty where nothing is to be repaired or no check can say how. FixIn is
	// where.
	Fix   string `json:"fix"`
	FixIn Place  `json:"fix_in"`
	// Lines are the lines of a file that Fix speaks of, in their order.
	Lines []string `json:"lines,omitempty"`
}

// Report is what the checks found, in the order of Checks.
type Report struct {
	SchemaVersion int       `json:"schema_version"`
	Pipeline      string    `json:"pipeline"`
	CheckedAt     time.Time `json:"checked_at"`
	// Worst is fail, skip, warn or ok, the first of them that a finding has.
	Worst    Status    `json:"worst"`
	Findings []Finding `json:"findings"`
}

// Count is how many findings have a status.
func (r Report) Count(s Status) int {
	n := 0
	for _, f := range r.Findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

// Err is nil when nothing fails and every check was made. It is of kind Findings when something
// fails, else of kind Unavailable.
func (r Report) Err() error {
	switch r.Worst {
	case Fail:
		text := counted(r.checks(Fail), "check fails", "checks fail")
		if skipped := r.checks(Skip); skipped > 0 {
			text += fmt.Sprintf(", %d could not be made", skipped)
		}
		return fault.New(fault.Findings, "", "%s", text)
	case Skip:
		return fault.New(fault.Unavailable, "", "%s", counted(r.checks(Skip), "check could not be made", "checks could not be made"))
	default:
		return nil
	}
}

// checks is how many checks have a finding of a status: a check may have several.
func (r Report) checks(s Status) int {
	names := map[string]bool{}
	for _, f := range r.Findings {
		if f.Status == s {
			names[f.Check] = true
		}
	}
	return len(names)
}

func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// Add adds a finding of a check of the caller's.
func (r *Report) Add(check string, status Status, text, fix string, in Place) {
	r.Findings = append(r.Findings, Finding{Check: check, Status: status, Text: text, Fix: fix, FixIn: in})
	r.settle()
}

// AddError adds an error as a finding, with what it says to do. One that time may repair is a skip.
func (r *Report) AddError(check string, status Status, err error) {
	fix := adviceOf(fault.Try(err), Source)
	if fault.Retryable(err) {
		status = Skip
	}
	r.Add(check, status, config.Printable(err), fix.text, fix.place)
}

func (r *Report) settle() {
	for _, s := range []Status{Fail, Skip, Warn, OK} {
		if r.Count(s) > 0 {
			r.Worst = s
			return
		}
	}
}
