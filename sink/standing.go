package sink

import (
	"context"
	"fmt"
)

// Standing is what a session's role is for, so that no advice gives a role what another one is to
// have.
type Standing struct {
	// Role is that of the session.
	Role string
	// SetsUp is the role that runs init here: the owner of wal2vec's tables, or who may make them;
	// empty where no role is known.
	SetsUp string
	// Streams says whether Role is the one that streams the pipeline: a role that sets it up is not
	// where another one was given that.
	Streams bool
}

// Standing asks for it, by the catalogue alone. It believes what stands there: Trusted comes first
// where SetsUp is to be told.
func (s *Sink) Standing(ctx context.Context) (st Standing, err error) {
	err = s.pool.QueryRow(ctx, s.query("standing"), s.schema, "ledger_"+s.pipeline).Scan(&st.Role, &st.SetsUp, &st.Streams)
	if err != nil {
		return st, fmt.Errorf("asking what this role is for: %w", err)
	}
	return st, nil
}
