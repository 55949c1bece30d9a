package replication

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// Use is a pipeline that reads a publication. The publication's comment notes it: the sink of one
// pipeline knows nothing of those in another sink, or in another schema, and they may have one
// name.
type Use struct {
	Pipeline, Slot string
	// Former is the slot that the pipeline had until now, which may be the same; empty where it had
	// none.
	Former string
	// Shared says that the publication may be another pipeline's as well: the configuration names
	// it, or the pipeline reads it already.
	Shared bool
}

// noted is how the comment has it. Names of slots and pipelines have no other characters.
func (u Use) noted() string { return u.Slot + "=" + u.Pipeline }

// notedUse is a pipeline that a comment notes, as noted writes it.
type notedUse string

func (n notedUse) slot() string {
	slot, _, _ := strings.Cut(string(n), "=")
	return slot
}

func (n notedUse) pipeline() string {
	_, pipeline, _ := strings.Cut(string(n), "=")
	return pipeline
}

const usesNote = "wal2vec slots:"

var usesLine = regexp.MustCompile(`^` + usesNote + `(?: [a-z0-9_]+=[a-z0-9_]+)*$`)

// splitUses takes the line that notes pipelines out of a comment that has no line of tables any
// more.
func splitUses(comment string) (rest string, uses []notedUse) {
	lines := slices.DeleteFunc(strings.Split(comment, "\n"), func(line string) bool {
		if !usesLine.MatchString(line) {
			return false
		}
		for word := range strings.FieldsSeq(strings.TrimPrefix(line, usesNote)) {
			if !slices.Contains(uses, notedUse(word)) {
				uses = append(uses, notedUse(word))
			}
		}
		return true
	})
	return strings.Join(lines, "\n"), uses
}

// joinUses is the reverse of splitUses.
func joinUses(rest string, uses []notedUse) string {
	if len(uses) == 0 {
		return rest
	}
	words := []string{usesNote}
	for _, use := range uses {
		words = append(words, string(use))
	}
	line := strings.Join(words, " ")
	if rest == "" {
		return line
	}
	return rest + "\n" + line
}

// without returns the noted pipelines besides this one, under its present or its former slot.
func (u Use) without(uses []notedUse) []notedUse {
	return slices.DeleteFunc(slices.Clone(uses), func(n notedUse) bool {
		return n.slot() == u.Slot || u.Former != "" && n.slot() == u.Former && n.pipeline() == u.Pipeline
	})
}

// readers reports whether this role may write a publication's comment, and which slots of the noted
// pipelines are there.
func readers(ctx context.Context, db Querier, publication string, noted []notedUse) (may bool, there []string, err error) {
	slots := make([]string, len(noted))
	for i, n := range noted {
		slots[i] = n.slot()
	}
	if err := db.QueryRow(ctx, sql.Query("source_publication_use"), publication, slots).Scan(&may, &there); err != nil {
		return false, nil, fmt.Errorf("asking who reads publication %q: %w", publication, err)
	}
	return may, there, nil
}

// use notes a pipeline in what will be the publication's comment, and reports whether that is
// another one then. A publication that the comment gives to another pipeline, whose slot is there,
// is a fault of kind Usage where the two do not share it on purpose: they would share the function
// that follows swapped tables and its callers as well, and the teardown of one would take them from
// the other. Of a publication that is there, a role that may not write its comment notes nothing.
func (p *publication) use(ctx context.Context, db Querier, name string, u Use) (changed bool, err error) {
	rest, uses := splitUses(p.comment)
	others := u.without(uses)
	may, there, err := readers(ctx, db, name, others)
	if err != nil {
		return false, err
	}
	if !u.Shared && !slices.Contains(uses, notedUse(u.noted())) {
		for _, other := range others {
			if slices.Contains(there, other.slot()) {
				const try = "give this pipeline another name (pipeline:), or name a publication of its own: source.publication; " +
					"to share this one on purpose, name it there"
				return false, fault.New(fault.Usage, try, "publication %s is that of pipeline %s of another sink or schema, which reads it by slot %s",
					pgname.Identifier(name), other.pipeline(), other.slot())
			}
		}
	}
	if p.exists && !may {
		return false, nil
	}
	now := slices.Sorted(slices.Values(slices.Concat(others, []notedUse{notedUse(u.noted())})))
	p.comment = joinUses(rest, now)
	return !slices.Equal(now, slices.Sorted(slices.Values(uses))), nil
}
