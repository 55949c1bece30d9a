package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/replication"
)

// guardInterval is how soon a stream notices that its table was swapped. A guess: the check is one look into the catalogue.
const guardInterval = 5 * time.Second

// guard ends a stream whose table was swapped for another of the same name (as dbt does), or left the publication: the log says
// nothing of that, the changes only stay away.
func (f *follower) guard(ctx context.Context, source *pgxpool.Pool) error {
	ticker := time.NewTicker(guardInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := replication.CheckPublication(ctx, source, f.config.Source.Publication, f.table)
		switch kind := fault.KindOf(err); {
		case err == nil, ctx.Err() != nil:
		case kind == fault.Gap, kind == fault.Usage:
			return err
		default: // the stream's own connection tells the same, and tries again
			f.log.Debug().Err(err).Msg("looking at the publication")
		}
	}
}
