package replication

import "context"

// SwapFingerprints are those of the functions that this and earlier versions made.
func SwapFingerprints() []string { return swapFingerprints }

// Close closes a stream that is not run.
func (s *Stream) Close(ctx context.Context) { closeQuietly(ctx, s.conn) }

// Queued is how many fragments wait for who takes them, and their bytes.
func (s *Stream) Queued() (fragments, bytes int) { return s.queue.size() }

// size returns the items and bytes held.
func (q *queue) size() (items, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items), q.bytes
}
