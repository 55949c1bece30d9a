package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/sink"
)

const (
	// mostLooks is how often a key that keeps changing is looked at again before it counts as
	// pending.
	mostLooks = 10
	// firstPause and lastPause are between two looks: a row that changes all the time needs a
	// moment without a change.
	firstPause = 10 * time.Millisecond
	lastPause  = 500 * time.Millisecond
	// patience is how long the watermark is waited for before it is asked whether the stream still
	// runs.
	patience = time.Second
)

// errAgain asks for everything to be looked at again.
var errAgain = errors.New("look again")

// settle takes the second look at suspects, as often as it takes, and returns what is wrong.
func (a *Auditor) settle(ctx context.Context, suspects []suspect) ([]Finding, error) {
	suspects = slices.Clone(suspects)
	slices.SortFunc(suspects, func(x, y suspect) int { return strings.Compare(string(x.key), string(y.key)) })
	suspects = slices.CompactFunc(suspects, func(x, y suspect) bool { return x.key == y.key })
	a.refused = make(map[change.Key]bool)
	var findings []Finding
	pauses := pause.Growing(firstPause, lastPause)
	for tries := 0; len(suspects) > 0; tries++ {
		if tries == mostLooks {
			a.report.Pending += int64(len(suspects))
			a.report.note("some rows changed at every look: run it again for them")
			break
		}
		if tries > 0 {
			if err := pauses.Wait(ctx); err != nil {
				return nil, err
			}
		}
		l := look{auditor: a, suspects: suspects}
		err := l.take(ctx)
		switch {
		case errors.Is(err, errAgain):
			continue
		case err != nil:
			return nil, err
		}
		findings, suspects = append(findings, l.findings...), l.again
		a.report.Pending += l.pending
	}
	return findings, nil
}

// look is one second look at some keys.
type look struct {
	auditor  *Auditor
	suspects []suspect // by key

	as      change.Version // the watermark before the SELECT
	rows    map[change.Key]*change.Change
	high    change.LSN
	reached bool // the watermark has passed high
	held    sink.Look
	jobs    []sink.JobState

	findings []Finding
	again    []suspect
	pending  int64
}

// take reads the watermark, then the rows, then the end of the log (inside Chunk), waits, and reads
// the sink: the order is the proof.
func (l *look) take(ctx context.Context) error {
	a, keys := l.auditor, make([]change.Key, len(l.suspects))
	for i, s := range l.suspects {
		keys[i] = s.key
	}
	var err error
	if l.as, err = a.ports.Positions.Version(ctx); err != nil {
		return fmt.Errorf("reading the watermark: %w", err)
	}
	session, err := l.readAll(ctx, keys)
	if err != nil {
		return err
	}
	failpoint.Hit("audit_read")
	if l.reached, err = a.reach(ctx, l.as.Epoch, l.high); err != nil {
		return err
	}
	if l.jobs, err = a.ports.Positions.Jobs(ctx); err != nil {
		return err
	}
	if l.held, err = a.ports.Sink.Look(ctx, keys); err != nil {
		return err
	}
	switch moved := l.held.Version != l.as; {
	case l.held.Version.Epoch != l.as.Epoch, l.held.Truncated.Compare(l.as) > 0, !l.reached && moved:
		return errAgain
	case a.ports.Reader.Alive(ctx, session) != nil:
		return errAgain // what an asynchronous commit showed may be gone
	}
	return l.conclude(ctx)
}

// readAll reads the rows with these keys, in several chunks where they are large, and returns the
// session of them all.
func (l *look) readAll(ctx context.Context, keys []change.Key) (session uint64, err error) {
	l.high, l.rows = 0, make(map[change.Key]*change.Change, len(keys))
	reader := l.auditor.ports.Reader.Keys(keys)
	for after, done := change.Key(""), false; !done; {
		chunk, err := reader.Chunk(ctx, after, len(keys))
		if err != nil {
			return 0, err
		}
		if after != "" && chunk.Session != session {
			return 0, errAgain
		}
		l.read(&chunk)
		after, done, session = chunk.Last, chunk.Done, chunk.Session
	}
	return session, nil
}

func (l *look) read(chunk *protocol.RowChunk) {
	l.high = max(l.high, chunk.High)
	for _, row := range chunk.Rows {
		c := change.RenderRow(l.auditor.opts.Rows, row, 0)
		l.rows[c.Key] = &c
	}
}

// conclude judges each key.
func (l *look) conclude(ctx context.Context) error {
	var doubtful []Finding
	var encode []sample
	for i, s := range l.suspects {
		row, h := l.rows[s.key], &l.held.Holdings[i]
		v := l.auditor.opts.judge(row, h)
		f := Finding{Kind: v.kind, Key: s.key, Detail: v.detail}
		l.auditor.refused[s.key] = v.letter // where the look is taken again, that one counts
		switch {
		case v.kind == "" && s.encode && h.HasVector:
			encode = append(encode, sampleOf(row, l.auditor.opts.Template))
		case v.kind == "":
		case awaits(l.jobs, l.auditor.ports.Sink.Generation().ID, h):
			l.pending++
		case v.within:
			l.findings = append(l.findings, f)
		case h.Known && h.Version.Compare(l.as) > 0:
			l.again = append(l.again, s)
		case l.reached:
			l.findings = append(l.findings, f)
		default:
			doubtful = append(doubtful, f)
		}
	}
	if err := l.encode(ctx, encode); err != nil {
		return err
	}
	return l.consult(ctx, doubtful)
}

// encode compares vectors with their texts once more.
func (l *look) encode(ctx context.Context, samples []sample) error {
	apart, err := l.auditor.apart(ctx, samples)
	for _, d := range apart {
		l.findings = append(l.findings, Finding{Kind: Differs, Key: d.key, Detail: d.String()})
	}
	return err
}

// consult asks the log which keys were changed behind the watermark, where no stream moves that:
// they are pending.
func (l *look) consult(ctx context.Context, doubtful []Finding) error {
	if len(doubtful) == 0 {
		return nil
	}
	changed := make(map[change.Key]bool, len(doubtful))
	for _, f := range doubtful {
		changed[f.Key] = false
	}
	all := false
	err := l.auditor.ports.Log.Peek(ctx, l.as.LSN, l.high, func(e change.Event) {
		if e.Op == change.Truncate {
			all = true
		} else if _, asked := changed[e.Key]; asked {
			changed[e.Key] = true
		}
	})
	switch kind := fault.KindOf(err); {
	case err == nil:
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case kind == fault.Busy || kind == fault.Unavailable: // a stream came
		return errAgain
	default:
		all = true
		l.auditor.report.note("no stream runs, and what it has yet to bring cannot be read: " + err.Error())
	}
	for _, f := range doubtful {
		if all || changed[f.Key] {
			l.pending++
		} else {
			l.findings = append(l.findings, f)
		}
	}
	return nil
}

// reach returns true once the watermark has passed a position, or false when no stream moves it;
// the source has flushed its log up to there then.
func (a *Auditor) reach(ctx context.Context, epoch change.Epoch, high change.LSN) (bool, error) {
	deadline := time.Now().Add(a.opts.WaitTimeout)
	for {
		v, err := a.ports.Positions.Version(ctx)
		if err != nil {
			return false, fmt.Errorf("reading the watermark: %w", err)
		}
		switch {
		case v.Epoch != epoch:
			return false, errAgain
		case v.LSN >= high:
			return true, nil
		}
		streaming, err := a.ports.Positions.Streaming(ctx)
		if err != nil {
			return false, fmt.Errorf("asking whether a stream runs: %w", err)
		}
		if !streaming {
			a.report.note("no stream runs: what changed since the watermark is pending")
			return false, a.ports.Reader.WaitFlushed(ctx, high)
		}
		if time.Now().After(deadline) {
			return false, fault.New(fault.Unavailable, "wal2vec status", "the stream did not pass %s within %s, it is at %s",
				high, a.opts.WaitTimeout, v.LSN)
		}
		if err := a.await(ctx, high); err != nil {
			return false, err
		}
	}
}

// await waits a while for the watermark to reach a position.
func (a *Auditor) await(ctx context.Context, high change.LSN) error {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := a.ports.Positions.WaitFor(waiting, high)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case waiting.Err() != nil:
		return nil
	case errors.Is(err, protocol.ErrEpochChanged):
		return errAgain
	default:
		return err
	}
}
