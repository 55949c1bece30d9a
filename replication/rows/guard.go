package rows

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// PostgreSQL evaluates what is constant in an index's predicate or expression, or in statistics,
// while it plans a read, as the reader, and a function that is marked IMMUTABLE may do anything:
// its owner acts with the reader's rights. Each read is therefore a transaction that begins as a
// read-only one, which no function can change, whatever the session's defaults have become; and it
// is rolled back, so that no setting that a function made (the role, search_path, defaults of
// transactions) reaches the next statement, and no notification leaves.
const (
	beginReading = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"
	endReading   = "ROLLBACK"
)

// read is run for what reads the table, in one round trip. Where one table is followed, it fails
// where the rows are those of another that has the name for now: the lock on what was read is kept
// until the name is looked up, so that no rename comes between.
//
// A read that row policies keep from the rows is a fault of kind Usage with the statement that
// opens them: rows are never left out.
func (r *Reader) read(ctx context.Context, statement string, each func(rawRow) error, params ...[]byte) error {
	err := r.attempt(ctx, statement, each, params...)
	if fault.SQLSTATE(err) != "42501" || r.conn == nil {
		return err
	}
	switch again, hidden := r.hidden(ctx); {
	case hidden != nil:
		return hidden
	case again: // the server has planned it, and sent no row
		return r.attempt(ctx, statement, each, params...)
	default:
		return err
	}
}

// attempt is one try of a read.
func (r *Reader) attempt(ctx context.Context, statement string, each func(rawRow) error, params ...[]byte) error {
	batch := &pgconn.Batch{}
	batch.ExecParams(beginReading, nil, nil, nil, nil)
	answerRows := 1 + r.admit(batch) // the places of the answers in that transaction
	answerOID := answerRows + 1
	batch.ExecParams(statement, params, nil, nil, nil)
	if r.opts.Followed != 0 {
		batch.ExecParams(sql.Query("source_table_oid"), r.tableName(), nil, nil, nil)
	}
	batch.ExecParams(endReading, nil, nil, nil, nil)
	results := r.conn.ExecBatch(ctx, batch)
	var failed error
	var oid string
	for n := 0; results.NextResult(); n++ {
		for rows := results.ResultReader(); rows.NextRow(); {
			switch {
			case n == answerOID:
				oid = string(rows.Values()[0])
			case n == answerRows && failed == nil:
				failed = each(rows.Values())
			}
		}
	}
	if err := results.Close(); err != nil {
		err = r.broken(ctx, err)
		r.leave(ctx)
		if altered := r.changed(ctx, err); altered != nil {
			return altered
		}
		if r.opts.Followed == 0 {
			return err
		}
		return r.replaced(ctx, err)
	}
	if r.opts.Followed == 0 {
		return failed
	}
	if err := r.checkOID(oid); err != nil {
		return err
	}
	return failed
}

// leave ends the transaction of a read that failed. A session that cannot leave it is of no use.
func (r *Reader) leave(ctx context.Context) {
	const idle = 'I'
	if r.conn == nil || r.conn.TxStatus() == idle {
		return
	}
	if _, err := r.run(ctx, endReading, nil); err != nil {
		r.drop(ctx)
	}
}

// tableName are the parameters of queries that ask about the table.
func (r *Reader) tableName() [][]byte {
	return [][]byte{[]byte(r.opts.Table.Schema), []byte(r.opts.Table.Name)}
}

// lookAtTypes notes which columns are texts, and which are of types whose casts and functions are
// another role's.
func (r *Reader) lookAtTypes(ctx context.Context) error {
	r.types, r.columns = make(map[string]string), nil
	// Which types there were comes first: an alteration in between is then noticed by each read.
	_, err := r.run(ctx, sql.Query("source_types_now"), func(row rawRow) error {
		for _, array := range row {
			r.columns = append(r.columns, bytes.Clone(array))
		}
		return nil
	}, r.tableName()...)
	if err != nil {
		return fmt.Errorf("asking for the types of %s: %w", r.name(), err)
	}
	_, err = r.run(ctx, sql.Query("source_types"), func(row rawRow) error {
		r.types[string(row[0])] = string(row[1])
		return nil
	}, r.tableName()...)
	if err != nil {
		return fmt.Errorf("asking for the types of %s: %w", r.name(), err)
	}
	texts := make([]bool, len(r.row.Values))
	for name, kind := range r.types {
		if place := slices.Index(r.row.Values, quote(name)); place >= 0 {
			texts[place] = kind == "text"
		}
	}
	r.row.Texts = texts
	return nil
}

// admit adds the statements before one that reads. The table is locked until the transaction ends:
// what PREPARE names is, by a role that may read a single column too, and neither planned nor run.
// So it is still of a role that may have this session read it (source_reader), its columns still
// have the types that the statement was made for, or the read fails: a cast of a text would be the
// owner's function where the column has become of another type. Row policies take effect where they
// are known to hide nothing and to call nothing of another role; a read fails else. It returns how
// many statements they are.
func (r *Reader) admit(batch *pgconn.Batch) (statements int) {
	add := func(statement string, params ...[]byte) {
		batch.ExecParams(statement, params, nil, nil, nil)
		statements++
	}
	if r.policed {
		add("SELECT pg_catalog.set_config('row_security', 'on', true)") // else PREPARE fails
	}
	// A name of ours, and the statement of this session alone.
	const lock, unprepare = "PREPARE wal2vec_locked AS SELECT FROM ", "DEALLOCATE wal2vec_locked"
	add(lock + r.from())
	add(unprepare)
	if r.reader != "" {
		add(r.reader, append(r.tableName(), []byte(r.kind))...)
	}
	add(sql.Query("source_types_kept"), r.typesKept()...)
	if r.policed {
		add(sql.Query("source_policies"), r.tableName()...)
	}
	return statements
}

// typesKept are the parameters of the query source_types_kept.
func (r *Reader) typesKept() [][]byte {
	return slices.Concat(r.tableName(), r.columns, [][]byte{
		[]byte(r.kind), []byte(strconv.FormatBool(r.opts.TrustOwner)), []byte(strconv.FormatUint(uint64(r.opts.Followed), 10)), []byte(r.opts.Publication),
	})
}

// changed returns what a read failed of, where the table is not any more what it was when the
// connection was opened: a fault of kind Usage where it may not be read, else of kind Unavailable:
// the next read opens a connection, and looks again.
func (r *Reader) changed(ctx context.Context, err error) error {
	const divisionByZero = "22012"
	if fault.SQLSTATE(err) != divisionByZero || r.conn == nil {
		return nil
	}
	kind := r.kind
	refused := r.guard(ctx)
	if r.opts.Followed != 0 && r.oid != "" {
		if replaced := r.checkOID(r.oid); replaced != nil {
			r.drop(ctx)
			return replaced
		}
	}
	if refused != nil || kind != r.kind {
		r.drop(ctx)
		if isFault(refused) {
			return refused
		}
		return fault.New(fault.Unavailable, "try again", "table %s was replaced by one of another kind while it was being read", r.name())
	}
	if _, err := r.run(ctx, sql.Query("source_types_kept"), nil, r.typesKept()...); fault.SQLSTATE(err) != divisionByZero {
		return nil
	}
	r.drop(ctx)
	return fault.New(fault.Unavailable, "try again", "a column of table %s got another type while it was being read", r.name())
}

// guard refuses a table whose owner could make use of what this session may do beyond reading, and
// one with children: a fault of kind Usage. That does not depend on what code there is, which may
// be younger than a look at it; each read makes the same look behind the lock on the table. It
// notes the table's kind, and the statement of that look.
func (r *Reader) guard(ctx context.Context) error {
	data := struct{ Told, Trusted, Powers bool }{Told: true, Trusted: r.opts.TrustOwner}
	query, err := sql.Render("source_reader", data)
	if err != nil {
		return err
	}
	var odd, owner, publisher string
	readable := true
	var powers change.Powers
	r.kind, r.oid = "", ""
	_, err = r.run(ctx, query, func(row rawRow) error {
		r.kind, odd = string(row[0]), string(row[1])
		powers = change.Powers{Kind: string(row[2]), Name: string(row[3]), Role: string(row[4]), What: string(row[5]), Owner: string(row[6])}
		r.oid, owner, readable, publisher = string(row[7]), string(row[8]), string(row[9]) == "true", string(row[10])
		return nil
	}, append(r.tableName(), []byte(r.opts.Publication))...)
	if err != nil {
		return fmt.Errorf("asking whose table %s is: %w", r.name(), err)
	}
	r.looked = time.Now()
	data.Told, data.Powers = false, powers.Kind != ""
	const partitioned = "p"
	if r.reader = ""; data.Powers || r.kind == partitioned { // source_types_kept asks the rest
		if r.reader, err = sql.Render("source_reader", data); err != nil {
			return err
		}
	}
	switch {
	case powers.Any():
		return &PowersError{fault.New(fault.Usage, powers.Try(), "%s", powers.Refusal(quote(r.role)))}
	case odd != "" && r.kind == partitioned:
		return fault.New(fault.Usage, "detach it, or name a table without foreign partitions", "%s has a foreign table among its partitions: %s",
			r.name(), odd)
	case owner != "" && (!readable || publisher != ""):
		return r.foreign(owner, publisher)
	case odd != "":
		return fault.New(fault.Usage, "name a table without children, or a partitioned one", "%s has child tables by inheritance: %s", r.name(), odd)
	default:
		return nil
	}
}

// foreign refuses a table that owner, another role, owns, and of which this session may read no
// column, or that is not the pipeline's, since the publisher, who owns the publication, has not
// that one's rights: to plan a read runs the owner's code before the server asks for rights, and
// that code reads what else this session may read. A table that has just taken the followed one's
// place may lack the rights.
func (r *Reader) foreign(owner, publisher string) error {
	if r.opts.Followed != 0 {
		if replaced := r.checkOID(r.oid); replaced != nil {
			return replaced
		}
	}
	if publisher != "" {
		return fault.New(fault.Usage, "look who made that table; wal2vec doctor (publication.owner) says more",
			"table %s belongs to role %s, whose rights role %s, the owner of publication %s, has not: it is not the pipeline's",
			r.name(), owner, publisher, quote(r.opts.Publication))
	}
	const refusal = "role %s may read no column of table %s, which belongs to role %s"
	if r.opts.Database == "" {
		return fault.New(fault.Usage, change.ReadApart, refusal, quote(r.role), r.name(), owner)
	}
	return fault.New(fault.Usage, "as the role that set the pipeline up: wal2vec init "+pgname.Flag("grant-read", r.role),
		refusal, quote(r.role), r.name(), owner)
}

// PowersError is a fault of kind Usage: this session may do more than it may let the owner of the
// table have.
type PowersError struct{ refusal error }

func (e *PowersError) Error() string { return e.refusal.Error() }

func (e *PowersError) Unwrap() error { return e.refusal }

// from is the table for a statement that reads it, on the open connection: of one that is not
// partitioned, its own rows. The lock on a table does not keep its owner from giving it children.
func (r *Reader) from() string {
	if r.kind == "p" {
		return r.relation()
	}
	return "ONLY " + r.relation()
}

// examine looks for functions of other roles that a read of the table calls, which may be on a
// table of this role's own. A session that may run programs on the server, reach its files or look
// into other sessions is not to be had by them: there a transaction that only reads is no help.
func (r *Reader) examine(ctx context.Context) error {
	if r.opts.TrustOwner {
		return nil
	}
	var found []change.Code
	query, err := sql.Render("source_code", struct{ Writes bool }{})
	if err != nil {
		return err
	}
	_, err = r.run(ctx, query, func(row rawRow) error {
		found = append(found, change.Code{Place: string(row[0]), Function: string(row[1]), Owner: string(row[2])})
		return nil
	}, r.tableName()...)
	if err != nil || len(found) == 0 {
		return err
	}
	var powers change.Powers
	_, err = r.run(ctx, sql.Query("source_powers"), func(row rawRow) error {
		powers = change.Powers{Kind: string(row[0]), Name: string(row[1]), Role: string(row[2])}
		return nil
	})
	switch {
	case err != nil:
		return err
	case powers.Kind != "":
		return fault.New(fault.Usage, powers.Try(), "role %s %s, and a read of %s would give that to another role: %s",
			quote(r.role), powers.Of(), r.name(), found[0])
	case r.opts.Warn != nil && !r.warned:
		r.warned = true
		r.opts.Warn(found[0])
	}
	return nil
}

// Open connects where there is no connection, so that what keeps the table from being read is known
// before it has to be.
func (r *Reader) Open(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open(ctx)
}
