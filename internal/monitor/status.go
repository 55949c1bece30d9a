package monitor

import (
	"fmt"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// SchemaVersion is the version of Status's JSON form. It rises when a field changes its meaning or
// goes; new fields may come without.
const SchemaVersion = 1

// Phase says in one word what a pipeline does.
type Phase string

// The phases, as docs/status.md explains them.
const (
	NotInitialised Phase = "not_initialised"
	Gap            Phase = "gap"
	Backfilling    Phase = "backfilling"
	Stopped        Phase = "stopped"
	CatchingUp     Phase = "catching_up"
	Streaming      Phase = "streaming"
	// WaitingForLock is the phase of a stream that cannot write: another session keeps a lock in
	// the sink.
	WaitingForLock Phase = "waiting_for_lock"
	// NotReporting is the phase of a pipeline whose slot a process reads that does not report: it
	// starts, or hangs, or is no stream.
	NotReporting Phase = "not_reporting"
	// Unknown is the phase of a Status that came with an error.
	Unknown Phase = "unknown"
)

// Status is how a pipeline is at one moment; docs/status.md is the contract of its JSON form. A nil
// pointer is a figure that is not known.
type Status struct {
	SchemaVersion int    `json:"schema_version"`
	Pipeline      string `json:"pipeline"`
	Phase         Phase  `json:"phase"`
	// Reason says why, for the phases that somebody has to do something about; else empty.
	Reason     string    `json:"reason"`
	ReportedAt time.Time `json:"reported_at"`

	WatermarkLSN      *change.LSN `json:"watermark_lsn"`
	ConfirmedFlushLSN *change.LSN `json:"confirmed_flush_lsn"`
	CurrentWALLSN     *change.LSN `json:"current_wal_lsn"`
	LagBytes          *int64      `json:"lag_bytes"`
	// LagSeconds is the age of the oldest commit that is not applied; 0 when there is none, nil
	// when no stream runs.
	LagSeconds *float64 `json:"lag_seconds"`

	Slot             string  `json:"slot"`
	SlotActive       *bool   `json:"slot_active"`
	WALStatus        *string `json:"wal_status"`
	SafeWALBytes     *int64  `json:"safe_wal_bytes"` // nil also when the server keeps log without a limit
	RetainedWALBytes *int64  `json:"retained_wal_bytes"`

	RowsLive      *int64     `json:"rows_live"`
	RowsFresh     *int64     `json:"rows_fresh"`
	RowsStale     *int64     `json:"rows_stale"`
	RowsCountedAt *time.Time `json:"rows_counted_at"`
	DeadLetters   *int64     `json:"dead_letters"`

	// FullBackfill says whether every row of the source is among the live ones; empty where that is
	// not known.
	FullBackfill change.FullBackfill `json:"full_backfill"`
	// SourceRows and RowsMissing are estimates, which are made while FullBackfill is not done.
	SourceRows  *int64 `json:"source_rows"`
	RowsMissing *int64 `json:"rows_missing"`
	// SourceRowsNotAsked says why the source was not asked for its rows, where this role may do
	// more than it may let the table's owner have; else empty.
	SourceRowsNotAsked string `json:"source_rows_not_asked"`

	// EpochCount is the number of the source's history that the pipeline follows; 0 before the
	// first.
	EpochCount   int64       `json:"epoch"`
	SystemID     string      `json:"system_id"`
	PartialUntil *change.LSN `json:"partial_until"`
	Model        string      `json:"model"`
	Dimension    *int        `json:"dimension"`
	Generation   *int        `json:"generation"`
	Backfill     *Backfill   `json:"backfill"`
}

// Backfill is an open backfill.
type Backfill struct {
	ID   int64  `json:"id"`
	Mode string `json:"mode"` // incremental or full
	// Running is false when the process that worked on it has gone.
	Running   bool  `json:"running"`
	Processed int64 `json:"processed"` // rows
	// Cursor is the key of the last row of the last chunk, one text a column; nil before the first.
	Cursor    []string  `json:"cursor"`
	StartedAt time.Time `json:"started_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

const (
	// catchingUpAge and catchingUpBytes part streaming from catching up. A stream writes an idle
	// position every 10 s, so that a neighbour's writes alone leave some lag in bytes. Both are
	// guesses.
	catchingUpAge   = 5 * time.Second
	catchingUpBytes = 256 << 20
	// reportLife is three times the interval at which an idle stream reports: an older report says
	// nothing of now.
	reportLife = 30 * time.Second
	// lockWaited is how long a wait for a lock is an ordinary one (a guess: far above what a
	// transaction of ours takes).
	lockWaited = time.Second
)

// set fills in everything that follows from what the sink and the source said. Either is nil when
// it could not be asked.
func (s *Status) set(k *sinkState, r *sourceState) {
	if k != nil {
		s.setSink(k)
	}
	if r != nil {
		s.setSource(r)
	}
	if k != nil && r != nil {
		s.setLag(k, r)
		s.Phase, s.Reason = phase(s, k, r)
	}
}

func (s *Status) setSink(k *sinkState) {
	if !k.registered {
		return
	}
	s.Slot, s.SystemID, s.EpochCount = k.slot, k.systemID, k.epoch.Count()
	s.WatermarkLSN, s.PartialUntil = known(k.watermark), known(k.partialUntil)
	s.DeadLetters = &k.deadLetters
	s.Generation = k.generation
	if k.generation != nil {
		s.Model, s.Dimension = *k.model, k.dimension
	}
	s.Backfill = k.backfill
	if k.watermark != 0 {
		s.FullBackfill = k.full
	}
}

// FullBackfillText says in a line what FullBackfill means for searches; empty where that is not
// known.
func (s *Status) FullBackfillText() string {
	text := FullBackfillText(s.FullBackfill, s.RowsMissing, s.SourceRows)
	if text != "" && s.SourceRowsNotAsked != "" {
		text += " (how many is not asked for: " + s.SourceRowsNotAsked + ")"
	}
	return text
}

// FullBackfillText says in a line what the sink lacks of the source; missing and rows are
// estimates, or nil.
func FullBackfillText(full change.FullBackfill, missing, rows *int64) string {
	about := ""
	if missing != nil && rows != nil {
		about = fmt.Sprintf(": about %d of %d rows of the source are missing", *missing, *rows)
	}
	switch full {
	case change.BackfillDone:
		return "done"
	case change.BackfillNone:
		if about == "" {
			about = ": rows of the source that have not changed since init are missing"
		}
		return "no full backfill yet" + about
	case change.BackfillRefreshing:
		if missing == nil || *missing == 0 {
			about = ": rows of the source may be missing or old"
		}
		return "a refresh has not ended" + about
	case "":
		return ""
	default:
		return "it is not known whether every row of the source was read"
	}
}

func (s *Status) setSource(r *sourceState) {
	s.CurrentWALLSN = known(r.current)
	if !r.slotExists {
		return
	}
	s.ConfirmedFlushLSN = known(r.confirmed)
	s.SlotActive, s.SafeWALBytes = &r.active, r.safeWALBytes
	if r.walStatus != "" {
		s.WALStatus = &r.walStatus
	}
	retained := max(0, r.retainedBytes)
	s.RetainedWALBytes = &retained
}

func (s *Status) setLag(k *sinkState, r *sourceState) {
	if k.watermark == 0 || k.systemID != r.systemID {
		return // positions of two servers are not compared
	}
	bytes := int64(0)
	if r.current > k.watermark {
		bytes = int64(r.current - k.watermark) //nolint:gosec // a log is shorter than 2^63 bytes
	}
	s.LagBytes = &bytes
	if !r.active || k.reportAge == nil {
		return
	}
	seconds := 0.0
	switch {
	case k.oldestPending != nil:
		// Both times are the source's, whatever the clock is here.
		seconds = max(0, r.now.Sub(*k.oldestPending).Seconds())
	case *k.reportAge > reportLife.Seconds():
		return
	}
	s.LagSeconds = &seconds
}

func phase(s *Status, k *sinkState, r *sourceState) (Phase, string) {
	if !k.registered || k.watermark == 0 {
		return NotInitialised, fmt.Sprintf("pipeline %s is not set up: wal2vec init, as the role that sets it up", s.Pipeline)
	}
	if reason := gap(k, r); reason != "" {
		return Gap, reason
	}
	if k.blocker != nil {
		return WaitingForLock, fmt.Sprintf("the stream waits for a lock in the sink, kept by %s: %s", k.blocker, k.blocker.Try())
	}
	if s.Backfill != nil && s.Backfill.Running {
		return Backfilling, ""
	}
	if !r.active {
		return Stopped, fmt.Sprintf("no process reads slot %s: wal2vec stream", k.slot)
	}
	if s.LagBytes != nil && s.LagSeconds == nil {
		return NotReporting, fmt.Sprintf("a process reads slot %s, and no stream has reported for %s: it starts, hangs, or is another program",
			k.slot, reportLife)
	}
	late := s.LagSeconds != nil && *s.LagSeconds > catchingUpAge.Seconds()
	if late || s.LagBytes != nil && *s.LagBytes > catchingUpBytes {
		return CatchingUp, ""
	}
	return Streaming, ""
}

// gap says why the stream cannot go on from the watermark, or "". The stream itself checks more
// than can be seen from outside, and leaves word.
func gap(k *sinkState, r *sourceState) string {
	switch {
	case k.systemID != r.systemID:
		return fmt.Sprintf("the source is server %s, the pipeline follows server %s", r.systemID, k.systemID)
	case !r.slotExists:
		return fmt.Sprintf("slot %s does not exist", k.slot)
	case r.invalidation != "":
		return fmt.Sprintf("slot %s was invalidated: %s", k.slot, r.invalidation)
	case r.walStatus == "lost":
		return fmt.Sprintf("slot %s is lost: the server has removed log that it needs", k.slot)
	case r.confirmed > k.watermark:
		return fmt.Sprintf("slot %s is confirmed to %s, ahead of the watermark %s", k.slot, r.confirmed, k.watermark)
	case k.gap != "" && !r.active:
		return "the stream ended: " + k.gap
	default:
		return ""
	}
}

// known is nil for a position that is zero.
func known(l change.LSN) *change.LSN {
	if l == 0 {
		return nil
	}
	return &l
}
