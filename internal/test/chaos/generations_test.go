package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/models"
)

// makeModel makes another model of the same dimension: the configured one with a shorter longest
// text.
func (w *world) makeModel(parts string) error {
	const name = "another"
	from := filepath.Join(parts, "model", "all-MiniLM-L6-v2")
	w.other = filepath.Join(w.dir, name)
	if err := os.CopyFS(filepath.Join(w.other, "1_Pooling"), os.DirFS(filepath.Join(from, "1_Pooling"))); err != nil {
		return fmt.Errorf("making a model: %w", err)
	}
	for _, file := range []string{"config.json", "modules.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"} {
		if err := os.Symlink(filepath.Join(from, file), filepath.Join(w.other, file)); err != nil {
			return fmt.Errorf("making a model: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(w.other, "sentence_bert_config.json"), []byte(`{"max_seq_length": 128}`), 0o600); err != nil {
		return fmt.Errorf("making a model: %w", err)
	}
	checkpoint, err := models.Open(w.other)
	if err != nil {
		return err
	}
	w.models = map[string]string{"all-MiniLM-L6-v2": "", name: checkpoint.Fingerprint()}
	return nil
}

// generationRole builds generations of the other model, activates them, goes back, and retires
// them. The configured model's is always there.
func (w *world) generationRole() role {
	return role{
		name: "generation",
		points: []string{
			"generation_added", "backfill_watermark", "backfill_read", "sink_begun", "sink_written", "backfill_committed", "sweep_written",
			"generation_filled", "generation_indexed", "generation_activated", "generation_retired",
		},
		args: func(r *rand.Rand) []string {
			switch r.IntN(8) {
			case 0:
				return []string{"generation", "rollback"}
			case 1:
				return []string{"generation", "activate", "1"}
			case 2, 3:
				return []string{"generation", "retire", strconv.Itoa(2 + r.IntN(6)), "--yes"}
			default:
				return []string{"generation", "build", "--model", w.other, "--activate"}
			}
		},
		// 2: not ready, not there, active, or built already; 4: another process has the job; 5: a
		// server was down.
		codes: []int{0, 2, 4, 5},
	}
}

// compareGenerations makes sure at the end that every generation that is written has a vector of
// each live text.
func (w *world) compareGenerations() error {
	for _, table := range pgtest.Column[string](w.t, w.sink, "SELECT vector_table FROM wal2vec.generation WHERE state <> 'retired'") {
		odd := pgtest.Column[int64](w.t, w.sink, `SELECT coalesce(l.product_id, v.product_id) FROM wal2vec.ledger_`+w.pipeline()+` AS l
			FULL JOIN wal2vec.`+table+` AS v ON v.product_id = l.product_id
			WHERE l.text_hash IS DISTINCT FROM v.text_hash AND NOT (v.text_hash IS NULL AND l.failed_at IS NOT NULL)`)
		if len(odd) > 0 {
			return fmt.Errorf("at the end the keys %v have no vector of their text, or one of another, in %s", odd, table)
		}
	}
	w.report.Saw("generations: " + strconv.Itoa(pgtest.One[int](w.t, w.sink, "SELECT count(*)::int FROM wal2vec.generation")))
	return nil
}
