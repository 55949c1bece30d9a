package change

// FullBackfill says whether the sink knows every row of the source, or only those that changed
// since the stream began.
type FullBackfill string

// The states: a backfill or a refresh has read every row; a refresh that is to read them all again
// is open; none has, so that rows which did not change since init are missing.
const (
	BackfillDone       FullBackfill = "done"
	BackfillRefreshing FullBackfill = "refreshing"
	BackfillNone       FullBackfill = "none"
)
