package chaos

import (
	"maps"
	"sync"
)

// Report is what a run did and saw. Its methods may be called from any goroutine.
type Report struct {
	Seed    uint64  `json:"seed"`
	Minutes float64 `json:"minutes"`
	Major   int     `json:"postgresql"`
	// Databases is "one" or "two".
	Databases string `json:"databases"`
	// Transactions and Changes are what the oracle saw commit.
	Transactions int `json:"transactions"`
	Changes      int `json:"changes"`
	// Unpublished counts the changes that the log may not have brought.
	Unpublished int `json:"changes_unpublished"`
	// Looks, Rows and Watermarks are what was compared with the oracle; Partial counts the looks at
	// a sink ahead of its watermark.
	Looks      int `json:"looks"`
	Partial    int `json:"looks_partial"`
	Watermarks int `json:"watermarks"`
	Rows       int `json:"rows_compared"`
	// Letters counts the dead letters of the last look.
	Letters int `json:"dead_letters"`
	// Faults counts those that were made, Seen what they led to, Written the writers' transactions,
	// each by kind.
	Faults  map[string]int `json:"faults"`
	Seen    map[string]int `json:"seen"`
	Written map[string]int `json:"written"`
	// Skipped says which faults this machine does not allow, and why.
	Skipped []string `json:"skipped,omitempty"`
	// Result is "ok" or "failed".
	Result string `json:"result"`

	mu sync.Mutex
}

func (r *Report) add(counts *map[string]int, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if *counts == nil {
		*counts = make(map[string]int)
	}
	(*counts)[name]++
}

// Fault counts a fault.
func (r *Report) Fault(name string) { r.add(&r.Faults, name) }

// Saw counts what a fault led to.
func (r *Report) Saw(name string) { r.add(&r.Seen, name) }

// Wrote counts a writer's transaction.
func (r *Report) Wrote(name string) { r.add(&r.Written, name) }

// Skip notes a fault that this machine does not allow.
func (r *Report) Skip(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Skipped = append(r.Skipped, why)
}

// Judged counts a look.
func (r *Report) Judged(l Look, watermarks int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Looks++
	r.Rows += len(l.Rows)
	r.Watermarks = watermarks
	if l.Partial > l.Watermark {
		r.Partial++
	}
	r.Letters = 0
	for _, row := range l.Rows {
		if row.Reason != "" {
			r.Letters++
		}
	}
}

// Closed returns a copy that no process writes to.
func (r *Report) Closed(h *History) *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Report{
		Seed: r.Seed, Minutes: r.Minutes, Major: r.Major, Databases: r.Databases, Transactions: h.Transactions, Changes: h.Changes,
		Unpublished: h.Unpublished,
		Looks:       r.Looks, Partial: r.Partial, Watermarks: r.Watermarks, Rows: r.Rows, Letters: r.Letters,
		Faults: maps.Clone(r.Faults), Seen: maps.Clone(r.Seen), Written: maps.Clone(r.Written), Skipped: r.Skipped,
	}
}
