package sink

import "fmt"

// names are those of what belongs to one pipeline, all in wal2vec's schema, where tables and
// indexes share one space of names. No two pipelines have a name in common, whatever they are
// called: none of the beginnings is the beginning of another, what comes between the tables of
// vectors and their number is the pipeline's whole name, and all are shorter than the 63 bytes that
// PostgreSQL keeps of a name.
type names struct {
	ledger, ledgerKey, tombstones string
	letters, lettersKey           string
	lettersLookup                 string
}

func namesOf(pipeline string) names {
	return names{
		ledger: "ledger_" + pipeline, ledgerKey: "pkey_ledger_" + pipeline, tombstones: "tombstones_" + pipeline,
		letters: "dead_letter_" + pipeline, lettersKey: "pkey_dead_letter_" + pipeline,
		lettersLookup: "key_dead_letter_" + pipeline,
	}
}

// vectorTable names the table of a generation; PostgreSQL and forGeneration name its indexes by
// another ending than a number.
func (s *Sink) vectorTable(id int) string { return fmt.Sprintf("vectors_%s_%d", s.pipeline, id) }
