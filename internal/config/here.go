package config

import (
	"path/filepath"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// A relative name is another file in each folder that a command runs in. Who types one beside a
// command means the file that is there; the environment, or a settings file of another folder, says
// it in folders that were fetched, too. So a settings file that the environment names so, and a
// file of a secret that any of both does, is led by the folder's author as .env is.

// dotEnvName is the author of what .env leads, in messages.
const dotEnvName = ".env"

// here reports whether a setting's value is the content of a file of its own, by a relative name
// that stands where no person meant this folder.
func (l *loader) here(path string) bool {
	file, o := l.mounted[path], l.config.Origin(path)
	typed := o.Kind == FromFlag || o.Kind == FromFile && !filepath.IsAbs(o.File) // --config, relative too; another such settings file is led itself
	return file != "" && !filepath.IsAbs(file) && !typed
}

// author is who leads a setting, in messages: .env, or the file that a relative name stands for.
func (l *loader) author(path string) string {
	switch o := l.config.Origin(path); {
	case l.relative && o.File == l.dotEnvConfig:
		return o.File
	case o.File != "" && (o.File == l.dotEnv || o.File == l.dotEnvConfig):
		return dotEnvName
	case l.here(path):
		return l.mounted[path]
	default:
		return dotEnvName
	}
}

// inFull says what to do where a relative name leads what it must not, or nothing where it is .env
// that does.
func (l *loader) inFull(path string) string {
	author := l.author(path)
	if author == dotEnvName {
		return ""
	}
	o := l.config.Origin(path)
	where := "write its full path into " + pgname.Shell(o.File)
	switch {
	case author == l.dotEnvConfig:
		where = "export " + envPrefix + "CONFIG=" + pgname.ShellHere(author)
	case o.Kind == FromEnvironment:
		where = "export " + o.Name + "=" + pgname.ShellHere(author)
	}
	return "; a relative name is another file in each folder: if " + pgname.Shell(author) + " is yours, " + where
}

// theirs is where the author of a setting may say it, in messages.
func (l *loader) theirs(path string) string {
	if author := l.author(path); author != dotEnvName {
		return author
	}
	return ".env or a file that .env names"
}

// ledFault notes what may not be said by who leads the setting.
func (l *loader) ledFault(path, ruleText string) {
	o := Origin{Kind: FromEnvironment, File: l.dotEnv}
	if l.author(path) != dotEnvName {
		o = l.config.Origin(path)
	}
	l.fault(path, o, ruleText+l.inFull(path))
}
