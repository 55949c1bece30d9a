package sink

import (
	"fmt"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// The default privileges of a role give others rights on all that it makes. Who could once act as
// the role that runs init, before its password was changed say, may have set them: so what init
// makes is closed to all in the transaction that makes it, and opened by Grant alone. Whose they
// are is known only to the role that makes it, which for what is printed is the one that pastes it:
// the statement looks at what was given.

// made is what this role makes in one transaction.
type made struct {
	// schema is where the rest is; newSchema is true where it is made too.
	schema    string
	newSchema bool
	// relations are tables, sequences and views.
	relations []string
}

// madeHere are tables of wal2vec's schema.
func (s *Sink) madeHere(tables ...string) made { return made{schema: s.schema, relations: tables} }

// unasked returns the statement that closes what was made in the same transaction.
func unasked(m made) string {
	return closing(map[string]any{"Schema": pgname.Literal(m.schema), "NewSchema": m.newSchema, "Names": pgname.Literals(m.relations)})
}

// migrated returns the statements before and behind migrations of a schema that is there: the
// second closes what they make in it.
func (s *Sink) migrated() (before, behind string) {
	data := map[string]any{"Schema": pgname.Literal(s.schema), "NewSchema": false, "Names": []string{}}
	return render("made_before", data), closing(data)
}

func closing(data map[string]any) string {
	tag := "$wal2vec$"
	for strings.Contains(fmt.Sprint(data), tag) { // a name of the user's
		tag = "$wal2vec_" + tag[1:]
	}
	data["Tag"] = tag
	return render("unasked", data)
}
