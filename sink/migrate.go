package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sql"
)

// Versions that the sink needs.
const (
	oldestServer       = 160000
	oldestVectorMajor  = 0
	oldestVectorMinor  = 8
	oldestVectorString = "0.8"
)

// Migrate creates the extension, wal2vec's schema and its tables, or brings them up to date. It may
// run at any time, also in several processes at once, and refuses a schema that a newer wal2vec
// made.
func (s *Sink) Migrate(ctx context.Context) error {
	return s.setUp(ctx, func(tx pgx.Tx) ([]string, error) {
		steps, version, err := s.migrateSteps(ctx, tx)
		if known := len(sql.Migrations()); err == nil && version > 0 && version < known {
			s.log.Info().Int("was", version).Int("is", known).Msg("wal2vec's schema is brought up to date")
		}
		return steps, err
	})
}

// runSteps runs each step as one statement. Of all that this program has run as several at once,
// the migrations alone may be.
func (s *Sink) runSteps(ctx context.Context, tx pgx.Tx, steps []string) error {
	scripts, err := s.scripts()
	if err != nil {
		return err
	}
	for _, step := range steps {
		if scripts[step] {
			_, err = tx.Exec(ctx, step)
		} else {
			err = statement.Run(ctx, tx, step)
		}
		if errors.Is(err, statement.ErrWithheld) && strings.Contains(step, " USAGE ON SCHEMA ") { // the view may be in a schema of another role
			s.log.Warn().Err(err).Str("try", "have the owner of the schema run: "+step+";").Msg("a right to a schema is another role's to give")
			err = nil
		}
		if err != nil {
			return explainStep(err, step)
		}
	}
	return nil
}

// scripts are the migrations as they are run here.
func (s *Sink) scripts() (map[string]bool, error) {
	texts := map[string]bool{}
	for _, m := range sql.Migrations() {
		text, err := m.Render(s.schemaNames())
		if err != nil {
			return nil, err
		}
		texts[text] = true
	}
	return texts, nil
}

// schemaNames fills a migration: the schema as an identifier and as a string.
func (s *Sink) schemaNames() any {
	return struct{ Schema, SchemaName string }{pgname.Catalogue(s.schema), pgname.Literal(s.schema)}
}

// mayNot says who may run a step.
func mayNot(step string) string {
	switch {
	case strings.HasPrefix(step, "CREATE EXTENSION "):
		return step + "; -- once, in the sink, as a superuser; then run it again"
	case strings.HasPrefix(step, "CREATE SCHEMA "):
		return "run deploy/roles.sql, again where a teardown dropped the schema that it made; or run it as" +
			" a role that may, or have it run: wal2vec init --print-sql"
	case strings.HasPrefix(step, "CREATE OR REPLACE VIEW "):
		// CREATE on public, say, would let the role have every other one run its functions.
		return "set sink.view to a name in a schema of its own (wal2vec.view_schema of deploy/roles.sql), and run wal2vec init, which moves the view"
	default:
		return "run it as a role that may (deploy/roles.sql), or have it run: wal2vec init --print-sql"
	}
}

// ownSchema makes pgvector where any role that may create in public has taken a name of its
// there.
const ownSchema = "BEGIN; CREATE SCHEMA pgvector; GRANT USAGE ON SCHEMA pgvector TO PUBLIC; CREATE EXTENSION vector WITH SCHEMA pgvector; COMMIT;" +
	" -- as a superuser; where it fails, under another name; then run it again"

func explainStep(err error, step string) error {
	for strings.HasPrefix(step, "--") {
		_, step, _ = strings.Cut(step, "\n")
	}
	line, _, _ := strings.Cut(strings.TrimSpace(step), "\n")
	line = strings.TrimSuffix(line, " (")
	state := fault.SQLSTATE(err)
	if strings.HasPrefix(step, "CREATE EXTENSION ") && slices.Contains([]string{"42710", "42723", "42P07"}, state) {
		return fault.Wrap(err, fault.Usage, ownSchema, "running %q: what another role made in that schema has a name of pgvector's", line)
	}
	switch state {
	case "42501": // insufficient privilege
		return fault.Wrap(err, fault.Usage, mayNot(step), "running %q", line)
	case "58P01", "0A000": // undefined file, feature not supported: the extension is not installed
		return fault.Wrap(err, fault.Usage, "install pgvector "+oldestVectorString+" or later on the sink's server", "running %q", line)
	case "42P07", "42723": // a table or function of this name exists already
		return fault.Wrap(err, fault.Usage, "drop what is in the way, or set another name: sink.schema", "running %q", line)
	case "42P16": // a view of this name has columns of other types
		return fault.Wrap(err, fault.Usage, "look at what it is, drop the view, and run wal2vec init again", "running %q", line)
	case "2BP01": // dependent objects still exist
		return fault.Wrap(err, fault.Usage, "drop what depends on it first", "running %q", line)
	default:
		return fmt.Errorf("running %q: %w", line, err)
	}
}

// migrateSteps returns the statements that bring the schema up to date, and the version that it has
// now.
func (s *Sink) migrateSteps(ctx context.Context, q querier) (steps []string, version int, err error) {
	var server int
	if err := q.QueryRow(ctx, "SELECT pg_catalog.current_setting('server_version_num')::integer").Scan(&server); err != nil {
		return nil, 0, fmt.Errorf("asking for the sink's version: %w", err)
	}
	if err := CheckServer(server); err != nil {
		return nil, 0, err
	}
	extension, err := s.extension(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	if extension.schema == "" {
		steps = append(steps, "CREATE EXTENSION vector SCHEMA "+defaultExtensionSchema)
	}
	exists, err := s.trusted(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	if !exists {
		steps = append(steps, "CREATE SCHEMA "+pgname.Catalogue(s.schema))
	}
	versioned := false
	if exists {
		table := pgname.Catalogue(s.schema, "schema_version")
		if err := q.QueryRow(ctx, "SELECT pg_catalog.to_regclass($1) IS NOT NULL", table).Scan(&versioned); err != nil {
			return nil, 0, s.explain(err, "looking for wal2vec's schema")
		}
	}
	if versioned {
		if version, err = s.schemaVersion(ctx, q); err != nil {
			return nil, 0, err
		}
	} else {
		steps = append(steps, s.query("schema_version_create"))
	}
	migrations, err := s.migrations(version)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case !versioned:
		migrations = append(migrations, unasked(made{schema: s.schema, newSchema: !exists, relations: slices.Concat(shared, sequences)}))
	case len(migrations) > 0:
		before, behind := s.migrated()
		migrations = slices.Concat([]string{before}, migrations, []string{behind})
	}
	again, err := s.grantAgain(ctx, q, version)
	return slices.Concat(steps, migrations, again), version, err
}

// CheckServer returns a fault of kind Usage for a server that cannot be the sink; version is its
// server_version_num.
func CheckServer(version int) error {
	if version >= oldestServer {
		return nil
	}
	return fault.New(fault.Usage, "use PostgreSQL 16 or later as the sink", "the sink is PostgreSQL %d", version/10000)
}

// CheckExtension returns a fault of kind Usage where pgvector is there and too old.
func (s *Sink) CheckExtension(ctx context.Context) error {
	_, err := s.extension(ctx, s.pool)
	return err
}

// migrations returns the statements of the migrations after a version.
func (s *Sink) migrations(version int) ([]string, error) {
	all := sql.Migrations()
	if version > len(all) {
		return nil, s.newerSchema(version)
	}
	var steps []string
	for i, m := range all[version:] {
		text, err := m.Render(s.schemaNames())
		if err != nil {
			return nil, err
		}
		insert := fmt.Sprintf("INSERT INTO %s (version, name) VALUES (%d, %s)",
			pgname.Catalogue(s.schema, "schema_version"), version+i+1, pgname.Literal(m.Name))
		steps = append(steps, text, insert)
	}
	return steps, nil
}

// defaultExtensionSchema takes pgvector when the sink lacks it: on everybody's search path,
// people's queries find its operators.
const defaultExtensionSchema = "public"

// extension is pgvector as the sink has it.
type extension struct {
	schema      string // empty when there is none
	vectorOID   uint32
	vectorArray uint32
}

func (s *Sink) extension(ctx context.Context, q querier) (extension, error) {
	var e extension
	var version string
	rows, err := q.Query(ctx, s.query("extension"))
	if err != nil {
		return e, fmt.Errorf("looking for pgvector: %w", err)
	}
	_, err = pgx.ForEachRow(rows, []any{&e.schema, &version, &e.vectorOID, &e.vectorArray}, func() error { return nil })
	if err != nil {
		return e, fmt.Errorf("looking for pgvector: %w", err)
	}
	if e.schema != "" && !newEnough(version) {
		return e, fault.New(fault.Usage, "ALTER EXTENSION vector UPDATE;", "pgvector is version %s, wal2vec needs %s or later", version, oldestVectorString)
	}
	return e, nil
}

func newEnough(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil {
		return false
	}
	return major > oldestVectorMajor || minor >= oldestVectorMinor
}

func schemaExists(ctx context.Context, q querier, name string) (bool, error) {
	var exists bool
	err := q.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)", name).Scan(&exists)
	if err != nil {
		return false, fmt.Errorf("looking for schema %q: %w", name, err)
	}
	return exists, nil
}
