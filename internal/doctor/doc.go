// Package doctor looks at everything that a pipeline relies on and says of each whether it is so,
// and how to repair it where it is not. It only reads, and waits for nothing longer than its
// time-outs. Rules that other packages have it asks of them; what is repaired it leaves to people.
package doctor
