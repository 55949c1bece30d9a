package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// fault is a kind of trouble. Making one returns how it goes on, or nil where it is over at once or
// cannot be made now.
type fault struct {
	name   string
	weight int
	make   func(*world, side, *rand.Rand) *lasting
	// sided faults hit the source or the sink.
	sided bool
	// possible, if any, says whether the fault can be made in this world.
	possible func(*world) bool
}

// side is one of the two servers as the program sees it.
type side struct {
	name  string
	db    *pgtest.DB
	proxy *pgtest.Proxy
}

// lasting is a fault that goes on.
type lasting struct {
	name  string
	until time.Time
	// over, if any, ends it before its time.
	over func() bool
	end  func()
}

var faults = []fault{
	{name: "SIGKILL of a stream", weight: 6, make: func(w *world, _ side, r *rand.Rand) *lasting { return w.hit(streamRole, r, syscall.SIGKILL) }},
	{name: "SIGTERM of a stream", weight: 3, make: func(w *world, _ side, r *rand.Rand) *lasting { return w.hit(streamRole, r, syscall.SIGTERM) }},
	{name: "SIGKILL of a backfill", weight: 4, make: func(w *world, _ side, r *rand.Rand) *lasting { return w.hit(backfillRole, r, syscall.SIGKILL) }},
	{name: "SIGTERM of a backfill", weight: 2, make: func(w *world, _ side, r *rand.Rand) *lasting { return w.hit(backfillRole, r, syscall.SIGTERM) }},
	{name: "SIGSTOP of the owner", weight: 6, make: (*world).stopOwner},
	{name: "reset", weight: 6, sided: true, make: func(_ *world, s side, _ *rand.Rand) *lasting { s.proxy.Reset(); return nil }},
	{name: "hangup", weight: 4, sided: true, make: func(_ *world, s side, _ *rand.Rand) *lasting { s.proxy.Hangup(); return nil }},
	{name: "refused connections", weight: 3, sided: true, make: refuse},
	{name: "frozen connections", weight: 4, sided: true, make: freeze},
	{name: "slow connections", weight: 4, sided: true, make: slow},
	{name: "terminated sessions", weight: 3, sided: true, make: (*world).terminate},
	{name: "restart", weight: 4, sided: true, make: restart},
	{name: "full disk of the sink", weight: 3, make: (*world).fillDisk, possible: func(w *world) bool { return w.disk != "" }},
	{name: "lost slot", weight: 2, make: (*world).loseSlot, possible: func(w *world) bool { return w.plan.gaps }},
	{name: "commits held back", weight: 6, make: (*world).holdCommits},
	{name: "clock", weight: 4, make: (*world).turnClock},
	{name: "encoder down", weight: 2, make: (*world).stopEncoder},
}

// makeTrouble makes faults until the time of the plan is over or ctx ends, and then takes back
// those that go on.
func (w *world) makeTrouble(ctx context.Context) {
	r := w.random("faults")
	total, faults := 0, slices.Concat(faults, catalogueFaults)
	for _, f := range faults {
		total += f.weight
	}
	ctx, cancel := context.WithTimeout(ctx, w.plan.length)
	defer cancel()
	begun := time.Now()
	var going []*lasting
	for wait(ctx, peace(r)) {
		going = endFaults(going, time.Now())
		at, side, own := r.IntN(total), w.sides()[r.IntN(2)], rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
		f := faults[0]
		for _, f = range faults {
			if at -= f.weight; at < 0 {
				break
			}
		}
		name := f.name
		if f.sided {
			name += " of the " + side.name
		}
		if lasts(going, name) || (f.possible != nil && !f.possible(w)) {
			continue
		}
		w.t.Logf("%6.1f s: %s", time.Since(begun).Seconds(), name)
		w.report.Fault(name)
		if l := f.make(w, side, own); l != nil {
			l.name = name
			going = append(going, l)
		}
	}
	for _, l := range going {
		l.end()
	}
}

// peace is how long no fault begins; now and then long enough for everything to catch up.
func peace(r *rand.Rand) time.Duration {
	const least, usual, long, share = 500, 4000, 8000, 5
	ms := least + r.IntN(usual)
	if r.IntN(share) == 0 {
		ms += r.IntN(long)
	}
	return time.Duration(ms) * time.Millisecond
}

func (w *world) sides() [2]side {
	return [2]side{{"source", w.source, w.sourceProxy}, {"sink", w.sink, w.sinkProxy}}
}

func lasts(going []*lasting, name string) bool {
	for _, l := range going {
		if l.name == name {
			return true
		}
	}
	return false
}

// endFaults ends the faults that are over and returns the others.
func endFaults(going []*lasting, now time.Time) []*lasting {
	var left []*lasting
	for _, l := range going {
		if now.After(l.until) || (l.over != nil && l.over()) {
			l.end()
			continue
		}
		left = append(left, l)
	}
	return left
}

// spell is how long a fault lasts.
func spell(r *rand.Rand, most time.Duration) time.Time {
	const least = 200 * time.Millisecond
	return time.Now().Add(least + time.Duration(r.Int64N(int64(most))))
}

// hit sends a signal to a running process of a role.
func (w *world) hit(role role, r *rand.Rand, signal syscall.Signal) *lasting {
	running := w.procs.of(role)
	if at := r.IntN(1 << 16); len(running) > 0 {
		running[at%len(running)].signal(signal)
	}
	return nil
}

func refuse(_ *world, s side, r *rand.Rand) *lasting {
	s.proxy.Refuse()
	if r.IntN(2) == 0 {
		s.proxy.Reset()
	}
	return &lasting{until: spell(r, 3*time.Second), end: s.proxy.Admit}
}

// freeze goes on longer than the server's patience, half of the times; then the connections come
// back, or turn out to be gone.
func freeze(_ *world, s side, r *rand.Rand) *lasting {
	s.proxy.Freeze()
	reset := r.IntN(2) == 0
	return &lasting{until: spell(r, 4*time.Second), end: func() {
		if reset {
			s.proxy.Reset()
		}
		s.proxy.Thaw()
	}}
}

func slow(_ *world, s side, r *rand.Rand) *lasting {
	slowness := pgtest.Slowness{ToServer: time.Duration(r.IntN(60)) * time.Millisecond, ToClient: time.Duration(r.IntN(60)) * time.Millisecond}
	if r.IntN(3) == 0 {
		slowness = pgtest.Slowness{BytesPerSecond: 50_000 + r.IntN(200_000)}
	}
	s.proxy.Slow(slowness)
	return &lasting{until: spell(r, 5*time.Second), end: func() { s.proxy.Slow(pgtest.Slowness{}) }}
}

// terminate has the server end some of the program's sessions.
func (w *world) terminate(s side, r *rand.Rand) *lasting {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.db.DSN)
	if err != nil {
		return nil
	}
	defer conn.Close(ctx)
	const query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'wal2vec/%' AND pid % 3 = $1"
	_, _ = conn.Exec(ctx, query, r.IntN(3)) // a server that is down has no sessions
	return nil
}

// restart brings a server down in one of three ways, and up again after a while.
func restart(w *world, s side, r *rand.Rand) *lasting {
	how := r.IntN(3)
	until := spell(r, 1500*time.Millisecond)
	switch how {
	case 0:
		s.db.Host.Halt(w.t, pgserver.Fast)
	case 1:
		s.db.Host.Halt(w.t, pgserver.Immediate)
	default:
		s.db.Host.Kill(w.t)
	}
	return &lasting{until: until, end: func() { s.db.Host.Revive(w.t) }}
}

// holdCommits has the source wait for a standby that is not there: what commits is in the log, and
// streamed, long before it is visible.
func (w *world) holdCommits(_ side, r *rand.Rand) *lasting {
	until := spell(r, 1500*time.Millisecond)
	if w.setStandby("nobody") != nil {
		return nil
	}
	return &lasting{until: until, end: func() {
		w.source.Host.Revive(w.t) // no other process does in the meantime
		pgtest.Eventually(w.t, time.Minute, func() (bool, string) {
			err := w.setStandby("")
			return err == nil, fmt.Sprint("letting commits go: ", err)
		})
	}}
}

func (w *world) setStandby(name string) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, w.source.DSN)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "ALTER SYSTEM SET synchronous_standby_names = '"+name+"'"); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SELECT pg_reload_conf()")
	return err
}

// turnClock turns the processes' clock by hours, in any direction.
func (w *world) turnClock(_ side, r *rand.Rand) *lasting {
	offset := time.Duration(r.Int64N(int64(12*time.Hour))) - 6*time.Hour
	if err := os.WriteFile(w.clock(), []byte(offset.String()), 0o600); err != nil {
		w.t.Error(err)
	}
	return &lasting{until: spell(r, 5*time.Second), end: func() { os.Remove(w.clock()) }}
}

func (w *world) stopEncoder(_ side, r *rand.Rand) *lasting {
	if err := os.WriteFile(w.encoderDown(), nil, 0o600); err != nil {
		w.t.Error(err)
	}
	return &lasting{until: spell(r, 3*time.Second), end: func() { os.Remove(w.encoderDown()) }}
}

// stopOwner stops the process that streams until another has taken over, and then lets it go on: it
// must find out, by a lost session or by the fence. Half of the times its connections to the source
// do not tell: then the fence alone can.
func (w *world) stopOwner(_ side, r *rand.Rand) *lasting {
	p := w.procs.byPID(ownerPID(w.owner()))
	if p == nil || !strings.HasPrefix(p.name, streamRole.name) {
		return nil
	}
	p.signal(syscall.SIGSTOP)
	return w.watchStopped(p, r)
}

// watchStopped goes on with a stopped stream.
func (w *world) watchStopped(p *process, r *rand.Rand) *lasting {
	stranded, linger := r.IntN(2) == 0, time.Duration(r.Int64N(int64(2*time.Second)))
	s := &stopped{w: w, p: p, owner: w.owner(), linger: linger, deadline: time.Now().Add(stopPatience)}
	if stranded {
		w.sourceProxy.Strand()
	}
	return &lasting{until: time.Now().Add(stopPatience + noticePatience), over: s.over, end: s.end}
}

const (
	// stopPatience is how long another process has for a takeover: the server gives the stopped one
	// up after two seconds, but where that one stopped inside a sink transaction, no process takes
	// over.
	stopPatience = 10 * time.Second
	// noticePatience is how long the stopped process then has to find out; other faults may delay
	// that.
	noticePatience = 20 * time.Second
)

// stopped is a stream that was stopped by SIGSTOP.
type stopped struct {
	w        *world
	p        *process
	owner    string
	linger   time.Duration // from the takeover on
	deadline time.Time
	taken    time.Time
	// going is true after SIGCONT; log is what had been printed by then.
	going bool
	log   string
}

// over goes through the phases: stopped, taken over, going on, found out.
func (s *stopped) over() bool {
	if s.going {
		if !s.taken.IsZero() && s.foundOut() {
			s.w.report.Saw("stopped stream that found out")
			return true
		}
		return s.taken.IsZero()
	}
	now := s.w.owner()
	if s.taken.IsZero() && now != "" && now != s.owner {
		s.taken = time.Now()
		s.w.report.Saw("takeover from a stopped stream")
	}
	if time.Now().After(s.deadline) || (!s.taken.IsZero() && time.Since(s.taken) > s.linger) {
		s.cont()
	}
	return false
}

func (s *stopped) cont() {
	s.going, s.log = true, s.p.log.String()
	s.p.signal(syscall.SIGCONT)
}

// foundOut reports whether the process has ended or given its session up since it goes on.
func (s *stopped) foundOut() bool {
	select {
	case <-s.p.done:
		return true
	default:
		return s.p.log.String() != s.log
	}
}

func (s *stopped) end() {
	s.w.sourceProxy.Thaw()
	switch {
	case !s.going:
		s.cont() // the run is over
	case !s.taken.IsZero() && !s.foundOut() && time.Now().After(s.deadline.Add(noticePatience)):
		s.w.t.Errorf("%s was stopped, another process has taken over, and it has not found out:\n%s", s.p.name, s.p.log.String())
	}
}

// owner reads who streams; empty where the sink does not say.
func (w *world) owner() string {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, w.sink.DSN)
	if err != nil {
		return ""
	}
	defer conn.Close(ctx)
	var owner string
	if conn.QueryRow(ctx, "SELECT coalesce(owner, '') FROM wal2vec.pipeline").Scan(&owner) != nil {
		return ""
	}
	return owner
}

// ownerPID reads the process out of an owner's name, host/process/start; 0 where there is none.
func ownerPID(owner string) int {
	parts := strings.Split(owner, "/")
	if len(parts) < 3 {
		return 0
	}
	pid, err := strconv.Atoi(parts[len(parts)-2])
	if err != nil {
		return 0
	}
	return pid
}
