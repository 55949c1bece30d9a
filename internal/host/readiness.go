package host

import (
	"fmt"

	"github.com/wal2vec/wal2vec/internal/api"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pipeline"
)

// components says how the stream and both databases are, for /readyz, which is red while one of
// them is not ready: the stream while it starts, until what failed has been passed, and while it
// waits for a lock in the sink; a database that has not answered, or not the last time.
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
