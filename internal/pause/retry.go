package pause

import "time"

// What failed, and time may repair, is tried again after FirstRetry, then after twice as long each
// time, up to stream.retry_max, whose default is MaxRetry.
const (
	FirstRetry = 200 * time.Millisecond
	MaxRetry   = 30 * time.Second
)

// Retries are the pauses of a stream or a backfill; longest is stream.retry_max.
func Retries(longest time.Duration) *Pauses { return Growing(FirstRetry, longest) }
