package change

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Shape is what decides, besides the rows themselves, which rows a table has and what text they
// print as: the columns that are read with their types, the partitions, the publication. The log
// says nothing of a change to it. It is a set of named marks, of which only equality means
// anything; see ShapeMark.
type Shape map[string]string

// ShapeMark is what a mark of a Shape is about; its name follows behind a space.
type ShapeMark string

// The marks. All but types and labels name the table's object id first, so that the marks of
// another table of the same name are others.
const (
	MarkColumn      ShapeMark = "column"      // OID NAME: place, type, modifier, what it is computed from
	MarkRewrite     ShapeMark = "rewrite"     // OID NAME: the transaction that altered the column last, the table's file, what matters to no value
	MarkType        ShapeMark = "type"        // OID: the columns of a composite type
	MarkLabel       ShapeMark = "label"       // OID of a value of an enum: the transaction that named it, its text
	MarkPartition   ShapeMark = "partition"   // OID OID: the file of a partition, and the transactions that attached it
	MarkName        ShapeMark = "name"        // OID OID: the partition's name, for people
	MarkIdentity    ShapeMark = "identity"    // OID OID: the replica identity of a partition, and the transactions that may have changed it
	MarkPublication ShapeMark = "publication" // OID: the publication and the table's place in it
	MarkFile        ShapeMark = "file"        // OID: what is another after a rewrite of the table
)

// Reshaping is how a table's shape differs from what it was.
type Reshaping struct {
	// Changes says of each change what it was, for people.
	Changes []string
	// Attached are the object ids of partitions that are new, with their names. Whether that
	// matters depends on whether rows came with them.
	Attached map[uint32]string
}

// Since compares a shape with an older one. A mark that only one of the two has is a column that
// was not read then, or is not now; only partitions come and go.
func (s Shape) Since(old Shape) Reshaping {
	var r Reshaping
	for _, mark := range slices.Sorted(maps.Keys(old)) {
		was := old[mark]
		now, known := s[mark]
		if known && now == was {
			continue
		}
		kind, name, _ := strings.Cut(mark, " ")
		switch ShapeMark(kind) {
		case MarkPartition:
			r.partition(s, old, name, known)
		case MarkName:
		case MarkIdentity:
			if known {
				r.Changes = append(r.Changes, fmt.Sprintf("the replica identity of partition %s may have been changed", s[string(MarkName)+" "+name]))
			}
		case MarkRewrite:
			if column := string(MarkColumn) + " " + name; known && rewritten(was, now) && s[column] == old[column] {
				r.changed(MarkColumn, name, was, now)
			}
		default:
			if known {
				r.changed(ShapeMark(kind), name, was, now)
			}
		}
	}
	for _, mark := range slices.Sorted(maps.Keys(s)) {
		r.attached(s, old, mark)
	}
	return r
}

// rewritten reports whether a column was altered, and either the table's rows were written again,
// as ALTER TYPE with USING does where the type stays as it was, or nothing shows what was altered:
// something was, and was taken back, as two names that are exchanged twice, and the log may have
// rows of that time. A rewrite alone (VACUUM FULL) changes no value, and nor does another manner
// (NOT NULL).
func rewritten(was, now string) bool {
	before, after := strings.Fields(was), strings.Fields(now)
	const altered, file, manner = 0, 1, 2
	if len(before) <= manner || len(after) <= manner || before[altered] == after[altered] {
		return false
	}
	return before[file] != after[file] || before[manner] == after[manner]
}

func (r *Reshaping) changed(kind ShapeMark, name, was, now string) {
	switch kind {
	case MarkColumn:
		_, column, _ := strings.Cut(name, " ")
		r.Changes = append(r.Changes, fmt.Sprintf("column %q was changed or replaced", column))
	case MarkLabel:
		_, was, _ = strings.Cut(was, " ")
		_, now, _ = strings.Cut(now, " ")
		r.Changes = append(r.Changes, fmt.Sprintf("value %q of an enum was renamed to %q", was, now))
	case MarkType:
		r.Changes = append(r.Changes, "a composite type was changed")
	case MarkFile:
		r.Changes = append(r.Changes, "the table's rows were written again, perhaps after a time without a log (SET UNLOGGED)")
	default:
		r.Changes = append(r.Changes, "the publication was changed")
	}
}

func (r *Reshaping) partition(s, old Shape, name string, known bool) {
	table, _, _ := strings.Cut(name, " ")
	partition := old[string(MarkName)+" "+name]
	switch {
	case known:
		r.Changes = append(r.Changes, fmt.Sprintf("partition %s was truncated, rewritten or attached again", partition))
	case s.describes(table):
		r.Changes = append(r.Changes, fmt.Sprintf("partition %s was detached or dropped", partition))
	}
}

func (r *Reshaping) attached(s, old Shape, mark string) {
	kind, name, _ := strings.Cut(mark, " ")
	table, partition, _ := strings.Cut(name, " ")
	if _, known := old[mark]; known || ShapeMark(kind) != MarkPartition || !old.describes(table) {
		return
	}
	oid, err := strconv.ParseUint(partition, 10, 32)
	if err != nil {
		return // no mark of ours
	}
	if r.Attached == nil {
		r.Attached = make(map[uint32]string)
	}
	r.Attached[uint32(oid)] = s[string(MarkName)+" "+name]
}

// describes reports whether the shape is of the table with this object id.
func (s Shape) describes(table string) bool {
	for mark := range s {
		if strings.HasPrefix(mark, string(MarkColumn)+" "+table+" ") {
			return true
		}
	}
	return false
}

// Columns returns the marks that are about columns and their types.
func (s Shape) Columns() Shape {
	columns := make(Shape, len(s))
	for mark, value := range s {
		kind, _, _ := strings.Cut(mark, " ")
		switch ShapeMark(kind) {
		case MarkColumn, MarkRewrite, MarkType, MarkLabel:
			columns[mark] = value
		case MarkPartition, MarkName, MarkIdentity, MarkPublication, MarkFile:
		}
	}
	return columns
}
