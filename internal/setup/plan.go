package setup

import (
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// setupPlan is what init is to run in each database.
type setupPlan struct {
	sink, publication []string
	// function makes the function that follows swapped tables for roles that do not own them, and
	// gives and takes what roles may read; empty where nothing is asked for.
	function []string
	pins     []string // those before them, which keep the names in them and fail where these have moved
	slot     string   // the statement that creates it; empty when the pipeline has one
	// kept are lines that tell what roles keep in the source, though they are revoked.
	kept []string
}

// OwnPath is how printed SQL begins. Who runs it may have a schema of another role on the search
// path: one that is called like the role that runs it ("$user"), or public. It holds for the
// session: a slot cannot be made in a transaction that has written, which SET LOCAL would take.
const OwnPath = "SELECT pg_catalog.set_config('search_path', 'pg_catalog', false)"

// String is the plan as statements to paste, those for the sink first.
func (p setupPlan) String() string {
	var text strings.Builder
	section := func(head string, statements []string) {
		text.WriteString(head)
		if len(statements) > 0 {
			statements = slices.Concat([]string{OwnPath}, statements)
		}
		for _, statement := range statements {
			text.WriteString(strings.TrimSuffix(pgname.Pasteable(statement), ";"))
			text.WriteString(";\n")
		}
	}
	source := slices.Concat(p.publication, p.function)
	if len(source) > 0 {
		source = inTransaction(slices.Concat(p.pins, source))
	}
	if p.slot != "" {
		source = append(source, p.slot)
	}
	section("-- In the sink:\n", inTransaction(p.sink))
	section("-- In the source:\n", source)
	for _, line := range p.kept {
		text.WriteString("-- Left in the source: " + pgname.Visible(line) + "\n")
	}
	return text.String()
}

// inTransaction lets the first error end all of them: psql goes on after one, and the next
// statement would run into what another role has put in the place of what was to be made. PUBLIC,
// too, must not get to call the function between its creation and the REVOKE.
func inTransaction(statements []string) []string {
	if len(statements) == 0 {
		return nil
	}
	return slices.Concat([]string{"BEGIN"}, statements, []string{"COMMIT"})
}
