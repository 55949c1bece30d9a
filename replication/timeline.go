package replication

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// TimelineError says that the source is on another timeline than the watermark: a standby was
// promoted, or the server was restored. It is the cause of a fault of kind Gap.
type TimelineError struct {
	// Was is the watermark's timeline, Is the server's.
	Was, Is int32
	// Parted is where the server's history left the watermark's timeline: both share the log below
	// it. Zero when the server's history does not hold that timeline.
	Parted change.LSN
}

// Error names both timelines and where they part.
func (e *TimelineError) Error() string {
	if e.Parted == 0 {
		return fmt.Sprintf("it is on timeline %d, whose history does not hold timeline %d of the watermark", e.Is, e.Was)
	}
	return fmt.Sprintf("it is on timeline %d, which left timeline %d of the watermark at %s", e.Is, e.Was, e.Parted)
}

// otherTimeline asks the server where its history left the timeline was.
func otherTimeline(ctx context.Context, conn *pgconn.PgConn, is, was int32) error {
	e := &TimelineError{Was: was, Is: is}
	if is > 1 { // the first timeline has no history
		history, err := pglogrepl.TimelineHistory(ctx, conn, is)
		if err != nil {
			return fmt.Errorf("reading the history of timeline %d: %w", is, err)
		}
		if e.Parted, err = partedFrom(string(history.Content), was); err != nil {
			return fmt.Errorf("reading the history of timeline %d: %w", is, err)
		}
	}
	return fault.Wrap(e, fault.Gap, resync, "the source was restored or failed over")
}

// partedFrom finds in a history file, whose lines are "timeline, position, reason", where a
// timeline was left; zero when it is not there.
func partedFrom(history string, timeline int32) (change.LSN, error) {
	for line := range strings.Lines(history) {
		fields := strings.Fields(line)
		const wanted = 2
		if len(fields) < wanted || strings.HasPrefix(fields[0], "#") {
			continue
		}
		id, err := strconv.ParseInt(fields[0], 10, 32)
		if err != nil {
			return 0, fmt.Errorf("parsing timeline %q: %w", fields[0], err)
		}
		if int32(id) == timeline {
			return change.ParseLSN(fields[1])
		}
	}
	return 0, nil
}
