package doctor

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

func (e *examination) examinePipeline(ctx context.Context) {
	if e.state == nil {
		if e.sink.kept { // whose lock that is, the catalogue alone says
			e.examineLock(ctx)
		}
		return
	}
	e.examineHistory(ctx)
	e.judgeConsistency()
	e.judgePartial()
	e.judgeJobs()
	e.judgeGenerations()
	e.examineLock(ctx)
	if e.source.conn == nil {
		return
	}
	// A count of rows may take too long: what it is for is skipped then.
	c := e.opts.Config
	m := monitor.New(e.source.conn, e.sink.pool, monitor.Options{
		Pipeline: c.Pipeline, Schema: c.Sink.Schema, Trusted: e.sink.store.Trusted, Slot: c.Source.Slot, Now: e.now,
		SourceRows: connect.SourceRows(e.opts.Config),
	})
	status, err := m.Probe(ctx)
	if status.SlotActive == nil && err != nil {
		e.could(err, "pipeline.stream", "pipeline.lag")
	} else if e.state.Started() {
		e.judgeStream(status)
	}
	if status.RowsStale == nil {
		e.could(err, "pipeline.coverage")
	} else {
		e.judgeCoverage(status)
	}
	e.judgeFullBackfill(status)
	e.examineTombstones(ctx)
}

// judgeConsistency compares what is configured and what is there with what the pipeline was set up
// for.
func (e *examination) judgeConsistency() {
	const check = "pipeline.settings"
	switch c := e.opts.Config.Source; {
	case e.table == nil:
	case !change.SameKey(e.state.Table.Key, e.table.Key):
		e.fail(check, inSettings("source.key as it was; a key of another type takes another pipeline: wal2vec teardown, then wal2vec init"),
			"the pipeline's key is %v, the table's is %v", e.state.Table.Key, e.table.Key)
	default:
		e.judge(check, connect.CheckState(e.opts.Config, *e.state, *e.table), Source, "the pipeline reads %s by %v", c.Table, c.Key)
	}
}

// examineHistory asks as the stream does before it begins.
func (e *examination) examineHistory(ctx context.Context) {
	info := e.source.info
	if e.source.conn == nil || !e.state.Started() {
		return
	}
	same := e.state.SystemID == info.SystemID && e.state.Timeline == info.Timeline
	if same && (e.slot.WALEnd == 0 || e.state.Watermark <= e.slot.WALEnd) {
		e.ok("pipeline.history", "system %s, timeline %d", info.SystemID, info.Timeline)
		return
	}
	if e.searches() { // the log can be asked by a role with REPLICATION alone, which this one must not get
		e.warn("pipeline.history", asStreamer, "the pipeline follows system %s on timeline %d up to %s, this is system %s on timeline %d; %s",
			e.state.SystemID, e.state.Timeline, e.state.Watermark, info.SystemID, info.Timeline, e.isFor())
		return
	}
	c := e.opts.Config
	source := replication.NewSource(replication.Options{
		ConnString: c.Source.DSN.Reveal(), Slot: c.Source.Slot, Publication: c.Source.Publication, Table: e.state.Table,
		SystemID: e.state.SystemID, Timeline: e.state.Timeline,
	})
	e.judge("pipeline.history", source.Check(ctx, e.state.Watermark), Source, "system %s, timeline %d", info.SystemID, info.Timeline)
}

// lockWaited is how long a stream's wait for a lock is an ordinary one.
const lockWaited = time.Second

// examineLock looks for a session that keeps a lock for which the stream waits.
func (e *examination) examineLock(ctx context.Context) {
	const check = "pipeline.lock"
	pipeline := e.opts.Config.Pipeline
	b, err := pgsession.FindBlocker(ctx, e.sink.pool, pgsession.Waiting{
		Application: pgsession.Streaming(pipeline), Schema: e.opts.Config.Sink.Schema, Pipeline: pipeline,
	})
	switch {
	case !e.could(err, check):
	case b == nil || b.Works(pipeline) || max(b.Waited, b.Since) < lockWaited:
		e.ok(check, "no session keeps a lock that the stream waits for")
	case b.PID == 0:
		e.fail(check, onServer(b.Try()), "the stream waits for %s", b)
	default:
		e.fail(check, inSink("SELECT pg_catalog.pg_terminate_backend("+strconv.Itoa(int(b.PID))+");"), "the stream waits for %s", b)
	}
}

func (e *examination) judgePartial() {
	const check = "pipeline.partial"
	switch partial := e.state.PartialUntil; {
	case partial <= e.state.Watermark:
		e.ok(check, "the sink shows the source as of the watermark")
	case e.slot.Active && partial <= e.slot.WALEnd: // a backfill that began before the stream
		e.ok(check, "some rows are newer than the watermark says until it passes %s, where a stream leads it", partial)
	default:
		e.warn(check, inShell("wal2vec stream"), "until the watermark passes %s, some rows are newer than it says", partial)
	}
}

// judgeJobs tells backfills that no process goes on with from those that stand still.
func (e *examination) judgeJobs() {
	fine := true
	for _, j := range e.state.Jobs {
		age := e.age(j.UpdatedAt)
		command := inShell("wal2vec backfill")
		switch j.Mode {
		case sink.Retry:
			command = inShell("wal2vec dead-letter retry --all")
		case sink.Build:
			command = inShell("wal2vec generation build")
		case sink.Incremental, sink.Full:
		}
		what := string(j.Mode)
		if j.Resync {
			what = "refresh after a resync"
		}
		switch {
		case !j.UnderWay:
			fine = false
			since := j.CreatedAt.UTC().Format(time.DateTime)
			e.warn("pipeline.jobs", command, "job %d (%s) is open since %s, and no process goes on with it", j.ID, what, since)
		case age > e.limits.Idle:
			fine = false
			e.warn("pipeline.jobs", command, "job %d (%s) has made no progress for %s", j.ID, what, age.Round(time.Second))
		}
	}
	if fine {
		e.ok("pipeline.jobs", "%d open, none forgotten", len(e.state.Jobs))
	}
}

// judgeGenerations looks for generations that wait for somebody.
func (e *examination) judgeGenerations() {
	fine := true
	for _, g := range e.state.Generations {
		filled := slices.ContainsFunc(e.state.Jobs, func(j sink.JobState) bool { return j.Generation == g.ID })
		if g.State == sink.Building && !filled {
			fine = false
			e.warn("pipeline.generations", inShell("wal2vec generation list  # then generation activate, build or retire"),
				"generation %d (%s) is neither active nor being filled, and is written with every change", g.ID, g.Model)
		}
	}
	if fine {
		e.ok("pipeline.generations", "%d are written", len(e.state.Generations))
	}
}

func (e *examination) judgeStream(s monitor.Status) {
	stream := inShell("wal2vec stream")
	active := s.SlotActive != nil && *s.SlotActive
	age := e.age(e.state.ReportedAt)
	switch {
	case !active:
		e.warn("pipeline.stream", stream, "no stream runs")
	case age > e.limits.Report:
		e.warn("pipeline.stream", inShell("wal2vec status  # and the log of the stream"), "the stream %s has not reported for %s", e.state.Owner,
			age.Round(time.Second))
	default:
		e.ok("pipeline.stream", "%s reported %s ago", e.state.Owner, age.Round(time.Second))
	}
	switch {
	case s.LagSeconds != nil && *s.LagSeconds > e.limits.Lag.Seconds():
		e.warn("pipeline.lag", inShell("wal2vec status  # and the log of the stream"), "the oldest change that waits is %s old",
			seconds(*s.LagSeconds))
	case s.LagSeconds != nil:
		e.ok("pipeline.lag", "the oldest change that waits is %s old", seconds(*s.LagSeconds))
	case s.LagBytes != nil:
		e.ok("pipeline.lag", "%s of log behind; no stream tells the age of what waits", monitor.BytesText(*s.LagBytes))
	default:
		e.skip("pipeline.lag", "positions of two servers are not compared")
	}
}

func (e *examination) judgeCoverage(s monitor.Status) {
	letters := int64(0)
	if s.DeadLetters != nil {
		letters = *s.DeadLetters
	}
	if letters > 0 {
		e.warn("pipeline.dead_letters", inShell("wal2vec dead-letter list"), "%d rows have texts that could not be encoded", letters)
	} else {
		e.ok("pipeline.dead_letters", "there are none")
	}
	if stale := *s.RowsStale - letters; stale > 0 {
		e.warn("pipeline.coverage", inShell("wal2vec backfill"), "%d of %d live rows lack the vector of their text", stale, *s.RowsLive)
	} else {
		e.ok("pipeline.coverage", "%d live rows, %d with the vector of their text", *s.RowsLive, *s.RowsFresh)
	}
}

// judgeFullBackfill tells of rows of the source that the sink does not know, since they have not
// changed since init.
func (e *examination) judgeFullBackfill(s monitor.Status) {
	const check = "pipeline.backfill"
	s.FullBackfill = e.state.FullBackfill
	text := s.FullBackfillText()
	reads := func(j sink.JobState) bool { return j.UnderWay && j.Limit == 0 && j.Mode != sink.Retry }
	switch at := slices.IndexFunc(e.state.Jobs, reads); {
	case !e.state.Started():
	case e.state.FullBackfill == change.BackfillDone:
		e.ok(check, "every row of the source was read")
	case at >= 0:
		e.ok(check, "%s; job %d reads every row", text, e.state.Jobs[at].ID)
	default:
		e.warn(check, inShell("wal2vec backfill"), "%s", text)
	}
}

func (e *examination) examineTombstones(ctx context.Context) {
	if e.state.Generation == nil {
		return
	}
	counts, err := e.sink.store.Counts(ctx)
	if !e.could(err, "pipeline.tombstones") {
		return
	}
	if counts.Tombstones > max(e.limits.Tombstones, counts.Live) {
		e.warn("pipeline.tombstones", inShell("wal2vec backfill"), "%d tombstones beside %d live rows: an open job keeps them, or no stream collects them",
			counts.Tombstones, counts.Live)
	} else {
		e.ok("pipeline.tombstones", "%d", counts.Tombstones)
	}
}
