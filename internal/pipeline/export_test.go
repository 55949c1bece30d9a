package pipeline

import "time"

// Oldest returns the commit time of the oldest change that was received and is not in the sink;
// zero when there is none.
func (s *Stream) Oldest() time.Time { return s.pending.oldest() }
