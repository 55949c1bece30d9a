package sink_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

func TestAnOldLibraryIsNamed(t *testing.T) {
	t.Parallel()
	for version, old := range map[string]bool{
		"0.8": true, "0.8.0": true, "0.8.3": true, "0.8.4": false, "0.8.10": false, "0.9": false, "1.0.0": false, "": false, "0.8.4-dev": false,
	} {
		if err := sink.CheckLibrary(version); (err != nil) != old || old && (fault.KindOf(err) != fault.Usage || fault.Try(err) == "") {
			t.Errorf("%q: %v", version, err)
		}
	}
	b := setup(t)
	files := pgtest.One[string](t, b.db, "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
	b.db.Exec(t, "UPDATE pg_extension SET extversion = '0.8.0' WHERE extname = 'vector'") // which the files decide, not the extension
	want := sink.CheckLibrary(files)
	if got := b.sink.CheckLibrary(t.Context()); (got == nil) != (want == nil) || got != nil && got.Error() != want.Error() {
		t.Errorf("with pgvector %s: %v", files, got)
	}
}
