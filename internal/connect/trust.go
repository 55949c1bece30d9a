package connect

import (
	"context"
	"errors"
	"time"

	"github.com/wal2vec/wal2vec/sink"
)

// trustInterval is how often wal2vec's tables are looked at beside what works on them.
const trustInterval = 5 * time.Second

// Trusting runs what works on the sink for long, and looks beside it, as often as a stream does,
// whether wal2vec's tables are to be trusted still: each row that is written to a table of another
// role, or to one that another role may make a trigger on, may run that role's code. Where they are
// not, it ends. To look with each chunk would close no gap: a look and a write are two statements.
func (s *Store) Trusting(ctx context.Context, run func(context.Context) error) error {
	return UntilUntrusted(ctx, func(running context.Context, end context.CancelCauseFunc) error {
		watching, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			tick := time.NewTicker(trustInterval)
			defer tick.Stop()
			for {
				select {
				case <-watching.Done():
					return
				case <-tick.C:
				}
				_, err := s.Trusted(watching)
				if untrusted, is := errors.AsType[*sink.UntrustedError](err); is {
					end(untrusted)
					return
				}
			}
		}()
		err := run(running)
		stop()
		<-done
		return err
	})
}

// UntilUntrusted runs something, which a look beside it ends with an UntrustedError; that is the
// result then. A stream's look at the table's shape is that look as well, since it reads the sink's
// state, which asks first whether it is to be trusted: a stream needs no other.
func UntilUntrusted(ctx context.Context, run func(running context.Context, end context.CancelCauseFunc) error) error {
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	err := run(running, end)
	if untrusted, is := errors.AsType[*sink.UntrustedError](context.Cause(running)); is {
		return untrusted
	}
	return err
}
