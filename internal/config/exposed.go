package config

import "slices"

// Exposed returns the flags that hold a password or a token, in their order: every user of the
// machine can read a command line in the list of processes. A flag that names a file of a secret is
// none of them; one whose value a later flag replaces is, since it was readable all the same. What
// is no connection string counts as a secret, since it may be one in the wrong place.
//
// The environment is not looked at, PGPASSWORD included: the kernel shows that of a process to its
// own user and root alone.
func Exposed(flags []Flag) []Flag {
	c := Default()
	list := c.settings()
	return slices.DeleteFunc(slices.Clone(flags), func(f Flag) bool {
		i := slices.IndexFunc(list, func(s setting) bool { return s.path == f.Path })
		if i < 0 || !list[i].file {
			return true
		}
		if _, isDSN := list[i].value.(dsn); isDSN {
			return !DSN(f.Value).HasSecret()
		}
		return f.Value == ""
	})
}

// HasSecret reports whether the connection string holds a password in any of its forms: behind the
// user of a URL, as a parameter of its query, or as a keyword, those of keys and of OAuth included.
func (d DSN) HasSecret() bool {
	if _, rest, isURL := cutScheme(string(d)); isURL {
		return maskURL(rest, secretKey) != rest
	}
	pairs, ok := parsePairs(string(d))
	return d != "" && (!ok || slices.ContainsFunc(pairs, func(p pair) bool { return secretKey(p.key) && p.value != "" }))
}
