package doctor

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// advice is a fix and where to run it.
type advice struct {
	place Place
	text  string
}

func inSource(text string) advice   { return advice{Source, text} }
func inSink(text string) advice     { return advice{Sink, text} }
func inShell(text string) advice    { return advice{Shell, text} }
func inSettings(text string) advice { return advice{Settings, text} }
func onServer(text string) advice   { return advice{Server, text} }

var (
	nothing = advice{}
	setUp   = inShell("wal2vec init")
	// sql is how an advice begins that is a statement. What follows its semicolon is for people.
	sql = regexp.MustCompile(`^(ALTER|CREATE|DROP|GRANT|REVOKE|SELECT|ROLLBACK|REINDEX)\s[^;]*;`)
	// shell is how an advice begins that is a command.
	shell = regexp.MustCompile(`^(wal2vec|make|export|chmod) `)
)

// adviceOf sorts what an error says to do; database is where a statement is meant for.
func adviceOf(try string, database Place) advice {
	try = strings.TrimSpace(try)
	switch statement := sql.FindString(try); {
	case try == "":
		return nothing
	case statement == try:
		return advice{database, try}
	case statement != "": // what is for people stays, as a comment
		rest := strings.TrimSpace(strings.TrimPrefix(try, statement))
		return advice{database, statement + " -- " + strings.TrimPrefix(rest, "-- ")}
	case strings.HasPrefix(try, "wal2vec ") && !strings.ContainsAny(try, ",;"):
		return inShell(try)
	case strings.HasPrefix(try, "wal2vec "):
		command, rest, _ := strings.Cut(try, ",")
		return inShell(command + "  # " + strings.TrimSpace(rest))
	case shell.MatchString(try):
		return inShell(try)
	default:
		return onServer(try)
	}
}

func quote(name ...string) string { return pgx.Identifier(name).Sanitize() }

func quoteLiteral(text string) string {
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// setting is how a setting of the source's server is changed: by SQL where this role may or nobody else could, by the provider's console else.
func (e *examination) setting(name, value string, restart bool) advice {
	if provider := e.source.provider; provider != "" && !e.source.superuser {
		after := ""
		if restart {
			after = ", then restart the server"
		}
		return onServer(fmt.Sprintf("in the provider's console (%s), set %s to %s%s", providers[provider], name, value, after))
	}
	statement := fmt.Sprintf("ALTER SYSTEM SET %s = %s;", quote(name), quoteLiteral(value))
	if restart {
		return inSource(statement + " -- then restart the server")
	}
	return inSource(statement + " SELECT pg_reload_conf();")
}

// providers are managed servers, told by a role that each of them has.
var providers = map[string]string{
	"rds_superuser": "Amazon RDS or Aurora: the parameter group", "cloudsqlsuperuser": "Google Cloud SQL: database flags",
	"alloydbsuperuser": "Google AlloyDB: database flags", "azure_pg_admin": "Azure Database: server parameters",
	"supabase_admin": "Supabase: custom Postgres config", "neon_superuser": "Neon: project settings",
}
