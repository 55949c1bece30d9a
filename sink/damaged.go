package sink

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// checkRow refuses what this program never writes into a pipeline's row: a role that may write the
// row acts with the rights of the role that reads it where such a value comes to be part of a
// statement.
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

// repairRow is what to do about a row that wal2vec did not write.
const repairRow = "put the row back as it was (from a backup), and find out who may write it: wal2vec doctor"

func damaged(table string, err error) error {
	return fault.Wrap(err, fault.Usage, repairRow, "table %s of the sink holds what wal2vec does not write there", table)
}

// ErrDamagedLetters says that some rows of the dead letters hold what wal2vec does not write there.
var ErrDamagedLetters = errors.New("wal2vec does not write such rows")

// damagedLetters names rows that hold no dead letter; nil where there are none.
func (s *Sink) damagedLetters(rows []string) error {
	if len(rows) == 0 {
		return nil
	}
	const most = 3
	more := ""
	if n := len(rows) - most; n > 0 {
		rows, more = rows[:most], fmt.Sprintf("; and %d more", n)
	}
	const try = "wal2vec dead-letter drop --all --yes, then wal2vec backfill, which encodes again; and find out who may write them: wal2vec doctor"
	return fault.Wrap(ErrDamagedLetters, fault.Usage, try, "dead letters of pipeline %q that cannot be read: %s%s",
		s.pipeline, strings.Join(rows, "; "), more)
}

// fits refuses what is no key of the table: parts that are missing, too many, or not as the source
// prints them.
func fits(key []change.Column, parts []*string) error {
	if len(parts) != len(key) {
		return fmt.Errorf("%d parts for %d columns", len(parts), len(key))
	}
	for i, column := range key {
		if parts[i] == nil || !prints(column.Type, *parts[i]) {
			return fmt.Errorf("%s is no %s", column.Name, column.Type)
		}
	}
	return nil
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// prints reports whether a value of the type prints as the text.
func prints(t change.Type, text string) bool {
	bits, number := map[change.Type]int{"smallint": 16, "integer": 32, "bigint": 64}[change.Unbounded(t)]
	switch {
	case number:
		n, err := strconv.ParseInt(text, 10, bits)
		return err == nil && strconv.FormatInt(n, 10) == text
	case t == "uuid":
		return uuid.MatchString(text)
	default:
		return true
	}
}

// keyOf joins the parts of a key; a part that is missing is an empty text.
func keyOf(parts []*string) change.Key {
	texts := make([]string, len(parts))
	for i, part := range parts {
		if part != nil {
			texts[i] = *part
		}
	}
	return change.KeyOf(texts...)
}

// shown prints an array of texts for people.
func shown(parts []*string) string {
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = "NULL"
		if part != nil {
			const most = 100
			texts[i] = strconv.Quote((*part)[:min(len(*part), most)])
		}
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// dated refuses a time that no clock shows and JSON does not take.
func dated(at pgtype.Timestamptz) error {
	if at.Valid && at.InfinityModifier == pgtype.Finite && at.Time.Year() > 0 && at.Time.Year() <= 9999 {
		return nil
	}
	return errors.New("a time that no clock shows")
}

// unscannable explains a value that does not fit what is read.
func unscannable(err pgx.ScanArgError, doing string) error {
	return fault.Wrap(err.Err, fault.Usage, repairRow, "%s: column %q of the sink holds what wal2vec does not write there", doing, err.FieldName)
}
