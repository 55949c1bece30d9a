package doctor

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
	queries "github.com/wal2vec/wal2vec/sql"
)

// ownRole is the advice against a role that may do more than any stream needs.
const ownRole = "give the stream a role of its own (deploy/roles.sql), and run wal2vec init --grant-stream ROLE as the owner"

// tryReplication opens a replication connection, where providers have ways of their own to give the
// right.
func (e *examination) tryReplication(ctx context.Context) {
	opening, cancel := context.WithTimeout(ctx, e.limits.Connect)
	defer cancel()
	e.source.access = replication.CheckAccess(opening, e.opts.Config.Source.DSN.Reveal())
	e.source.replicates = fault.SQLSTATE(e.source.access) != "42501"
}

// examineRole looks at what the role may do.
func (e *examination) examineRole(ctx context.Context) {
	f := e.source
	if f.conn == nil {
		return
	}
	role, err := pgname.Identifier(f.info.User), f.access
	switch {
	case e.searches():
		e.warn("role.replication", asStreamer, "%s", e.isFor())
	case fault.SQLSTATE(err) == "42501" && f.provider == "rds_superuser":
		e.fail("role.replication", e.toStream("GRANT rds_replication TO "+role+";"), "%s", config.Printable(err))
	case fault.SQLSTATE(err) == "42501":
		e.fail("role.replication", e.toStream(replication.GrantReplicationSQL(f.info.User)), "%s", config.Printable(err))
	case fault.SQLSTATE(err) == "53300": // all walsenders are taken: source.senders says so
		e.skip("role.replication", "%s", config.Printable(err))
	default:
		e.judge("role.replication", err, Source, "role %s opens replication connections", f.info.User)
	}
	switch {
	case f.monitor:
		e.ok("role.monitor", "role %s sees the sessions of others", f.info.User)
	case e.searches():
		e.ok("role.monitor", "%s: it sees its own sessions only, and has no need of others", e.isFor())
	default:
		e.warn("role.monitor", asMonitor, "role %s sees its own sessions only", f.info.User)
	}
	e.examinePower(ctx)
}

// examinePower looks at what the role could do on the server beyond this one table.
func (e *examination) examinePower(ctx context.Context) {
	const check = "role.power"
	table := e.opts.Config.Source.Table
	role := pgname.Identifier(e.source.info.User)
	var createDB, createRole, bypass, secured, replicates bool
	var memberships, givers, makers, grantors []string
	var door door
	err := e.source.conn.QueryRow(ctx, queries.Query("doctor_role"), table.Schema, table.Name).
		Scan(&createDB, &createRole, &bypass, &replicates, &secured, &memberships, &givers, &door.other, &makers, &grantors, &door.address, &door.encrypted)
	if !e.could(err, check, "role.cluster") {
		return
	}
	e.examineCluster(ctx, door)
	if e.source.superuser {
		e.warn(check, onServer(ownRole), "role %s is a superuser: any client with its password has the whole server", role)
		return
	}
	quiet := true
	attribute := func(has bool, name, means string) {
		if has {
			quiet = false
			e.warn(check, inSource("ALTER ROLE "+role+" NO"+name+";"), "role %s has %s: it %s", role, name, means)
		}
	}
	attribute(createDB, "CREATEDB", "may make and drop databases")
	attribute(createRole, "CREATEROLE", "may make roles, and give itself their rights")
	if bypass {
		quiet = false
		e.judgeBypass(ctx, check, secured)
	}
	for i, group := range memberships {
		quiet = false
		revoke := revokeMembership(group, e.source.info.User, givers[i])
		e.warn(check, inSource(pgname.Script(revoke)), "role %s has the rights of %s, which reach beyond this table", role, pgname.Identifier(group))
	}
	for i, maker := range makers {
		quiet = false
		fix := revokeMembership(e.source.info.User, maker, grantors[i])
		e.warn(check, inSource(fix+" CASCADE;"), "role %s may make itself a member of role %s, and act as it", pgname.Identifier(maker), role)
	}
	if quiet {
		but := ""
		if replicates {
			but = ", but REPLICATION"
		}
		e.ok(check, "role %s has no attribute and no membership that reaches beyond this table%s", role, but)
	}
}

// revokeMembership takes a membership from a role: without its grantor's name, one that another
// role granted would stay, with a warning.
func revokeMembership(group, member, grantor string) string {
	revoke := "REVOKE " + pgname.Identifier(group) + " FROM " + pgname.Identifier(member)
	if grantor != "" {
		revoke += " GRANTED BY " + pgname.Identifier(grantor)
	}
	return revoke
}

// door is where the server lets the role in.
type door struct {
	other     string // another database that the role has the right to enter; empty without one
	address   string // of the session, as the server sees it; empty for a local socket
	encrypted bool
}

// linesFor is the advice to write lines into pg_hba.conf that keep a role to one database and from
// physical replication connections.
func linesFor(role, database string, version int, d door) advice {
	const perMajor = 10000
	name, named := pgname.HBA(role, version/perMajor)
	its, ok := pgname.HBA(database, version/perMajor)
	if !named || !ok {
		return onServer("give role and database names without line ends and hidden characters: before version 16 no line of pg_hba.conf can hold these")
	}
	first := "local " + its + " " + name + " scram-sha-256"
	if d.address != "" {
		network := "/32 "
		if strings.Contains(d.address, ":") {
			network = "/128 "
		}
		first = map[bool]string{true: "hostssl ", false: "host "}[d.encrypted] + its + " " + name + " " + d.address + network + "scram-sha-256"
	}
	fix := onServer("in pg_hba.conf, above all other lines and in this order, then reload; of the first, address and method are the stream's " +
		"(docs/operations.md, Roles)")
	fix.lines = []string{
		first, "host all " + name + " all reject", "host replication " + name + " all reject", "local all " + name + " reject",
		"local replication " + name + " reject",
	}
	return fix
}

// judgeBypass says how the role does without BYPASSRLS; secured is true where the table has row
// security.
func (e *examination) judgeBypass(ctx context.Context, check string, secured bool) {
	table, role := e.opts.Config.Source.Table, pgname.Identifier(e.source.info.User)
	fix := inSource("ALTER ROLE " + role + " NOBYPASSRLS;")
	means := "this table has none"
	if secured {
		policies, err := replication.ReadPolicies(ctx, e.source.conn, table.Schema, table.Name)
		if !e.could(err, check) {
			return
		}
		oid, err := replication.TableOID(ctx, e.source.conn, table.Schema, table.Name)
		if !e.could(err, check) {
			return
		}
		means = "of this table a policy that opens every row is enough"
		switch {
		case policies.Hinders != "":
			fix = inSource("ALTER ROLE " + role + " NOBYPASSRLS; -- but first name in policy " + pgname.Identifier(policies.Hinders) +
				" the roles that it is for, this one not among them")
		case !policies.Opened:
			opens := replication.OpenRowsSQL(oid, table.Schema, table.Name, e.source.info.User)
			fix = inSource(pgname.Script(append(opens, "ALTER ROLE "+role+" NOBYPASSRLS")...))
		}
	}
	e.warn(check, fix, "role %s has BYPASSRLS: it sees the rows that row security hides, in every table that it may read; %s", role, means)
}

// examineCluster tries the ways to other data of the server that pg_hba.conf can close.
func (e *examination) examineCluster(ctx context.Context, d door) {
	const check = "role.cluster"
	role, dsn := pgname.Identifier(e.source.info.User), e.opts.Config.Source.DSN.Reveal()
	opening, cancel := context.WithTimeout(ctx, e.limits.Connect)
	defer cancel()
	physical, err := replication.MayReplicatePhysically(opening, dsn)
	if !e.could(err, check) {
		return
	}
	elsewhere := false
	if d.other != "" {
		if elsewhere, err = replication.MayEnter(opening, dsn, d.other); !e.could(err, check) {
			return
		}
	}
	var may []string
	if physical {
		may = append(may, "may open physical replication connections (pg_basebackup or a standby gets every database of the server)")
	}
	if elsewhere {
		may = append(may, "may enter other databases of the server, such as "+pgname.Identifier(d.other))
	}
	switch {
	case len(may) == 0:
		e.ok(check, "role %s is kept to its database, and from physical replication connections", role)
	case e.source.superuser: // people log in by it too: no line is for it
		e.warn(check, onServer(ownRole), "role %s is a superuser, and %s", role, strings.Join(may, ", and "))
	default:
		e.warn(check, linesFor(e.source.info.User, e.source.info.Database, e.source.info.Version, d), "role %s %s", role, strings.Join(may, ", and "))
	}
}

// excess is a row of doctor_rights: a right beyond those to columns.
type excess struct {
	kind       int      // table, schema, database from 1
	privileges []string // none of an owner
	grantee    string   // empty for everybody
	grantor    string   // empty for the owner, as whom a superuser revokes
	columns    []string // that the grantor gave it for; none of the whole table
	oid        uint32   // the table's
}

// tablePrivileges are those that a table has, from PostgreSQL 17 on the last one too.
var tablePrivileges = []string{"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"}

// examineRights looks at what the role may do with the table, its schema and its database besides
// reading the columns that it needs.
func (e *examination) examineRights(ctx context.Context, options replication.InspectOptions, oid uint32) {
	const check = "role.source"
	role := pgname.Identifier(e.source.info.User)
	if e.source.superuser {
		e.warn(check, onServer(ownRole), "role %s is a superuser, and may do everything with %s", role, e.opts.Config.Source.Table)
		return
	}
	rows, err := e.source.conn.Query(ctx, queries.Query("doctor_rights"), oid)
	if !e.could(err, check) {
		return
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (x excess, err error) {
		return x, row.Scan(&x.kind, &x.privileges, &x.grantee, &x.grantor, &x.columns)
	})
	owns := slices.ContainsFunc(all, func(x excess) bool { return x.kind == 1 && len(x.privileges) == 0 })
	found := false
	owner := e.insteadOfOwner(ctx)
	for _, x := range all {
		x.oid = oid
		switch {
		case e.administers(owns) && len(x.privileges) > 0: // what it has for its own work is not to be taken from it
			continue
		case e.searches() && x.kind == 1: // search shows and filters by any column that it may read
			x.privileges = slices.DeleteFunc(x.privileges, func(p string) bool { return p == "SELECT" })
			if len(x.privileges) == 0 {
				continue
			}
		}
		found = true
		e.judgeExcess(check, x, options, owner)
	}
	if err == nil && !e.administers(owns) {
		var defaults bool
		defaults, err = e.judgeDefaults(ctx, check, oid)
		found = found || defaults
	}
	if err == nil && (e.administers(owns) || options.Schema != "public") { // else it was told as the table's schema
		var public []surplus
		public, err = e.readPublic(ctx, e.source.conn, inSource)
		if err == nil {
			var paths []surplus
			paths, err = e.readPaths(ctx, e.source.conn)
			public = append(public, paths...)
		}
		for _, x := range public {
			e.warn(check, x.fix, "%s", x.text)
		}
		found = found || len(public) > 0 && !e.administers(owns)
	}
	if err == nil && !found && e.administers(owns) {
		found = true
		e.warn(check, owner, "role %s sets pipelines up: it is for init, generation and teardown, and no stream's role", role)
	}
	if e.could(err, check) && !found {
		e.ok(check, "role %s may do nothing with table, schema and database but read columns", role)
	}
}

// insteadOfOwner says which role is to stream in place of one that sets pipelines up: one that has
// the right already, where init gave it to any.
func (e *examination) insteadOfOwner(ctx context.Context) advice {
	if e.sink.kind != adminKind {
		return onServer(ownRole)
	}
	roles, err := e.sink.store.Roles(ctx)
	if err != nil || !slices.ContainsFunc(roles, func(g sink.Grant) bool { return g.Access == sink.Write }) {
		return onServer(ownRole)
	}
	return asStreamer
}

func (e *examination) judgeExcess(check string, x excess, options replication.InspectOptions, owner advice) {
	role, table := pgname.Identifier(e.source.info.User), pgname.Qualified(options.Schema, options.Table)
	columns := pgname.List(options.ReadColumns())
	kind := map[int]string{1: "TABLE ", 2: "SCHEMA ", 3: "DATABASE "}[x.kind]
	name := map[int]string{1: table, 2: pgname.Identifier(options.Schema), 3: pgname.Identifier(e.source.info.Database)}[x.kind]
	thing := strings.ToLower(kind) + name
	to, whose, again := pgname.Identifier(x.grantee), "", ""
	switch {
	case len(x.privileges) == 0:
		e.warn(check, owner, "role %s has the rights of %s, who owns %s: it may alter and drop it", role, to, thing)
		return
	case x.grantee == "":
		to, whose = "PUBLIC", ", as everybody,"
	case to != role:
		whose = ", as a member of " + to + ","
	}
	privileges := "CREATE"
	if x.kind == 1 { // what is revoked of a table goes from each of its columns
		known := slices.DeleteFunc(slices.Clone(tablePrivileges), func(p string) bool { return !slices.Contains(x.privileges, p) })
		privileges = strings.Join(known, ", ")
		if len(x.columns) > 0 {
			privileges += " (" + pgname.List(x.columns) + ")"
		}
		if slices.Contains(known, "SELECT") && !e.searches() {
			again = "GRANT SELECT (" + columns + ") ON TABLE " + table + " TO " + role
		}
		if slices.Contains(known, "UPDATE") {
			whose += " (UPDATE for doctor --probe, perhaps)"
		}
	}
	statements := []string{"REVOKE " + privileges + " ON " + kind + name + " FROM " + to}
	but := ""
	if to == role { // what it has passed on goes, too, or it could keep others from taking it
		statements[0] += " CASCADE"
	} else {
		but = " -- other roles that have it by " + to + " lose it, too: give it to those that need it"
	}
	if x.grantor != "" { // a REVOKE takes what its own role gave, and says nothing where that is nothing; GRANTED BY may name no other
		statements = []string{"SET LOCAL ROLE " + pgname.Identifier(x.grantor), statements[0]}
	}
	if again != "" { // else nothing is given
		statements = slices.Insert(statements, 0, pgname.Still(x.oid, options.Schema, options.Table))
	}
	if again != "" && x.grantor != "" {
		statements = append(statements, "SET LOCAL ROLE NONE")
	}
	if again != "" {
		statements = append(statements, again)
	}
	e.warn(check, inSource(pgname.Script(statements...)+but), "role %s%s may %s on %s; a stream reads the columns %s, and does nothing else",
		role, whose, strings.Join(x.privileges, ", "), thing, columns)
}
