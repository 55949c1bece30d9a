package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

// Options say what is examined. A zero Limits takes the defaults.
type Options struct {
	Config config.Config
	// Model tells of the models on this machine.
	Model Model
	// Files are files beside the configuration that may hold passwords: a .env file, libpq's
	// password file. They need not exist.
	Files  []string
	Limits Limits
	// UseStarter is the command that names the settings file where one lies beside settings that
	// name none; else empty.
	UseStarter string
	// Dial and LookUp connect to the servers; nil takes the network.
	Dial   pgconn.DialFunc
	LookUp pgconn.LookupFunc
	// Now is the machine's clock; time.Now when nil.
	Now func() time.Time
}

// Limits are where a figure becomes a finding.
type Limits struct {
	// Connect bounds opening a connection, Statement each query, Area all checks of one side.
	Connect, Statement, Area time.Duration
	// OpenTransaction is the age from which an open transaction is reported.
	OpenTransaction time.Duration
	// OtherSlot is how much log another slot may hold back, in bytes.
	OtherSlot int64
	// ClockSkew is how far clocks may be apart.
	ClockSkew time.Duration
	// Lag is the age of the oldest change that waits, from which it is reported.
	Lag time.Duration
	// Report is the age from which a stream's report is too old.
	Report time.Duration
	// Idle is how long nothing may happen to a backfill that a process holds.
	Idle time.Duration
	// Tombstones is how many there may be whatever the number of live rows.
	Tombstones int64
}

// DefaultLimits returns the limits of the command. All but the time-outs are guesses.
func DefaultLimits() Limits {
	return Limits{
		Connect: 10 * time.Second, Statement: 10 * time.Second, Area: 60 * time.Second,
		OpenTransaction: 10 * time.Minute, OtherSlot: 1 << 30, ClockSkew: 2 * time.Second, Lag: time.Minute,
		Report: time.Minute, Idle: 15 * time.Minute, Tombstones: 100_000,
	}
}

// Refused is the report of a configuration that does not load.
func Refused(err error, now time.Time) Report {
	e := newExamination(Options{Now: func() time.Time { return now }})
	e.fail("config.load", inSettings(fault.Try(err)), "%s", config.Printable(err))
	e.skipRest("the settings do not load")
	return e.report()
}

// Examine makes every check. It takes as long as its time-outs at most; an error of a check is a
// finding.
func Examine(ctx context.Context, opts Options) Report {
	e := newExamination(opts)
	for _, part := range []struct {
		name string
		look func(context.Context)
	}{
		{"the settings", e.examineConfig},
		{"the source", e.examineSource},
		{"the sink", e.examineSink},
		{"the role", e.examineRole}, // what the sink knows of it says what it is for
		{"the table", e.examineTable},
		{"the slot", e.examineSlot},
		{"the pipeline", e.examinePipeline},
		{"the model", e.examineModel},
	} {
		within, cancel := context.WithTimeoutCause(ctx, e.limits.Area,
			fault.New(fault.Unavailable, "", "looking at %s took longer than %s", part.name, e.limits.Area))
		part.look(within)
		cancel()
	}
	e.close(ctx)
	e.skipRest("a check that it needs fails or could not be made")
	return e.report()
}

// examination is one look at everything.
type examination struct {
	opts   Options
	limits Limits
	now    func() time.Time

	findings []Finding
	source   sourceFacts
	sink     sinkFacts
	table    *change.Table // complete; nil where it has problems
	state    *sink.State   // nil where the pipeline is not set up, or not to be read
	slot     replication.SlotState
	swaps    bool // a stream follows a table that takes the place of the source's
}

func newExamination(opts Options) *examination {
	e := &examination{opts: opts, limits: opts.Limits, now: opts.Now}
	if e.limits == (Limits{}) {
		e.limits = DefaultLimits()
	}
	if e.now == nil {
		e.now = time.Now
	}
	return e
}

func (e *examination) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.limits.Connect)
	defer cancel()
	e.closeSource(ctx)
	if e.sink.pool != nil {
		e.sink.pool.Close()
	}
}

// closeSource gives the source up: nothing more is asked of it.
func (e *examination) closeSource(ctx context.Context) {
	if e.source.conn != nil {
		_ = e.source.conn.Close(ctx) // nothing depends on a polite end
		e.source.conn = nil
	}
}

func (e *examination) add(check string, status Status, fix advice, text string) {
	e.findings = append(e.findings, Finding{Check: check, Status: status, Text: text, Fix: fix.text, FixIn: fix.place, Lines: fix.lines})
}

func (e *examination) ok(check, text string, args ...any) {
	e.add(check, OK, nothing, fmt.Sprintf(text, args...))
}

func (e *examination) warn(check string, fix advice, text string, args ...any) {
	e.add(check, Warn, fix, fmt.Sprintf(text, args...))
}

func (e *examination) fail(check string, fix advice, text string, args ...any) {
	e.add(check, Fail, fix, fmt.Sprintf(text, args...))
}

func (e *examination) skip(check, text string, args ...any) {
	e.add(check, Skip, nothing, fmt.Sprintf(text, args...))
}

// judge is what becomes of a check whose rule another package holds: its error, if any, is a
// finding where somebody has to do something, and a skip where the rule could not be applied.
func (e *examination) judge(check string, err error, database Place, ok string, args ...any) bool {
	switch kind := fault.KindOf(err); {
	case kind == 0:
		e.ok(check, ok, args...)
		return true
	case (kind == fault.Unavailable || kind == fault.Internal) && !fault.Unproven(err): // a server that proves nothing of itself does answer
		e.skip(check, "%s", config.Printable(err))
	default:
		fix := adviceOf(fault.Try(err), database)
		if e.opts.UseStarter != "" && fault.Absent(err) {
			fix = inShell(e.opts.UseStarter)
		}
		e.fail(check, fix, "%s", config.Printable(err))
	}
	return false
}

// could reports whether a query went well; else the checks that need its answer are skipped.
func (e *examination) could(err error, checks ...string) bool {
	if err == nil {
		return true
	}
	for _, check := range checks {
		e.skip(check, "%s", config.Printable(err))
	}
	return false
}

// skipRest skips every check that has no finding yet.
func (e *examination) skipRest(why string) {
	for _, check := range Checks() {
		if !slices.ContainsFunc(e.findings, func(f Finding) bool { return f.Check == check.Name }) {
			e.skip(check.Name, "%s", why)
		}
	}
}

func (e *examination) report() Report {
	order := make(map[string]int)
	for i, check := range Checks() {
		order[check.Name] = i
	}
	slices.SortStableFunc(e.findings, func(a, b Finding) int { return order[a.Check] - order[b.Check] })
	r := Report{SchemaVersion: SchemaVersion, Pipeline: e.opts.Config.Pipeline, CheckedAt: e.now().UTC(), Findings: e.findings}
	r.settle()
	return r
}
