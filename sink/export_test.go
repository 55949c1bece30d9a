package sink

import (
	"context"
	"time"
)

// SetPatience takes the place of the waits for locks.
func (s *Sink) SetPatience(wait, pause time.Duration, tries int) {
	s.patience = patience{wait: wait, pause: pause, tries: tries}
}

// ClearIndex does what follows a build of a generation's index that did not end well.
func (s *Sink) ClearIndex(ctx context.Context, g Generation) {
	(&indexBuild{sink: s, generation: g, tables: tables{}}).clear(ctx)
}

// SetHungAfter takes the place of how long a session of the pipeline may let the server wait in a
// transaction.
func (s *Sink) SetHungAfter(d time.Duration) { s.hungAfter = d }

// NamesOf are the names of the tables and indexes of a pipeline that has had the generations 1 to
// n.
func NamesOf(pipeline string, n int) []string {
	own := namesOf(pipeline)
	all := []string{own.ledger, own.ledgerKey, own.tombstones, own.letters, own.lettersKey, own.lettersLookup}
	s := &Sink{pipeline: pipeline}
	for id := 1; id <= n; id++ {
		table := s.vectorTable(id)
		all = append(all, table, table+"_pkey", table+"_hnsw")
	}
	return all
}

// OpenJobs counts the backfills that a live process holds.
func (s *Sink) OpenJobs(ctx context.Context) (int, error) {
	var n int
	err := s.pool.QueryRow(ctx, "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND classid = $1::bigint::oid AND objsubid = 2 "+
		"AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())", int64(s.lockClass("backfill"))).Scan(&n)
	return n, err
}
