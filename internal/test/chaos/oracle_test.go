package chaos

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// auditSetup writes every change of the table down in the transaction that makes it. The
// descriptions are not compressed, so that those of more than about 2,000 bytes are TOASTed.
const auditSetup = `
ALTER TABLE staging_marts.dim_product ALTER description SET STORAGE EXTERNAL, ADD other uuid NOT NULL UNIQUE DEFAULT gen_random_uuid();
CREATE SCHEMA chaos;
CREATE TABLE chaos.audit (
	id bigint GENERATED ALWAYS AS IDENTITY, xid bigint NOT NULL, old_key bigint, new_key bigint,
	name text, brand text, category text, description text, deleted boolean,
	at pg_lsn NOT NULL DEFAULT pg_current_wal_insert_lsn(), published boolean NOT NULL, relation oid NOT NULL
);
ALTER TABLE chaos.audit ALTER description SET STORAGE EXTERNAL;
CREATE INDEX ON chaos.audit (xid);
CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	x bigint := pg_current_xact_id()::text::bigint;
	p boolean := EXISTS (
		SELECT FROM pg_publication AS p JOIN pg_class AS c ON c.oid = TG_RELID
		WHERE p.pubname = 'wal2vec_chaos' AND c.relpersistence = 'p' AND c.relnamespace = 'staging_marts'::regnamespace
			AND (EXISTS (SELECT FROM pg_publication_rel AS r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
				OR EXISTS (SELECT FROM pg_publication_namespace AS n WHERE n.pnpubid = p.oid AND n.pnnspid = c.relnamespace))
			AND p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate
	);
BEGIN
	IF TG_OP = 'TRUNCATE' THEN
		INSERT INTO chaos.audit (xid, published, relation) VALUES (x, p, TG_RELID);
	ELSIF TG_OP = 'DELETE' THEN
		INSERT INTO chaos.audit (xid, old_key, published, relation) VALUES (x, OLD.product_id, p, TG_RELID);
	ELSIF TG_OP = 'INSERT' THEN
		INSERT INTO chaos.audit (xid, new_key, name, brand, category, description, deleted, published, relation)
		VALUES (x, NEW.product_id, NEW.name, NEW.brand, NEW.category, NEW.description, NEW.deleted, p, TG_RELID);
	ELSE
		INSERT INTO chaos.audit (xid, old_key, new_key, name, brand, category, description, deleted, published, relation)
		VALUES (x, OLD.product_id, NEW.product_id, NEW.name, NEW.brand, NEW.category, NEW.description, NEW.deleted, p, TG_RELID);
	END IF;
	RETURN NULL;
END $$;
` + auditTriggers

// auditTriggers are those of the table that has the name now.
const auditTriggers = `
CREATE TRIGGER note_row AFTER INSERT OR UPDATE OR DELETE ON staging_marts.dim_product FOR EACH ROW EXECUTE FUNCTION chaos.note();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON staging_marts.dim_product FOR EACH STATEMENT EXECUTE FUNCTION chaos.note();
`

// oracle follows the source by its log files and the audit table.
type oracle struct {
	db       *pgtest.DB
	template change.Template
	folder   string     // of the log's files
	from     change.LSN // the last commit that was taken in, or where the log began
	texts    map[change.Hash]string
	history  History
	// windows are times in which the table was not published.
	windows *windows

	conn *pgx.Conn
}

// newOracle sets up the audit of an empty table.
func newOracle(ctx context.Context, db *pgtest.DB, unpublished *windows) (*oracle, error) {
	template, err := change.ParseTemplate("{name}. {brand}. {category}. {description}")
	if err != nil {
		return nil, err
	}
	o := &oracle{db: db, template: template, texts: make(map[change.Hash]string), windows: unpublished}
	if err := o.connect(ctx); err != nil {
		return nil, err
	}
	const where = "SELECT current_setting('data_directory'), pg_current_wal_flush_lsn()::text"
	var start string
	if err := o.conn.QueryRow(ctx, where).Scan(&o.folder, &start); err != nil {
		return nil, fmt.Errorf("asking where the log is: %w", err)
	}
	o.folder = filepath.Join(o.folder, "pg_wal")
	if o.from, err = change.ParseLSN(start); err != nil {
		return nil, err
	}
	if _, err := o.conn.Exec(ctx, auditSetup); err != nil {
		return nil, fmt.Errorf("setting up the audit: %w", err)
	}
	return o, nil
}

func (o *oracle) connect(ctx context.Context) error {
	if o.conn != nil && !o.conn.IsClosed() {
		return nil
	}
	conn, err := pgx.Connect(ctx, o.db.DSN)
	if err != nil {
		return fmt.Errorf("connecting to the source: %w", err)
	}
	o.conn = conn
	return nil
}

func (o *oracle) close(ctx context.Context) {
	if o.conn != nil {
		_ = o.conn.Close(ctx)
	}
}

// errLater says that the source cannot be asked now.
var errLater = errors.New("the source cannot be asked now")

// advance takes in everything that was committed, and flushed, before the call; it returns the
// position up to which that is complete.
func (o *oracle) advance(ctx context.Context) (change.LSN, error) {
	if err := o.connect(ctx); err != nil {
		return 0, errors.Join(errLater, err)
	}
	var text string
	if err := o.conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&text); err != nil {
		return 0, errors.Join(errLater, err)
	}
	end, err := change.ParseLSN(text)
	if err != nil || end <= o.from {
		return end, err
	}
	commits, err := o.dump(ctx, end)
	if err != nil {
		return 0, err
	}
	audits, err := o.audits(ctx, commits)
	if err != nil {
		return 0, err
	}
	for _, c := range commits {
		o.history.Add(c.LSN, audits[c.XID])
		o.from = c.LSN
	}
	return end, nil
}

// dump reads the commits above the last one that was taken in.
func (o *oracle) dump(ctx context.Context, end change.LSN) ([]Commit, error) {
	// The files are named, else pg_waldump reads the size of all files from any one, which may be
	// one to come, still empty.
	cmd := exec.CommandContext(ctx, o.db.Host.Program("pg_waldump"),
		"--path="+o.folder, "--start="+o.from.String(), "--end="+end.String(), "--rmgr=Transaction", segmentOf(o.from), segmentOf(end-1))
	var complaints strings.Builder
	cmd.Stderr = &complaints
	output, err := cmd.Output()
	if err != nil {
		// The server may be recovering over the end of its log.
		return nil, fmt.Errorf("%w: reading the log from %s to %s: %w: %s", errLater, o.from, end, err, complaints.String())
	}
	commits, err := ParseCommits(string(output))
	if err != nil {
		return nil, err
	}
	for len(commits) > 0 && commits[0].LSN <= o.from {
		commits = commits[1:]
	}
	return commits, nil
}

// segmentOf names the file that holds a position of the first timeline.
func segmentOf(at change.LSN) string {
	const bytes = 16 << 20
	return fmt.Sprintf("%08X%08X%08X", 1, uint32(at>>32), uint32(at)/bytes)
}

// audits reads what the transactions changed, once all of them are visible.
func (o *oracle) audits(ctx context.Context, commits []Commit) (map[uint32][]Audit, error) {
	xids := make([]int64, len(commits))
	for i, c := range commits {
		xids[i] = int64(c.XID)
	}
	found := make(map[uint32][]Audit)
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, o.conn, options, func(tx pgx.Tx) error {
		var hidden int
		const visible = `SELECT count(*) FROM unnest($1::bigint[]) AS x WHERE NOT pg_visible_in_snapshot(x::text::xid8, pg_current_snapshot())`
		if err := tx.QueryRow(ctx, visible, xids).Scan(&hidden); err != nil {
			return err
		}
		if hidden > 0 {
			return fmt.Errorf("%d transactions are not visible yet", hidden)
		}
		rows, err := tx.Query(ctx, `SELECT xid, old_key, new_key, name, brand, category, description, coalesce(deleted, false), published, at::text, relation
			FROM chaos.audit WHERE xid = ANY ($1) ORDER BY id`, xids)
		if err != nil {
			return err
		}
		var xid int64
		var a Audit
		var deleted, published bool
		var at string
		fields := make([]*string, 4)
		scans := []any{&xid, &a.Old, &a.New, &fields[0], &fields[1], &fields[2], &fields[3], &deleted, &published, &at, &a.Relation}
		_, err = pgx.ForEachRow(rows, scans, func() error {
			got := a
			got.Truncate = a.Old == nil && a.New == nil
			if got.State = (State{}); a.New != nil && !deleted {
				got.State = o.state(fields)
			}
			position, err := change.ParseLSN(at)
			got.Unpublished = !published || o.windows.contain(position)
			if err != nil {
				return err
			}
			found[uint32(xid)] = append(found[uint32(xid)], got)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, errors.Join(errLater, err)
	}
	return found, nil
}

// state renders a row and remembers its text.
func (o *oracle) state(columns []*string) State {
	text := render(o.template, columns)
	if text == "" {
		return State{}
	}
	hash := change.HashText(text)
	o.texts[hash] = text
	return State{Live: true, Hash: hash}
}

func render(template change.Template, columns []*string) string {
	fields := make([]change.Field, len(columns))
	for i, c := range columns {
		if c != nil {
			fields[i] = change.Field{Text: *c, State: change.FieldValue}
		}
	}
	return template.Render(fields)
}
