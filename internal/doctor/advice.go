package doctor

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// advice is a fix and where to run it.
type advice struct {
	place Place
	text  string
	lines []string // of a file, as they are to be written into it
}

func inSource(text string) advice   { return advice{place: Source, text: text} }
func inSink(text string) advice     { return advice{place: Sink, text: text} }
func inShell(text string) advice    { return advice{place: Shell, text: text} }
func inSettings(text string) advice { return advice{place: Settings, text: text} }
func onServer(text string) advice   { return advice{place: Server, text: text} }

var (
	nothing = advice{}
	setUp   = inShell("wal2vec init  # as the role that sets it up")
	// statementHead is how a statement of an advice begins. What stands behind the last one's
	// semicolon is for people.
	statementHead = regexp.MustCompile(`^(/\*[a-z ]*\*/ )?(ALTER|BEGIN|COMMIT|CREATE|DO|DROP|GRANT|REVOKE|SELECT|SET|ROLLBACK|REINDEX)[\s;]`)
	// shell is how an advice begins that is a command.
	shell = regexp.MustCompile(`^(wal2vec |make parts\b|export [A-Z0-9_]+=)`)
)

// adviceOf sorts what an error says to do; database is where a statement is meant for. What is for
// people stays, as a comment.
func adviceOf(try string, database Place) advice {
	try = strings.TrimSpace(try)
	statements, words := cutStatements(try)
	switch {
	case try == "":
		return nothing
	case statements != "":
		return advice{place: database, text: commented(statements, " -- ", strings.TrimPrefix(words, "-- "))}
	case shell.MatchString(try):
		command, words := pgname.Command(try)
		return inShell(commented(command, "  # ", strings.TrimSpace(words)))
	default:
		return onServer(try)
	}
}

// cutStatements takes the statements from the front of an advice.
func cutStatements(try string) (statements, words string) {
	words = try
	for statementHead.MatchString(words) {
		statement, rest := pgname.Statement(words)
		if statement == "" {
			break
		}
		statements, words = statements+" "+statement, strings.TrimSpace(rest)
	}
	return strings.TrimPrefix(statements, " "), words
}

func commented(text, mark, words string) string {
	if words == "" {
		return text
	}
	return text + mark + words
}

// setting is how a setting of the source's server is changed: by SQL where this role may or no
// other process could, by the provider's console else.
func (e *examination) setting(name, value string, restart bool) advice {
	if provider := e.source.provider; provider != "" && !e.source.superuser {
		after := ""
		if restart {
			after = ", then restart the server"
		}
		return onServer(fmt.Sprintf("in the provider's console (%s), set %s to %s%s", providers[provider], name, pgname.Visible(value), after))
	}
	statement := fmt.Sprintf("ALTER SYSTEM SET %s = %s;", pgname.Identifier(name), pgname.Literal(value))
	if restart {
		return inSource(statement + " -- then restart the server")
	}
	return inSource(statement + " SELECT pg_catalog.pg_reload_conf();")
}

// providers are managed servers, told by a role that each of them has.
var providers = map[string]string{
	"rds_superuser": "Amazon RDS or Aurora: the parameter group", "cloudsqlsuperuser": "Google Cloud SQL: database flags",
	"alloydbsuperuser": "Google AlloyDB: database flags", "azure_pg_admin": "Azure Database: server parameters",
	"supabase_admin": "Supabase: custom Postgres config", "neon_superuser": "Neon: project settings",
}
