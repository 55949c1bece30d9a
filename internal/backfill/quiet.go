package backfill

import (
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/sink"
)

// Quiet is an Observer that says nothing.
type Quiet struct{}

// Begin says nothing.
func (Quiet) Begin(Job) {}

// Progress says nothing.
func (Quiet) Progress(pipeline.Summary) {}

// WatchIndex leaves it to the log.
func (Quiet) WatchIndex(sink.Generation) (progress func(sink.IndexProgress), end func(error)) {
	return nil, nil
}

// End returns the error.
func (Quiet) End(_ Result, err error) error { return err }
