package host

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/api"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/follow"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pipeline"
)

// Run runs a stream that keeps its pipeline whole, with the monitor and the HTTP server beside it,
// until the stream ends. One of these that fails ends the stream in good order.
func Run(ctx context.Context, f *follow.Follower, stream *pipeline.Stream) (totals pipeline.Totals, err error) {
	p := &served{Follower: f, stream: stream}
	err = p.run(ctx, func(ctx context.Context) (err error) {
		totals, err = f.Run(ctx, stream)
		return err
	})
	return totals, err
}

// served is one pipeline of the process, with what is shown of it.
type served struct {
	*follow.Follower
	stream *pipeline.Stream
}

// run runs the stream between the start and the end of what watches it.
func (p *served) run(ctx context.Context, run func(context.Context) error) error {
	source, err := connect.Pool(ctx, p.Config.Source.DSN, "source", "monitor")
	if err != nil {
		return err
	}
	defer source.Close()
	watch := monitor.New(source, p.Store.Pool, monitor.Options{
		Pipeline: p.Config.Pipeline, Schema: p.Config.Sink.Schema, Slot: p.Config.Source.Slot, Metrics: p.Metrics, Trusted: p.Store.Trusted,
		SourceRows: connect.SourceRows(p.Config), Logger: p.Log,
	})
	server, err := p.listen(ctx, watch)
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
func (p *served) listen(ctx context.Context, watch *monitor.Monitor) (*api.Server, error) {
	if p.Config.HTTP.Listen == "" {
		return nil, nil //nolint:nilnil // no server is an answer
	}
	server := api.New(api.Sources{
		Ready:   func() []api.Component { return components(watch.Latest(), p.stream.Health(), p.Store.Blocked()) },
		Status:  func(ctx context.Context) (any, error) { return watch.Current(ctx) },
		Metrics: p.Metrics.Registry(),
	}, p.httpOptions())
	if err := server.Listen(ctx); err != nil {
		return nil, err
	}
	p.Log.Info().Str("address", server.Addr()).Msg("serving /metrics, /healthz, /readyz and /status")
	return server, nil
}

func (p *served) httpOptions() api.Options {
	c := p.Config.HTTP
	return api.Options{
		Listen: c.Listen, Token: c.Token, AllowedHosts: c.AllowedHosts, MaxConnections: c.MaxConnections,
		Version: p.Version, Logger: p.Log,
	}
}
