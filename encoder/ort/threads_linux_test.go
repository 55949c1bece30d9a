package ort

import (
	"errors"
	"sync"
	"syscall"
	"testing"
)

func TestThreadsAreTheSameForAllGoroutines(t *testing.T) {
	pool := newThreads(3)
	var mu sync.Mutex
	seen, failed := map[int]bool{}, errors.New("failed")
	var wait sync.WaitGroup
	for i := range 200 {
		wait.Go(func() {
			err := pool.do(func() error {
				mu.Lock()
				defer mu.Unlock()
				seen[syscall.Gettid()] = true
				if i%2 == 0 {
					return failed
				}
				return nil
			})
			if (err != nil) != (i%2 == 0) {
				t.Errorf("task %d: %v", i, err)
			}
		})
	}
	wait.Wait()
	if len(seen) == 0 || len(seen) > 3 {
		t.Errorf("%d threads were used", len(seen))
	}
	pool.close()
}

func TestThreadsWorkAtATime(t *testing.T) {
	pool := newThreads(3)
	var all, wait sync.WaitGroup
	all.Add(3)
	for range 3 {
		wait.Go(func() {
			if err := pool.do(func() error {
				all.Done()
				all.Wait() // each needs the others
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	pool.close()
}
