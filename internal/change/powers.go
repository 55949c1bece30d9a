package change

// ReadApart says what to do where a role is not to read a table that another one owns.
const ReadApart = "set source.read_dsn to a role that only reads " +
	"(deploy/roles.sql makes wal2vec_read, wal2vec init --grant-read gives it the columns)"

// Powers are what a session has that reads the table of another role, and that this other one is
// not to have: it may put functions where a read of its table calls them, with the session's
// rights. Every name is quoted as an identifier.
type Powers struct {
	// Kind is how the session has them: "superuser"; "member" of the role Name; by "replication",
	// which it has itself or, where that is named, as a member of the role Name; or by a foreign
	// server, from where the server logs in again as the session: a "wrapper" that Role may use, a
	// "server" that Role owns or has "usage" of, one that has the "option" itself, or one that has
	// a "mapping" for Role.
	Kind, Name, Role string
	// What is the table or the schema, with its kind before it, and Owner its owner.
	What, Owner string
}

// Any reports whether there is something to refuse.
func (p Powers) Any() bool { return p.Kind != "" && p.What != "" }

// Of says what the session has, as what follows the role's name.
func (p Powers) Of() string {
	const again = "logged in by SCRAM, and the server can log in again as it: "
	switch p.Kind {
	case "superuser":
		return "is a superuser"
	case "member":
		return "has the rights of " + p.Name
	case "replication":
		if p.Name != "" {
			return "has the rights of " + p.Name + ", which may replicate"
		}
		return "has REPLICATION, by which every change of the database can be read"
	case "wrapper":
		return again + "role " + p.Role + " may use foreign-data wrapper " + p.Name
	case "server":
		return again + "role " + p.Role + " owns foreign server " + p.Name
	case "usage":
		return again + "role " + p.Role + " may use foreign server " + p.Name
	case "mapping":
		return again + "the user mapping of foreign server " + p.Name + " for " + p.Role + " passes a session's SCRAM keys on, or may"
	default:
		return again + "foreign server " + p.Name + " passes a session's SCRAM keys on, or may"
	}
}

// Refusal says why role, quoted as an identifier, does not read the table.
func (p Powers) Refusal(role string) string {
	return "role " + role + " reads no table of another role: it " + p.Of() + ", and " + p.What + " belongs to role " + p.Owner +
		", whose functions could run with these rights"
}

// Try says what to do.
func (p Powers) Try() string {
	const trust = ", or set source.trust_owner: true"
	switch {
	case p.Kind == "superuser" || p.Kind == "replication" && p.Name == "":
		return ReadApart + trust
	case p.Kind == "replication" || p.Kind == "member":
		return "take " + p.Name + " from this role, or " + ReadApart + trust
	case p.Kind == "wrapper":
		return "as a superuser: REVOKE USAGE ON FOREIGN DATA WRAPPER " + p.Name + " FROM " + p.Role + "; or log in by a certificate" + trust
	case p.Kind == "usage":
		return "as a superuser: REVOKE USAGE ON FOREIGN SERVER " + p.Name + " FROM " + p.Role + " CASCADE; or log in by a certificate" + trust
	case p.Kind == "mapping":
		return "as a superuser, once it is known that no client needs it: DROP USER MAPPING FOR " + p.Role + " SERVER " + p.Name +
			"; or log in by a certificate" + trust
	default: // to give it to another owner would leave what its owner put there, user mappings and grants
		return "as a superuser, once it is known that no client needs the server: DROP SERVER " + p.Name + " CASCADE; or log in by a certificate" + trust
	}
}
