package main

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// untrusting waits for a process to end since another role may make triggers on wal2vec's tables,
// which that role is given now.
func (w *world) untrusting(p *process, role string) {
	w.t.Helper()
	ledger := "wal2vec.ledger_" + w.db.Name
	w.db.Exec(w.t, "GRANT TRIGGER ON "+ledger+" TO "+role)
	defer w.db.Exec(w.t, "REVOKE TRIGGER ON "+ledger+" FROM "+role)
	var exit *exec.ExitError
	if err := p.wait(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		w.t.Errorf("%v ended with %v:\n%s", p.cmd.Args, err, p.output)
	}
	for _, says := range []string{role, "has the right TRIGGER", "try: REVOKE TRIGGER, REFERENCES ON ALL TABLES"} {
		if !strings.Contains(p.output.String(), says) {
			w.t.Errorf("%v does not say %q:\n%s", p.cmd.Args, says, p.output)
		}
	}
}

// TestWhatRunsLooksAgainWhoMayMakeATrigger: a right to make one that comes while something runs
// ends that, since each row that it writes could run code of another role. Commands that write at
// the rate of a row in a second would go on for minutes.
func TestWhatRunsLooksAgainWhoMayMakeATrigger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 300)
	w.run("init")
	role, _ := w.db.Role(t, "")
	slow := []string{"WAL2VEC_BACKFILL_RATE=1", "WAL2VEC_BACKFILL_CHUNK_KEYS=1", "WAL2VEC_BACKFILL_IN_FLIGHT=1"}

	stream := w.start(nil, "stream")
	stream.waitFor(`"message":"streaming"`)
	w.untrusting(stream, role)

	works := func(mode string) func() (bool, string) {
		return func() (bool, string) {
			return pgtest.One[bool](t, w.sink, "SELECT coalesce(bool_or(processed > 0), false) FROM wal2vec.backfill WHERE mode = $1", mode), "no chunk of " + mode + " is there"
		}
	}
	backfill := w.start(slow, "backfill")
	pgtest.Eventually(t, processTimeout, works("incremental"))
	w.untrusting(backfill, role)

	build := w.start(append(slow, "WAL2VEC_SOURCE_TEMPLATE={name} of {brand}"), "generation", "build")
	pgtest.Eventually(t, processTimeout, works("build"))
	w.untrusting(build, role)

	// An audit writes nothing, and reads what another role could put in a table's place.
	locking, err := w.db.Conn(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locking.Exec(t.Context(), "LOCK TABLE staging_marts.dim_product IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	audit := w.start(nil, "audit")
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		const waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'wal2vec/audit' AND wait_event_type = 'Lock')"
		return pgtest.One[bool](t, w.db, waits), "the audit does not wait for the table"
	})
	w.untrusting(audit, role)
	if err := locking.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}
