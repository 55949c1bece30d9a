// Package failpoint marks the places where a test kills the program or makes it fail, and lets a
// test turn its clock. It does nothing unless the program is built with the tag failpoint.
package failpoint
