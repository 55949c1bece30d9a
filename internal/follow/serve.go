package follow

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/api"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pipeline"
)

// serve runs a stream with its monitor and its HTTP server beside it, until the stream ends. One of these that fails ends
// the stream in good order.
func (f *Follower) serve(ctx context.Context, stream *pipeline.Stream, run func(context.Context) error) error {
	source, err := connect.Pool(ctx, f.config.Source.DSN, "source", "monitor")
	if err != nil {
		return err
	}
	defer source.Close()
	watch := monitor.New(source, f.Store.Pool, monitor.Options{
		Pipeline: f.config.Pipeline, Schema: f.config.Sink.Schema, Slot: f.config.Source.Slot, Metrics: f.Metrics, Trusted: f.Store.Trusted,
		SourceRows: connect.SourceRows(f.config), Logger: f.log,
	})
	server, err := f.listen(ctx, watch, stream)
	if err != nil {
		return err
	}
	// Beside outlives ctx: while the stream drains, it is still watched.
	beside, stopBeside := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBeside()
	group, working := errgroup.WithContext(ctx)
	group.Go(func() error { return watch.Run(beside) })
	if server != nil {
		group.Go(func() error { return server.Run(beside) })
	}
	group.Go(func() error {
		defer stopBeside()
		return run(working)
	})
	return group.Wait()
}

// listen takes the configured address; nil when nothing is to be served.
func (f *Follower) listen(ctx context.Context, watch *monitor.Monitor, stream *pipeline.Stream) (*api.Server, error) {
	if f.config.HTTP.Listen == "" {
		return nil, nil //nolint:nilnil // no server is an answer
	}
	server := api.New(api.Sources{
		Ready:   func() []api.Component { return components(watch.Latest(), stream.Health(), f.Store.Blocked()) },
		Status:  func(ctx context.Context) (any, error) { return watch.Current(ctx) },
		Metrics: f.Metrics.Registry(),
	}, f.httpOptions())
	if err := server.Listen(ctx); err != nil {
		return nil, err
	}
	f.log.Info().Str("address", server.Addr()).Msg("serving /metrics, /healthz, /readyz and /status")
	return server, nil
}

func (f *Follower) httpOptions() api.Options {
	c := f.config.HTTP
	return api.Options{
		Listen: c.Listen, Token: c.Token, AllowedHosts: c.AllowedHosts, MaxConnections: c.MaxConnections,
		Version: f.version, Logger: f.log,
	}
}

// components says how the stream and both databases are.
func components(report monitor.Report, health pipeline.Health, blocker string) []api.Component {
	stream := api.Component{Name: "stream", Ready: health.Ready() && blocker == ""}
	switch {
	case blocker != "":
		stream.Reason = "waiting for a lock in the sink, kept by " + blocker
	case health.Err != nil:
		stream.Reason = fmt.Sprintf("%v (%d attempts)", health.Err, health.Attempts)
	case !health.Streaming:
		stream.Reason = "starting"
	}
	return []api.Component{stream, probed("source", report, report.SourceErr), probed("sink", report, report.SinkErr)}
}

func probed(name string, report monitor.Report, err error) api.Component {
	c := api.Component{Name: name, Ready: err == nil && !report.At.IsZero()}
	switch {
	case err != nil:
		c.Reason = err.Error()
	case report.At.IsZero():
		c.Reason = "not asked yet"
	}
	return c
}

// watchedEncoder tells the metrics how many texts were cut.
type watchedEncoder struct {
	engine.Encoder
	metrics *monitor.Metrics

	mu  sync.Mutex
	cut uint64 // counted so far
}

// Encode encodes and counts.
func (w *watchedEncoder) Encode(ctx context.Context, texts []string) ([][]float32, error) {
	vectors, err := w.Encoder.Encode(ctx, texts)
	w.mu.Lock()
	defer w.mu.Unlock()
	if cut := w.Stats().Truncated; cut > w.cut {
		w.metrics.TextsTruncated(int(cut - w.cut))
		w.cut = cut
	}
	return vectors, err
}
