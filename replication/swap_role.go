package replication

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
	"github.com/wal2vec/wal2vec/sql"
)

// SwapRole is the role that the function runs as, or is to run as. The table's owner decides what
// the function runs into (CHECKs, indexes, views at the table's name), and no list of that is
// complete. So the role has no right that the owner has not, but to the publication.
type SwapRole struct {
	Name string
	// Beyond says what it could do that the table's owner cannot: a verb with its object each. None
	// is as it must be.
	Beyond []string
	// Open says how another role could act as it: a verb with its object each; the table's owner
	// itself may be open. None is as it must be. Close are the statements that end that.
	Open, Close []string
	// Given says what others gave it rights to; each could do so at any moment, and lose by it what
	// is theirs. Back are the statements that end it.
	Given, Back []string
	// Leave are the statements that end all of Beyond, where that is memberships alone; nil where
	// it is more.
	Leave []string
	// Drop are the statements that drop what it owns and wal2vec did not make, where it is a role
	// that does nothing else. A function that any client left there runs as this role for good.
	Drop []string
	// Odd says what of the functions that it owns may have been left there, and hinders nothing.
	// Ends are the statements that end it.
	Odd, Ends []string
	// Elsewhere is true where it owns something in another database.
	Elsewhere bool
	// Creates are the statements that take from it CREATE and TEMPORARY on the database, and CREATE
	// on the table's schema and on public; none where it has none of these by itself. CREATE is of
	// use at the hand-over alone.
	Creates []string

	exists, acts, ours, mayOwn, mayCreate bool
	apart                                 bool // this role has the rights of the table's owner without it
	known                                 bool // no stranger can have made it
	has                                   bool // function and publication are its own already
	owner, publisher, user                string
	database, schema                      string
}

// readers are the roles that are known to read the table and to stream nothing; empty without one.
func (s Swap) readers() []string {
	readers := slices.Concat([]string{}, s.Readers)
	if s.Table.Reader != "" {
		readers = append(readers, s.Table.Reader)
	}
	return readers
}

// Role asks what the role that the function runs as may do: s.RunAs, else the function's owner,
// else this role.
func (s Swap) Role(ctx context.Context, db Querier) (r SwapRole, err error) {
	var logsIn bool
	var members, grantors, back, groups, givers, creators, schemas, openers []string
	query, err := sql.Render("source_swap_role", nil)
	if err != nil {
		return r, err
	}
	err = db.QueryRow(ctx, query, s.Is, s.Publication, pgname.Catalogue(s.Function...), s.RunAs, swapFingerprints, s.readers()).
		Scan(&r.Name, &r.exists, &r.owner, &r.publisher, &r.user, &r.Beyond, &r.acts, &r.ours, &r.apart, &r.mayOwn,
			&r.mayCreate, &creators, &r.database, &r.schema, &logsIn,
			&members, &grantors, &r.Given, &back, &groups, &givers, &r.Drop, &r.known, &r.Elsewhere, &r.Odd, &r.Ends, &schemas, &openers)
	if err != nil {
		return r, fmt.Errorf("asking what the function that follows swapped tables runs as: %w", err)
	}
	role := pgname.Identifier(r.Name)
	r.Creates = createsSQL(r, creators, schemas, openers)
	if logsIn {
		r.Open, r.Close = append(r.Open, "may log in"), append(r.Close, "ALTER ROLE "+role+" NOLOGIN")
	}
	for i, member := range members {
		r.Open = append(r.Open, "has member "+pgname.Identifier(member))
		r.Close = append(r.Close, takeBackSQL(role, pgname.Identifier(member), grantors[i]))
	}
	for i, drop := range r.Drop {
		r.Drop[i] = pgname.Pasteable(drop)
	}
	for i, end := range r.Ends {
		r.Ends[i] = pgname.Pasteable(end)
	}
	r.Back = slices.DeleteFunc(back, func(statement string) bool { return statement == "" })
	const group = "is a member of " // as the query has it
	if !slices.ContainsFunc(r.Beyond, func(what string) bool { return !strings.HasPrefix(what, group) }) {
		for i, other := range groups {
			r.Leave = append(r.Leave, takeBackSQL(pgname.Identifier(other), role, givers[i]))
		}
	}
	return r, nil
}

// createsSQL takes CREATE from the role on the database and on these schemas; "" gave it as the
// owner, whose statements come before those that are run as another role.
func createsSQL(r SwapRole, creators, schemas, openers []string) (statements []string) {
	role := pgname.Identifier(r.Name)
	var others []string
	take := func(grantor, revoke string) {
		if grantor == "" {
			statements = append(statements, revoke)
			return
		}
		others = append(others, by(grantor, revoke)...)
	}
	for _, grantor := range creators {
		take(grantor, "REVOKE CREATE, TEMPORARY ON DATABASE "+pgname.Identifier(r.database)+" FROM "+role+" CASCADE")
	}
	for i, schema := range schemas {
		take(openers[i], "REVOKE CREATE ON SCHEMA "+pgname.Identifier(schema)+" FROM "+role+" CASCADE")
	}
	return append(statements, others...)
}

// takeBackSQL takes a membership back that a role gave; "" is the server's first role. From
// PostgreSQL 16 on a REVOKE takes what one grantor gave, and only warns where that is another one.
func takeBackSQL(role, member, grantor string) string {
	revoke := "REVOKE " + role + " FROM " + member
	if grantor != "" {
		revoke += " GRANTED BY " + pgname.Identifier(grantor) + " CASCADE"
	}
	return revoke
}

// ErrUnfitRole is the cause of a fault of kind Usage: the function would run as a role that has
// other rights than the table's owner, or that others can act as.
var ErrUnfitRole = errors.New("its rights have to be those of the table's owner, and no other role's to use")

// lean returns a fault of kind Usage where the role may not have the function, with the statements
// that make one that may. One that is to get it and is there already is not taken from the role
// that may have made it: what that role has open, or left, no REVOKE ends.
func (s Swap) lean(ctx context.Context, db Querier, r SwapRole, callers []string) error {
	if err := s.ofOneOwner(ctx, db, r); err != nil {
		return err
	}
	taken := s.RunAs != "" && r.exists && !r.known
	if !taken {
		if err := s.fit(ctx, db, r, callers); err != nil {
			return err
		}
		if s.RunAs == "" || r.acts && r.ours && r.apart && r.mayOwn && (r.mayCreate || r.has || s.Printed) {
			return nil
		}
	}
	try, err := s.roleAdvice(ctx, db, r, callers)
	switch {
	case err != nil:
		return err
	case taken:
		return fault.New(fault.Usage, try, "role %s is there, and no mark of deploy/roles.sql says that no other role made it: who made it could act as it",
			pgname.Identifier(r.Name))
	default:
		return fault.New(fault.Usage, try, "role %s cannot have function %s yet", pgname.Identifier(r.Name), pgname.Catalogue(s.Function...)+"()")
	}
}

// fit returns a fault of kind Usage whose cause is ErrUnfitRole where no stream is to call a
// function of the role. What a role that is to get it lacks is the advice's to give.
func (s Swap) fit(ctx context.Context, db Querier, r SwapRole, callers []string) error {
	var is []string
	try := ""
	switch {
	case len(r.Drop) > 0:
		is, try = r.Beyond, pgname.Script(r.Drop...)+" -- once you know that no client needs what that drops; then run this again"
	case len(r.Beyond) > 0:
		is = r.Beyond
	case len(r.Open) > 0:
		is = r.Open
		if s.RunAs != "" || r.Name != r.user {
			try = pgname.Script(r.Close...) + " -- or name a role of its own"
		}
	case !r.acts && s.RunAs == "":
		is = []string{"does not have the rights of the table's owner"}
	default:
		return nil
	}
	if try == "" {
		advice, err := s.roleAdvice(ctx, db, r, callers)
		if err != nil {
			return err
		}
		try = advice
	}
	if r.Elsewhere && len(r.Drop) == 0 {
		try += "; or, once you know that no client needs it, drop what is in the other database"
	}
	return fault.Wrap(ErrUnfitRole, fault.Usage, try, "function %s would run as role %s, which %s",
		pgname.Catalogue(s.Function...)+"()", pgname.Identifier(r.Name), strings.Join(is, ", "))
}

// mark is what deploy/roles.sql sets of the roles that it made or took, and only a superuser can.
// It is the server's default.
const mark = "lo_compat_privileges = off"

// roleAdvice are the statements that make the role, for one who may create roles, and the command
// that hands it function and publication.
func (s Swap) roleAdvice(ctx context.Context, db Querier, r SwapRole, callers []string) (string, error) {
	taken, then := "", " -- then: "
	if named := s.RunAs != ""; !named || len(r.Beyond) > 0 || r.exists && !r.known {
		free, first, err := s.freeRole(ctx, db)
		if err != nil {
			return "", err
		}
		if taken = first; named && !r.known {
			taken = r.Name
		}
		r = free
	}
	if !r.acts || !r.apart {
		var super bool
		if err := db.QueryRow(ctx, sql.Query("source_acts_as_superuser"), r.owner).Scan(&super); err != nil {
			return "", fmt.Errorf("asking whether a superuser owns the table: %w", err)
		}
		if super {
			return superusersTable, nil
		}
	}
	role := pgname.Identifier(r.Name)
	var statements []string
	if !r.exists {
		statements = append(statements, "CREATE ROLE "+role+" NOLOGIN", "ALTER ROLE "+role+" SET "+mark)
		then = " -- as a superuser (from PostgreSQL 16 on a role that is none leaves out ALTER ROLE); then: "
	}
	if !r.acts {
		statements = append(statements, "GRANT "+pgname.Identifier(r.owner)+" TO "+role)
	}
	if !r.ours {
		statements = append(statements, "GRANT "+role+" TO "+pgname.Identifier(r.user))
	}
	if !r.apart {
		statements = append(statements, "GRANT "+pgname.Identifier(r.owner)+" TO "+pgname.Identifier(r.user))
	}
	if !r.mayOwn {
		statements = append(statements, "GRANT CREATE ON DATABASE "+pgname.Identifier(r.database)+" TO "+role)
	}
	flags := []string{pgname.Flag("swap-role", r.Name)}
	for _, caller := range callers {
		flag := pgname.Flag("grant-stream", caller)
		if slices.Contains(s.Readers, caller) || caller == s.Table.Reader {
			flag = pgname.Flag("grant-read", caller)
		}
		if !slices.Contains(flags, flag) {
			flags = append(flags, flag)
		}
	}
	command := "wal2vec init " + strings.Join(flags, " ")
	if r.exists && r.acts && !r.mayCreate { // see lent
		command = "wal2vec init --print-sql " + strings.Join(flags, " ") + ", and have a superuser run what it prints: " +
			"the role may not create in schema " + pgname.Identifier(r.schema) + ", and needs that for one transaction alone"
	}
	if len(statements) == 0 {
		return command, nil
	}
	if taken != "" {
		taken = " (role " + pgname.Identifier(taken) + " is there already, and may be another client's: deploy/roles.sql says how to take it)"
	}
	return pgname.Script(statements...) + then + command + taken, nil
}

// superusersTable is what to do where a superuser owns the table. No advice gives a role the rights
// of a superuser: who may log in as a member of it would be one.
const superusersTable = "give the table to a role of its own that is no superuser, as deploy/roles.sql says; then run this again"

// freeRole returns a role that may have the function: one that is not there yet, or that no
// stranger can have made. Any other of such a name may have been made by one who waits for its
// rights. taken is the first of these.
func (s Swap) freeRole(ctx context.Context, db Querier) (r SwapRole, taken string, err error) {
	const most = 100
	for n := 1; n <= most; n++ {
		s.RunAs = swapRoleName(strings.TrimPrefix(s.Function[len(s.Function)-1], functionPrefix), n)
		r, err := s.Role(ctx, db)
		if err != nil || !r.exists || r.known && len(r.Beyond) == 0 && len(r.Open) == 0 {
			return r, taken, err
		}
		if taken == "" {
			taken = r.Name
		}
	}
	return r, "", fault.New(fault.Usage, "drop those that are of no use any more",
		"a hundred roles have such a name as %s", pgname.Identifier(taken))
}

// swapRoleName is the nth name of a pipeline's swap role. The server would cut a longer one, and so
// find another role.
func swapRoleName(pipeline string, n int) string {
	const longest = 63
	name, end := "wal2vec_swap_"+pipeline, ""
	if n > 1 {
		end = "_" + strconv.Itoa(n)
	}
	return name[:min(len(name), longest-len(end))] + end
}

// OwnedSQL are the statements that give function and publication to the role that was judged, for
// another to run: a function that a superuser made would run as that one. A publication that was
// there before is left to its owner.
func (s Swap) OwnedSQL(ctx context.Context, db Querier, publication bool) ([]string, error) {
	r, err := s.Role(ctx, db)
	if err != nil {
		return nil, err
	}
	statements := []string{fmt.Sprintf("ALTER FUNCTION %s() OWNER TO %s", pgname.Catalogue(s.Function...), pgname.Identifier(r.Name))}
	if publication {
		statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s OWNER TO %s", pgname.Identifier(s.Publication), pgname.Identifier(r.Name)))
	}
	return r.lent(statements), nil
}

// lent puts around the statements that hand the function over what the new owner needs for them
// and not beyond: CREATE on the table's schema, which may be public. Who may create there for good
// can put a function in the way of those of the server, and every role whose search path has the
// schema runs it.
func (r SwapRole) lent(statements []string) []string {
	if r.mayCreate || len(statements) == 0 {
		return statements
	}
	right, role := "CREATE ON SCHEMA "+pgname.Identifier(r.schema), pgname.Identifier(r.Name)
	return slices.Concat([]string{"GRANT " + right + " TO " + role}, statements, []string{"REVOKE " + right + " FROM " + role})
}

// ofOneOwner returns a fault of kind Usage where the publication would be handed over and publishes
// tables of owners whose rights the role is not to have: it could take them out, and their owners'
// pipelines would trust the publication no more.
func (s Swap) ofOneOwner(ctx context.Context, db Querier, r SwapRole) error {
	if s.RunAs == "" || r.publisher == r.Name {
		return nil
	}
	rows, err := db.Query(ctx, sql.Query("source_publication_owners"), s.Publication, r.Name, s.Is)
	if err != nil {
		return fmt.Errorf("asking what publication %q publishes: %w", s.Publication, err)
	}
	others, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("asking what publication %q publishes: %w", s.Publication, err)
	}
	if len(others) == 0 {
		return nil
	}
	const try = "name a publication of its own for the tables of each owner: source.publication; where the pipeline is set up already, " +
		"take the tables of the others out of this one, or leave out --swap-role: a table that is replaced is then a gap"
	return fault.New(fault.Usage, try,
		"publication %q is not handed to role %s, which has not the rights of all owners of its tables: it publishes %s, too", s.Publication,
		pgname.Identifier(r.Name), strings.Join(others[:min(len(others), mostNamed)], ", "))
}

// mostNamed is how many tables a fault names.
const mostNamed = 5

// handOverSQL gives function and publication to the role that is named.
func (s Swap) handOverSQL(r SwapRole, now present) (statements []string) {
	owner := now.owner
	if !now.exists {
		owner = r.user
	}
	if s.RunAs == "" || owner == r.Name && r.publisher == r.Name {
		return nil
	}
	role := pgname.Identifier(r.Name)
	// The function too where only the publication is of another: it may have been dropped since,
	// and made in this transaction.
	statements = append(statements, fmt.Sprintf("ALTER FUNCTION %s() OWNER TO %s", pgname.Catalogue(s.Function...), role))
	if r.publisher != r.Name {
		statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s OWNER TO %s", pgname.Identifier(s.Publication), role))
	}
	return r.lent(statements)
}
