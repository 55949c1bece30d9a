// Package backfill runs the jobs that read the source's table: a backfill, the refresh after a
// resync, the build of a generation, the retry of dead letters, the rewriting of an audit's
// findings, and a dry run that only counts. It also builds the indexes that vectors need.
//
// Guarantees. No job begins in a gap: without a slot that can go on no watermark moves, and a sweep
// would prove nothing. A job reads the columns that its generations' templates name; where the
// generations change under it, it begins again for those that there are then. An interrupted job is
// gone on with by the next one of the same parameters.
//
// It prints nothing: an Observer is told how a job goes. It reads no log, and follows no table.
package backfill
