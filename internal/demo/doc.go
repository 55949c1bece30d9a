// Package demo shows wal2vec at work on a throw-away PostgreSQL: it makes up products, has the
// commands set a pipeline up, fill and follow it, searches, changes rows while a watcher measures
// when each change is searchable, and compares source and sink at the end.
//
// Guarantees. It leaves nothing behind, whatever step fails or is interrupted. A step whose outcome
// is not the promised one is an error of kind Findings.
package demo
