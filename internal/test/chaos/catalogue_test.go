package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// catalogueFaults are changes of the source's and the sink's catalogue beside the program.
var catalogueFaults = []fault{
	{name: "not published", weight: 3, make: (*world).unpublish, possible: restless},
	{name: "unlogged", weight: 2, make: (*world).unlog, possible: func(w *world) bool { return restless(w) && w.plan.schema }},
	{name: "swapped table", weight: 5, make: (*world).swap, possible: restless},
	{name: "altered table", weight: 4, make: (*world).alter, possible: restless},
	{name: "settings of the role", weight: 4, sided: true, make: (*world).bend, possible: restless},
	{name: "read only", weight: 3, sided: true, make: (*world).readOnly, possible: restless},
	{name: "SIGSTOP inside a transaction", weight: 4, make: (*world).stopInside, possible: restless},
}

func restless(w *world) bool { return w.plan.catalogue }

// makeRole makes the program's own role on both servers: its settings bend none of the oracle's
// sessions.
func (w *world) makeRole() {
	const name = "program"
	w.role, w.password = name, "of "+name
	for _, db := range []*pgtest.DB{w.source, w.sink} {
		db.Exec(w.t, "DO $$ BEGIN CREATE ROLE "+name+" SUPERUSER LOGIN PASSWORD 'of "+name+"'; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
	}
}

// reaches opens a session that waits for no standby and for no lock for long; nil where the server
// is down.
func (w *world) reaches(ctx context.Context, db *pgtest.DB) *pgx.Conn {
	config, err := pgx.ParseConfig(db.DSN)
	if err != nil {
		w.t.Error(err)
		return nil
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.RuntimeParams["synchronous_commit"] = "local"
	config.RuntimeParams["lock_timeout"] = "2s"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil
	}
	return conn
}

// away is something that the table is for a while, in which changes of it are not published.
type away struct{ there, back, done string }

// bySchema takes the place of the first of aways where the publication is one of the table's
// schema.
var bySchema = away{
	there: "ALTER PUBLICATION wal2vec_chaos DROP TABLES IN SCHEMA staging_marts",
	back:  "ALTER PUBLICATION wal2vec_chaos ADD TABLES IN SCHEMA staging_marts",
	done:  "SELECT EXISTS (SELECT FROM pg_publication_namespace WHERE pnnspid = 'staging_marts'::regnamespace)",
}

var aways = []away{
	{
		there: "ALTER PUBLICATION wal2vec_chaos DROP TABLE staging_marts.dim_product",
		back:  "ALTER PUBLICATION wal2vec_chaos ADD TABLE staging_marts.dim_product",
		done:  "SELECT EXISTS (SELECT FROM pg_publication_tables WHERE pubname = 'wal2vec_chaos' AND schemaname = 'staging_marts' AND tablename = 'dim_product')",
	},
	{
		there: "ALTER PUBLICATION wal2vec_chaos SET (publish = 'insert')",
		back:  "ALTER PUBLICATION wal2vec_chaos SET (publish = 'insert, update, delete, truncate')",
		done:  "SELECT coalesce((SELECT pubdelete FROM pg_publication WHERE pubname = 'wal2vec_chaos'), false)",
	},
	{
		there: "ALTER TABLE staging_marts.dim_product SET SCHEMA chaos",
		back:  "ALTER TABLE chaos.dim_product SET SCHEMA staging_marts",
		done:  "SELECT to_regclass('staging_marts.dim_product') IS NOT NULL",
	},
	{ // what is deleted in this time is logged without its key
		there: `DO $$ BEGIN EXECUTE format('ALTER TABLE staging_marts.dim_product REPLICA IDENTITY USING INDEX %I', (
			SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
			JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
			WHERE i.indrelid = 'staging_marts.dim_product'::regclass AND a.attname = 'other' LIMIT 1)); END $$`,
		back: "ALTER TABLE staging_marts.dim_product REPLICA IDENTITY DEFAULT",
		done: "SELECT relreplident = 'd' FROM pg_class WHERE oid = 'staging_marts.dim_product'::regclass",
	},
}

// unpublish takes the table away from the stream, for less than the time between two looks at it or
// for more.
func (w *world) unpublish(_ side, r *rand.Rand) *lasting {
	a, long := aways[r.IntN(len(aways))], r.IntN(4) == 0
	if a == aways[0] && w.plan.schema {
		a = bySchema
	}
	until := spell(r, 800*time.Millisecond)
	if long {
		until = spell(r, 7*time.Second)
	}
	end := w.leave(a.there)
	if end == nil {
		return nil
	}
	return &lasting{until: until, end: func() {
		w.source.Host.Revive(w.t)
		w.comeBack(a, end)
	}}
}

// leave begins a window and runs the statement that takes the table away; nil where it did not.
func (w *world) leave(statement string) (end func(change.LSN)) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	conn := w.reaches(ctx, w.source)
	if conn == nil {
		return nil
	}
	defer conn.Close(ctx)
	from, err := position(ctx, conn)
	if err != nil {
		return nil
	}
	end = w.windows.begin(from)
	if _, err := conn.Exec(ctx, statement); err != nil {
		w.t.Logf("%s: %v", statement, err)
		end(from) // nothing happened
		return nil
	}
	return end
}

// comeBack tries until the table is back, and ends the window.
func (w *world) comeBack(a away, end func(change.LSN)) {
	pgtest.Eventually(w.t, time.Minute, func() (bool, string) {
		ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
		defer cancel()
		conn := w.reaches(ctx, w.source)
		if conn == nil {
			return false, "the source is down"
		}
		defer conn.Close(ctx)
		_, err := conn.Exec(ctx, a.back) // a resync may have done it
		var back bool
		if scanErr := conn.QueryRow(ctx, a.done).Scan(&back); scanErr != nil || !back {
			return false, fmt.Sprint(a.back, ": ", errors.Join(err, scanErr))
		}
		to, err := position(ctx, conn)
		if err != nil {
			return false, err.Error()
		}
		end(to)
		return true, ""
	})
}

func position(ctx context.Context, conn *pgx.Conn) (change.LSN, error) {
	var text string
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&text); err != nil {
		return 0, err
	}
	return change.ParseLSN(text)
}

// unlog makes the table unlogged and logged again. No server may crash in between, which would
// empty it: no other fault begins in this time.
func (w *world) unlog(_ side, r *rand.Rand) *lasting {
	hold := time.Duration(r.IntN(900)) * time.Millisecond
	end := w.leave("ALTER TABLE staging_marts.dim_product SET UNLOGGED")
	if end == nil {
		return nil
	}
	wait(w.t.Context(), hold)
	w.comeBack(away{
		back: "ALTER TABLE staging_marts.dim_product SET LOGGED",
		done: "SELECT relpersistence = 'p' FROM pg_class WHERE oid = 'staging_marts.dim_product'::regclass",
	}, end)
	return nil
}

// swap puts another table in the place of the table, as dbt does, some of whose rows differ.
func (w *world) swap(_ side, r *rand.Rand) *lasting {
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	w.swaps++
	old := fmt.Sprintf("dim_product_%d", w.swaps)
	after := "DROP TABLE staging_marts." + old
	if r.IntN(3) == 0 {
		after = "SELECT 1" // the old table stays
	}
	part, of := r.IntN(20), 20
	conn := w.reaches(ctx, w.source)
	if conn == nil {
		return nil
	}
	defer conn.Close(ctx)
	w.windows.begin(0)(0) // a swap may be a gap where the catalogue cannot be read just then
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, statement := range []string{
			"LOCK TABLE staging_marts.dim_product IN ACCESS EXCLUSIVE MODE",
			"CREATE TABLE staging_marts.dim_product_next (LIKE staging_marts.dim_product INCLUDING ALL)",
			"INSERT INTO staging_marts.dim_product_next SELECT * FROM staging_marts.dim_product",
			"ALTER TABLE staging_marts.dim_product RENAME TO " + old,
			"ALTER TABLE staging_marts.dim_product_next RENAME TO dim_product",
			auditTriggers,
			fmt.Sprintf("DELETE FROM staging_marts.dim_product WHERE product_id %% %d = %d", of, part),
			fmt.Sprintf("UPDATE staging_marts.dim_product SET name = 'Swapped %d' WHERE product_id %% %d = %d", w.swaps, of, (part+1)%of),
			after,
		} {
			if _, err := tx.Conn().PgConn().Exec(ctx, statement).ReadAll(); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	})
	if err != nil {
		w.t.Logf("a swap: %v", err)
	} else {
		w.report.Saw("swaps")
	}
	return nil
}

// alter changes the table in a way that its rows survive, and mostly their texts.
func (w *world) alter(_ side, r *rand.Rand) *lasting {
	statements := []string{
		"ALTER TABLE staging_marts.dim_product ADD COLUMN IF NOT EXISTS extra integer DEFAULT 7",
		"ALTER TABLE staging_marts.dim_product DROP COLUMN IF EXISTS extra",
		"ALTER TABLE staging_marts.dim_product ALTER price TYPE numeric(14, 4)",
		"ALTER TABLE staging_marts.dim_product ALTER price TYPE numeric(12, 2)",
		"ALTER TABLE staging_marts.dim_product ALTER brand TYPE varchar(400)",
		"ALTER TABLE staging_marts.dim_product ALTER brand TYPE text",
		"ALTER TABLE staging_marts.dim_product ALTER category SET STORAGE EXTERNAL",
		"ALTER TABLE staging_marts.dim_product REPLICA IDENTITY FULL",
		"ALTER TABLE staging_marts.dim_product REPLICA IDENTITY DEFAULT",
		"VACUUM FULL staging_marts.dim_product",
		"CLUSTER staging_marts.dim_product USING " + pkey,
	}
	statement := statements[r.IntN(len(statements))]
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	conn := w.reaches(ctx, w.source)
	if conn == nil {
		return nil
	}
	defer conn.Close(ctx)
	if strings.HasSuffix(statement, pkey) {
		var index string
		const query = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'staging_marts.dim_product'::regclass AND indisprimary"
		if conn.QueryRow(ctx, query).Scan(&index) != nil {
			return nil
		}
		statement = "CLUSTER staging_marts.dim_product USING " + index[len("staging_marts."):]
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		w.t.Logf("%s: %v", statement, err)
		return nil
	}
	w.report.Saw(statement)
	return nil
}

// pkey stands for the primary key's index, whose name a swap changes.
const pkey = "pkey"

// settingsOfRoles are what an administrator may have set for a role, with no thought of the
// program.
var settingsOfRoles = []string{
	"search_path = chaos", "statement_timeout = '5ms'", "lock_timeout = '1ms'", "default_transaction_isolation = 'serializable'",
	"idle_in_transaction_session_timeout = '1ms'", "idle_session_timeout = '5ms'", "DateStyle = 'SQL, DMY'", "IntervalStyle = 'sql_standard'",
	"bytea_output = 'escape'", "extra_float_digits = -3", "standard_conforming_strings = off", "row_security = off", "TimeZone = 'Pacific/Chatham'",
	"default_transaction_deferrable = on", "synchronous_commit = off", "enable_indexscan = off", "plan_cache_mode = 'force_generic_plan'",
}

// bend gives the program's role a setting on one side, which holds from its next sessions on, and
// takes it away later.
func (w *world) bend(s side, r *rand.Rand) *lasting {
	setting, until := settingsOfRoles[r.IntN(len(settingsOfRoles))], spell(r, 8*time.Second)
	if !w.tell(s.db, "ALTER ROLE "+w.role+" SET "+setting, true) {
		return nil
	}
	return &lasting{until: until, end: func() { w.retell(s, "ALTER ROLE "+w.role+" RESET ALL") }}
}

// readOnly lets the program's role write nothing for a while.
func (w *world) readOnly(s side, r *rand.Rand) *lasting {
	until := spell(r, 3*time.Second)
	if !w.tell(s.db, "ALTER ROLE "+w.role+" IN DATABASE "+s.db.Name+" SET default_transaction_read_only = on", true) {
		return nil
	}
	return &lasting{until: until, end: func() {
		w.retell(s, "ALTER ROLE "+w.role+" IN DATABASE "+s.db.Name+" RESET default_transaction_read_only")
	}}
}

// tell runs a statement, and ends the program's sessions if it did.
func (w *world) tell(db *pgtest.DB, statement string, end bool) bool {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	conn := w.reaches(ctx, db)
	if conn == nil {
		return false
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		return false
	}
	if end {
		_, _ = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", w.role)
	}
	return true
}

// retell tells until the server has heard, and ends the sessions that heard the opposite.
func (w *world) retell(s side, statement string) {
	s.db.Host.Revive(w.t)
	pgtest.Eventually(w.t, time.Minute, func() (bool, string) { return w.tell(s.db, statement, true), statement })
}

// stopInside is stopOwner with the owner inside a transaction of the sink, with its locks: no other
// can take over before they are gone.
func (w *world) stopInside(_ side, r *rand.Rand) *lasting {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	conn := w.reaches(ctx, w.sink)
	if conn == nil {
		return nil
	}
	defer conn.Close(ctx)
	const query = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND state = 'idle in transaction' AND clock_timestamp() - state_change > '40ms'"
	for wait(ctx, time.Duration(1+r.IntN(20))*time.Millisecond) {
		p := w.procs.byPID(ownerPID(w.owner()))
		if p == nil || !strings.HasPrefix(p.name, streamRole.name) {
			continue
		}
		p.signal(syscall.SIGSTOP)
		wait(ctx, 100*time.Millisecond)
		inside := 0
		if err := conn.QueryRow(ctx, query, w.role).Scan(&inside); err == nil && inside > 0 {
			w.report.Saw("stopped inside a transaction")
			return w.watchStopped(p, r)
		}
		p.signal(syscall.SIGCONT)
	}
	return nil
}
