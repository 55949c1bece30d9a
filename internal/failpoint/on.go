//go:build failpoint

package failpoint

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// The environment of a program built for tests names places and how often they are passed before
// something happens there ("after_commit:3"; 1 without a number).
const (
	// killEnvironment names the place where the program dies.
	killEnvironment = "FAILPOINT"
	// failEnvironment names the place that fails; a second number says how many times in a row
	// ("sink_written:3:2").
	failEnvironment = "FAILPOINT_ERROR"
	// stopEnvironment names the place where the program is stopped, as by SIGSTOP: it stays there,
	// with its connections open, until SIGCONT.
	stopEnvironment = "FAILPOINT_STOP"
)

// place is a named place and its counters.
type place struct {
	name string
	// before counts the passes that are left until it acts, times those on which it acts.
	before, times int

	mu sync.Mutex
}

// parsePlace reads "name[:count[:times]]"; the count includes the first pass that acts.
func parsePlace(environment string) *place {
	fields := strings.Split(os.Getenv(environment), ":")
	p := &place{name: fields[0], times: 1}
	for i, target := range []*int{&p.before, &p.times} {
		if len(fields) <= i+1 {
			break
		}
		n, err := strconv.Atoi(fields[i+1])
		if err != nil {
			panic("failpoint: bad count in " + environment)
		}
		*target = n
	}
	p.before = max(0, p.before-1)
	return p
}

// acts counts a pass and reports whether the place acts on it.
func (p *place) acts(name string) bool {
	if p.name != name {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.before > 0 {
		p.before--
		return false
	}
	p.times--
	return p.times >= 0
}

var killed = sync.OnceValue(func() *place { return parsePlace(killEnvironment) })

var stopped = sync.OnceValue(func() *place { return parsePlace(stopEnvironment) })

// Hit kills the program with SIGKILL when FAILPOINT names this place and it was passed often
// enough, and stops it where FAILPOINT_STOP does.
func Hit(name string) {
	if stopped().acts(name) {
		// The signal may reach another thread first, while this one goes on: it waits here until
		// the process goes on.
		goesOn := make(chan os.Signal, 1)
		signal.Notify(goesOn, syscall.SIGCONT)
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
			panic(err)
		}
		<-goesOn
		signal.Stop(goesOn)
		return
	}
	if !killed().acts(name) {
		return
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {} // the signal is on its way
}
