package pgoutput

const boolOID = 16

// keyTypes are the object ids of the types that a key column may have, by format_type's name
// without a modifier. They are fixed in Postgres' catalogue (pg_type.dat).
var keyTypes = map[string]uint32{
	"smallint": 21, "integer": 23, "bigint": 20, "text": 25, "character varying": 1043, "uuid": 2950,
}

// baseTypes are the types that something depends on, by pg_type's name for them.
var baseTypes = map[string]uint32{"bool": boolOID, "int2": 21, "int4": 23, "int8": 20, "text": 25, "varchar": 1043, "uuid": 2950}

// bases says which type of baseTypes a domain is over, through any number of domains. A relation
// message names the domain alone. The messages before it name the type below, as of the change and
// not as of now: a domain may have been dropped since.
type bases map[uint32]uint32

// of returns the object id of the type below a domain, and of every other type its own.
func (b bases) of(oid uint32) uint32 {
	if base, domain := b[oid]; domain {
		return base
	}
	return oid
}

// add reads a TYPE message. The schema is empty for Postgres' own: a type called bool elsewhere is
// another one.
func (b *bases) add(r *reader) error {
	oid, schema, name := r.uint32(), r.text(), r.text()
	if err := r.check("TYPE"); err != nil {
		return err
	}
	base, needed := baseTypes[string(name)]
	if !needed || len(schema) != 0 || len(*b) >= mostColumns { // a server sends no more before a relation
		return nil
	}
	if *b == nil {
		*b = make(bases)
	}
	(*b)[oid] = base
	return nil
}
