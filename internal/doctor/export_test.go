package doctor

import (
	"context"

	"github.com/wal2vec/wal2vec/replication"
)

// JudgeVersions is what the doctor says of servers of versions that tests have none of.
func JudgeVersions(opts Options, version int) Report {
	e := newExamination(opts)
	e.source.info = replication.ServerInfo{Version: version, WALLevel: logical, EffectiveWALLevel: logical}
	e.judgeServer()
	e.judgeSinkVersion(version)
	return e.report()
}

// JudgeExtension is what the doctor says of a sink with other versions of pgvector than that of the
// tests, or without it.
func JudgeExtension(opts Options, installed, available string) Report {
	e := newExamination(opts)
	e.judgeExtension(nil, installed, available)
	return e.report()
}

// ExamineSlotAfter looks at the slot after something has happened since the pipeline was read.
func ExamineSlotAfter(ctx context.Context, opts Options, happens func()) Report {
	e := newExamination(opts)
	defer e.close(ctx)
	e.examineSource(ctx)
	e.examineSink(ctx)
	happens()
	e.examineSlot(ctx)
	return e.report()
}

// AdviceOf tells a statement, a command and words apart.
func AdviceOf(try string) (place Place, text string) {
	a := adviceOf(try, Source)
	return a.place, a.text
}

// LinesFor are the lines of pg_hba.conf for a role, a database, a server's version, and where the
// session comes from; or what stands in their way.
func LinesFor(role, database string, version int, address string, encrypted bool) []string {
	fix := linesFor(role, database, version, door{address: address, encrypted: encrypted})
	if fix.lines == nil {
		return []string{fix.text}
	}
	return fix.lines
}
