// Package arch holds no program code: its tests read the repository's Go files and enforce the
// ranks of ARCHITECTURE.md, the sizes, that nothing is there for tests alone, and the habits that a
// reader cannot be asked to check.
package arch
