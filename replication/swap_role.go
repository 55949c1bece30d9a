package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// SwapRole is the role that the function runs as, or is to run as. The table's owner decides what the function runs into (CHECKs, indexes, views at
// the table's name), and no list of that is complete. So the role has no right that the owner has not, but to the publication.
type SwapRole struct {
	Name string
	// Beyond says what it could do that the table's owner cannot: a verb with its object each. None is as it must be.
	Beyond []string
	// Open says how another role could act as it: a verb with its object each; the table's owner itself may be open. None is as it must be. Close are
	// the statements that end that.
	Open, Close []string
	// Given says what others gave it rights to; each could do so at any moment, and lose by it what is theirs. Back are the statements that end it.
	Given, Back []string
	// Leave are the statements that end all of Beyond, where that is memberships alone; nil where it is more.
	Leave []string
	// Creates is true where it has CREATE on the database by itself, which is of use at the hand-over alone.
	Creates bool

	exists, acts, ours, mayOwn, mayCreate bool
	owner, publisher, user                string
	database, schema                      string
}

// Role asks what the role that the function runs as may do: s.RunAs, else the function's owner, else this role.
func (s Swap) Role(ctx context.Context, db Querier) (r SwapRole, err error) {
	var logsIn bool
	var members, grantors, back, groups []string
	err = db.QueryRow(ctx, sql.Query("source_swap_role"), s.Is, s.Publication, s.Function.Sanitize(), s.RunAs).
		Scan(&r.Name, &r.exists, &r.owner, &r.publisher, &r.user, &r.Beyond, &r.acts, &r.ours, &r.mayOwn, &r.mayCreate, &r.Creates, &r.database, &r.schema,
			&logsIn, &members, &grantors, &r.Given, &back, &groups)
	if err != nil {
		return r, fmt.Errorf("asking what the function that follows swapped tables runs as: %w", err)
	}
	role := pgname.Identifier(r.Name)
	if logsIn {
		r.Open, r.Close = append(r.Open, "may log in"), append(r.Close, "ALTER ROLE "+role+" NOLOGIN")
	}
	for i, member := range members {
		r.Open = append(r.Open, "has member "+pgname.Identifier(member))
		revoke := "REVOKE " + role + " FROM " + pgname.Identifier(member)
		if grantors[i] != "" {
			revoke += " GRANTED BY " + pgname.Identifier(grantors[i]) + " CASCADE"
		}
		r.Close = append(r.Close, revoke)
	}
	r.Back = slices.DeleteFunc(back, func(statement string) bool { return statement == "" })
	const group = "is a member of " // as the query has it
	if !slices.ContainsFunc(r.Beyond, func(what string) bool { return !strings.HasPrefix(what, group) }) {
		for _, other := range groups {
			r.Leave = append(r.Leave, "REVOKE "+pgname.Identifier(other)+" FROM "+role)
		}
	}
	return r, nil
}

// ErrUnfitRole is the cause of a fault of kind Usage: the function would run as a role that has more rights than the table's owner.
var ErrUnfitRole = errors.New("the owner of the table could make use of that")

// lean returns a fault of kind Usage where the role may not have the function, with the statements that make one that may.
func (s Swap) lean(r SwapRole, callers []string) error {
	function := s.Function.Sanitize() + "()"
	if len(r.Beyond) > 0 {
		return fault.Wrap(ErrUnfitRole, fault.Usage, s.roleAdvice(r, callers), "function %s would run as role %s, which %s",
			function, pgname.Identifier(r.Name), strings.Join(r.Beyond, ", "))
	}
	if s.RunAs != "" && len(r.Open) > 0 {
		return fault.New(fault.Usage, strings.Join(r.Close, "; ")+"; -- or name a role of its own",
			"role %s is to run function %s and %s: another role could act as it",
			pgname.Identifier(r.Name), function, strings.Join(r.Open, ", "))
	}
	if s.RunAs == "" || r.exists && r.acts && r.ours && r.mayOwn && r.mayCreate {
		return nil
	}
	return fault.New(fault.Usage, s.roleAdvice(r, callers), "role %s cannot have function %s yet", pgname.Identifier(r.Name), function)
}

// roleAdvice are the statements that make the role, for one who may create roles, and the command that hands it function and publication.
func (s Swap) roleAdvice(r SwapRole, callers []string) string {
	name := s.RunAs
	if name == "" || len(r.Beyond) > 0 {
		name = "wal2vec_swap_" + strings.TrimPrefix(s.Function[len(s.Function)-1], functionPrefix)
		r = SwapRole{owner: r.owner, user: r.user, database: r.database, schema: r.schema}
	}
	role := pgname.Identifier(name)
	var statements []string
	if !r.exists {
		statements = append(statements, "CREATE ROLE "+role+" NOLOGIN")
	}
	if !r.acts {
		statements = append(statements, "GRANT "+pgname.Identifier(r.owner)+" TO "+role)
	}
	if !r.ours {
		statements = append(statements, "GRANT "+role+" TO "+pgname.Identifier(r.user))
	}
	if !r.mayOwn {
		statements = append(statements, "GRANT CREATE ON DATABASE "+pgname.Identifier(r.database)+" TO "+role)
	}
	if r.exists && r.acts && !r.mayCreate {
		statements = append(statements, "GRANT CREATE ON SCHEMA "+pgname.Identifier(r.schema)+" TO "+pgname.Identifier(r.owner))
	}
	flags := []string{pgname.Flag("swap-role", name)}
	for _, caller := range callers {
		flags = append(flags, pgname.Flag("grant-stream", caller))
	}
	return strings.Join(statements, "; ") + "; -- then: wal2vec init " + strings.Join(flags, " ")
}

// OwnedSQL are the statements that give function and publication to the role that was judged, for another to run: a function that a superuser made
// would run as that one. A publication that was there before is left to its owner.
func (s Swap) OwnedSQL(ctx context.Context, db Querier, publication bool) ([]string, error) {
	r, err := s.Role(ctx, db)
	if err != nil {
		return nil, err
	}
	statements := []string{fmt.Sprintf("ALTER FUNCTION %s() OWNER TO %s", s.Function.Sanitize(), pgname.Identifier(r.Name))}
	if publication {
		statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s OWNER TO %s", pgname.Identifier(s.Publication), pgname.Identifier(r.Name)))
	}
	return statements, nil
}

// handOverSQL gives function and publication to the role that is named, or that has the function and is no owner of a table.
func (s Swap) handOverSQL(r SwapRole, now present) (statements []string) {
	owner := now.owner
	if !now.exists {
		owner = r.user
	}
	if s.RunAs == "" && (r.Name == r.user || r.Name == r.owner) {
		return nil
	}
	role := pgname.Identifier(r.Name)
	if owner == r.Name && r.publisher == r.Name {
		return nil
	}
	// The function too where only the publication is of another: it may have been dropped since, and made in this transaction.
	statements = append(statements, fmt.Sprintf("ALTER FUNCTION %s() OWNER TO %s", s.Function.Sanitize(), role))
	if r.publisher != r.Name {
		statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s OWNER TO %s", pgname.Identifier(s.Publication), role))
	}
	return statements
}
