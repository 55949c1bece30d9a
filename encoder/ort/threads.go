package ort

import (
	"runtime"
	"sync"
)

// threads are threads of the operating system that do one thing after the other, for libraries that
// keep something for every thread that calls them: goroutines come by on any thread there is.
type threads struct {
	tasks chan task
	ended sync.WaitGroup
}

type task struct {
	do   func() error
	done chan<- error
}

func newThreads(n int) *threads {
	t := &threads{tasks: make(chan task)}
	for range n {
		t.ended.Go(func() {
			runtime.LockOSThread() // for good: the thread ends with the goroutine
			for task := range t.tasks {
				task.done <- task.do()
			}
		})
	}
	return t
}

// do has one of the threads call f, and waits for it.
func (t *threads) do(f func() error) error {
	done := make(chan error, 1)
	t.tasks <- task{do: f, done: done}
	return <-done
}

// close ends the threads after what they do; nothing may be given to them any more.
func (t *threads) close() {
	close(t.tasks)
	t.ended.Wait()
}
