package pipeline_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pipeline"
)

// mart is a source, an encoder and a sink with one job, in memory, with a recorder of what they
// saw. It checks what must hold always: the version of a chunk was read before its rows, each chunk
// is merged once, behind the stream or flushed, over a connection that still stands, and the sweep
// comes when all of them are.
//
// The hooks of its parts (on...) are faults and delays, as in a world.
type mart struct {
	*recorder
	*martSource
	*martSink
	*fakeEncoder
}

func newMart(t *testing.T, rows int) *mart {
	v := change.Version{Epoch: 1 << 32, LSN: 100}
	r := &recorder{t: t}
	source := &martSource{recorder: r, table: make(map[change.Key]change.Row), insert: 100, flushed: 1 << 40, session: 1}
	for i := range rows {
		key := change.Key(fmt.Sprintf("%03d", i))
		source.keys = append(source.keys, key)
		source.table[key] = change.Row{Key: key, Fields: value(fmt.Sprint("text ", i))}
	}
	return &mart{recorder: r, martSource: source, fakeEncoder: &fakeEncoder{recorder: r}, martSink: &martSink{
		recorder: r, source: source, version: v, started: v, ledger: make(map[change.Key]change.Version),
		vectors: make(map[change.Key]change.Hash), letters: make(map[change.Key]string), ahead: make(map[change.Key]change.Key),
	}}
}

func (m *mart) ports() pipeline.BackfillPorts {
	return pipeline.BackfillPorts{Reader: m.martSource, Job: m.martSink, Positions: m.martSink, Encoders: oneEncoder{m.fakeEncoder}}
}

func (m *mart) options() pipeline.BackfillOptions {
	return pipeline.BackfillOptions{
		Template: nameTemplate(m.t), ChunkKeys: 10, InFlight: 4, WaitTimeout: time.Minute, RetryMax: 2 * time.Second, Full: m.full,
		Logger: zerolog.Nop(),
	}
}

func (m *mart) run(opts pipeline.BackfillOptions) (pipeline.Summary, error) {
	return pipeline.NewBackfill(m.ports(), opts).Run(m.t.Context())
}

// stream moves the watermark to the end of the log every so often, until ctx ends.
func (m *mart) stream(ctx context.Context, every time.Duration) {
	m.look(func() { m.streaming = true })
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(every):
			}
			m.look(func() { m.version.LSN = max(m.version.LSN, m.insert) })
		}
	}()
}

// complete checks that the sink holds each row's vector, and none else.
func (m *mart) complete() {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	live := 0
	for _, k := range m.keys {
		row := m.table[k]
		if row.SoftDeleted || strings.TrimSpace(row.Fields[0].Text) == "" {
			continue
		}
		live++
		if m.vectors[k] != change.HashText(row.Fields[0].Text) {
			m.t.Errorf("key %s lacks its vector", k)
		}
	}
	if len(m.vectors) != live {
		m.t.Errorf("the sink has %d vectors, the source %d rows", len(m.vectors), live)
	}
}
