//go:build sources

package main

import (
	"fmt"
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestOldSourceIsFollowed streams from servers that only serve as sources into a present one.
func TestOldSourceIsFollowed(t *testing.T) {
	t.Parallel()
	for _, major := range []int{14, 15, 17} {
		t.Run(fmt.Sprintf("PostgreSQL %d", major), func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, pgtest.ServerOf(t, major).Database(t), 60)
			w.sink = pgtest.Database(t)
			w.env = append(w.env, "WAL2VEC_SINK_DSN="+w.sink.DSN)
			products := pair{pipeline: w.db.Name, table: product, key: []string{"product_id"}}
			w.run("init")
			stream := w.start(nil, "stream")
			stream.waitFor("streaming")
			w.run("backfill")
			w.write(1)
			stream.stop()
			w.write(2)
			w.db.Exec(t, "TRUNCATE "+product)
			w.write(3)
			w.run("stream", "--until-current")
			w.run("status", "-o", "json")
			w.checkPair(products)
		})
	}
}
