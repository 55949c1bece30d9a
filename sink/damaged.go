package sink

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// checkRow refuses what this program never writes into a pipeline's row: whoever may write the row acts with the rights of whoever reads it
// where such a value comes to be part of a statement.
func (st State) checkRow() error {
	if err := checkKey(st.Table.Key); err != nil {
		return damaged("pipeline", err)
	}
	return nil
}

// hashColumn is the form of the names of the ledger's columns for the hashes of texts.
var hashColumn = regexp.MustCompile(`^` + firstHashColumn + `(_[1-9][0-9]{0,9})?$`)

// checkRow refuses what this program never writes into a generation's row.
func (s *Sink) checkRow(g Generation) error {
	err := errors.Join(
		unless(g.Table == s.vectorTable(g.ID), "generation %d has the table %q", g.ID, g.Table),
		unless(hashColumn.MatchString(g.HashColumn), "generation %d has the column %q for its hashes", g.ID, g.HashColumn),
		unless(g.Storage == Vector || g.Storage == HalfVec, "generation %d stores %q", g.ID, g.Storage),
		unless(g.Dimension > 0 && g.Dimension <= g.Storage.indexable(), "generation %d has %d dimensions", g.ID, g.Dimension),
		unless(slices.Contains([]GenerationState{Building, Active, Previous, Retired}, g.State), "generation %d is %q", g.ID, g.State),
	)
	if err != nil {
		return damaged("generation", err)
	}
	return nil
}

func unless(holds bool, what string, args ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(what, args...)
}

func damaged(table string, err error) error {
	return fault.Wrap(err, fault.Usage, "put the row back as it was (from a backup), and find out who may write it: wal2vec doctor",
		"table %s of the sink holds what wal2vec does not write there", table)
}
