// Package failpoint marks the places where a test kills the program. It does nothing unless the program is built with the tag
// failpoint.
package failpoint
