//go:build failpoint

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// environment names the place, and after a colon how often it is passed before the program dies there ("after_commit:3").
const environment = "FAILPOINT"

var point = sync.OnceValues(func() (string, *int) {
	name, count, found := strings.Cut(os.Getenv(environment), ":")
	left := 1
	if found {
		n, err := strconv.Atoi(count)
		if err != nil {
			panic("failpoint: bad count in " + environment)
		}
		left = n
	}
	return name, &left
})

var mu sync.Mutex

// Hit kills the program with SIGKILL when FAILPOINT names this place and it was passed often enough.
func Hit(name string) {
	wanted, left := point()
	if wanted != name {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	*left--
	if *left > 0 {
		return
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {} // the signal is on its way
}
