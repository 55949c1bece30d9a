package pipeline

import (
	"runtime/debug"
	"sync"

	"github.com/wal2vec/wal2vec/internal/change"
)

// largeText is from how many bytes of one text on its memory is given back at once.
const largeText = 8 << 20

// givingBack lets one goroutine at a time give memory back.
var givingBack sync.Mutex

// hasLarge reports whether one of the texts is so large that its memory is worth giving back.
func hasLarge(changes []change.Change) bool {
	for i := range changes {
		if changes[i].Document.Whole >= largeText {
			return true
		}
		for j := range changes[i].Further {
			if changes[i].Further[j].Whole >= largeText {
				return true
			}
		}
	}
	return false
}

// giveBack frees what a large row took, once nothing refers to it. Left alone, the collector waits
// until as much again is in use as there was at its last look, when the row's copies were: a busy
// process would keep several times the row. It costs a collection, which is little beside what the
// row cost.
func giveBack() {
	if givingBack.TryLock() {
		defer givingBack.Unlock()
		debug.FreeOSMemory()
	}
}
