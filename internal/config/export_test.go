package config

// Keywords returns the keywords of a connection string that .env may add by libpq's variables, by
// the names of these, and all that are known to set nothing in a session.
func Keywords() (variables map[string]string, known []string) {
	variables = map[string]string{}
	for _, p := range libpqNames {
		variables[p.key] = p.value
	}
	return variables, harmless
}

// Foreign returns the variables of wal2vec that are no settings.
func Foreign() []string { return foreign }

// Validate checks every rule, as Load does.
func (c Config) Validate() error { return c.check(nil).err() }
