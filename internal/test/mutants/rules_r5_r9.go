package main

var r5 = rule{
	name: "R5",
	says: "a new slot is handed out when current snapshots see every transaction that its snapshot sees",
	mutants: []mutant{
		{
			name:  "a new slot is handed out at once",
			fails: []string{"replication TestNewSlotWaitsUntilWhatItSeesIsVisible"},
			edits: []edit{{"replication/slot.go", "	if err := c.settle(ctx, created.SnapshotName); err != nil {", "	if err := ctx.Err(); err != nil {"}},
		},
		{
			name:  "a new slot does not wait for transactions that are open now",
			fails: []string{"replication TestSnapshotDominates"},
			edits: []edit{{"replication/snapshot.go", "	if slices.ContainsFunc(s.xip, other.seesFull) {", "	if len(s.xip) < 0 {"}},
		},
		{
			name:  "a new slot does not wait for transactions that are too new for current snapshots",
			fails: []string{"replication TestSnapshotDominates", "replication TestNewSlotWaitsUntilWhatItSeesIsVisible"},
			edits: []edit{{"replication/snapshot.go", "	for xid := s.xmax; xid < other.xmax; xid++ {", "	for xid := other.xmax; xid < other.xmax; xid++ {"}},
		},
	},
}

var r6 = rule{
	name: "R6",
	says: "SELECT, H and ping use one connection, which must still stand; without a stream H must be flushed; a changed epoch ends a wait",
	mutants: []mutant{
		{
			name: "a chunk whose connection broke is merged",
			fails: []string{
				"internal/pipeline TestWhatWasNotCommittedIsReadAgain/source_connection",
				"internal/pipeline TestWhatWasNotCommittedIsReadAgain/ping",
			},
			edits: []edit{{chunksFile, "	if err := b.ports.Reader.Alive(ctx, c.read.Session); err != nil {", "	if err := ctx.Err(); err != nil {"}},
		},
		{
			name:  "any connection counts as the one that read the chunk",
			fails: []string{"replication/rows TestAliveKnowsTheConnectionThatReadTheChunk"},
			edits: []edit{{"replication/rows/session.go", "r.conn.IsClosed() || r.session != session {", "r.conn.IsClosed() {"}},
		},
		{
			name:  "a connection is not pinged",
			fails: []string{"replication/rows TestAliveKnowsTheConnectionThatReadTheChunk"},
			edits: []edit{{
				"replication/rows/session.go",
				`	_, err := r.run(ctx, "SELECT", nil)
	return err`,
				"	return nil",
			}},
		},
		{
			name:  "without a stream a chunk does not wait for the flush",
			fails: []string{"internal/pipeline TestWithoutAStreamAChunkWaitsUntilTheSourceHasFlushed"},
			edits: []edit{{chunksFile, "			if err := b.ports.Reader.WaitFlushed(ctx, c.read.High); err != nil {", "			if err := ctx.Err(); err != nil {"}},
		},
		{
			name:  "the wait for the flush does not wait",
			fails: []string{"replication/rows TestHighCoversWhatTheRowsShow", "replication/rows TestDurableRowsOutliveACrash"},
			edits: []edit{{durableFile, "		if err != nil || flushed >= lsn {", "		if err != nil || flushed >= 0 {"}},
		},
		{
			name:  "a chunk compares positions of two epochs",
			fails: []string{"internal/pipeline TestAChangedEpochEndsTheWaitOfAChunk"},
			edits: []edit{{chunksFile, "		if v.Epoch != c.as.Epoch {", "		if v.Epoch < 0 {"}},
		},
		{
			name:  "a wait compares positions of two epochs",
			fails: []string{"sink TestAChangedEpochEndsAWait"},
			edits: []edit{{"sink/wait.go", "		if v.Epoch != begun.Epoch {", "		if v.Epoch < 0 {"}},
		},
	},
}

var r8 = rule{
	name: "R8",
	says: "the ledger's text decides which vector is written, whether or not the guard accepted; one that is lacking is asked for",
	mutants: []mutant{
		{
			name:  "a vector is written only when the ledger took the row",
			fails: []string{"sink TestAVectorIsWrittenForTheLedgersTextWhetherOrNotTheGuardAccepts"},
			edits: []edit{{
				vectorsFile,
				"AND NOT l.deleted AND l.{{.Hash}} = n.text_hash",
				"AND NOT l.deleted AND l.{{.Hash}} = n.text_hash AND l.xmin = pg_current_xact_id()::xid",
			}},
		},
		{
			name:  "a vector is written whatever the ledger's text is",
			fails: []string{"sink TestAVectorIsWrittenForTheLedgersTextWhetherOrNotTheGuardAccepts"},
			edits: []edit{{vectorsFile, " AND l.{{.Hash}} = n.text_hash", ""}},
		},
		{
			name:  "a vector is written for a dead key",
			fails: []string{"sink TestADeadKeyGetsNoVector"},
			edits: []edit{{vectorsFile, " AND NOT l.deleted AND l.{{.Hash}} = n.text_hash", " AND (l.deleted OR l.{{.Hash}} = n.text_hash)"}},
		},
		{
			name:  "the stream does not ask for a vector that is lacking",
			fails: []string{"sink TestADeleteRemovesTheVector", "sink TestTruncateDeletesWhatIsOlderBeforeTheBatch"},
			edits: []edit{{commitSink, "		if err := out.check(); err != nil {", "		if err := ctx.Err(); err != nil {"}},
		},
		{
			name:  "a chunk does not ask for a vector that is lacking",
			fails: []string{"sink TestAChunkThatCountsOnAVectorThatIsGoneIsReadAgain"},
			edits: []edit{{chunkFile, "		if err := out.check(); err != nil {", "		if err := ctx.Err(); err != nil {"}},
		},
		{
			name:  "a backfill gives up when a vector is gone",
			fails: []string{"internal/pipeline TestWhatWasNotCommittedIsReadAgain/needs"},
			edits: []edit{{chunksFile, "	case errors.As(err, &needs):", "	case errors.As(err, &needs) && err == nil:"}},
		},
		{
			name:  "the stream gives up when a vector is gone",
			fails: []string{"internal/pipeline TestAVectorThatIsGoneAtTheCommitIsEncodedThen"},
			edits: []edit{{commitFile, "		if err == nil || !errors.As(err, &needs) {", "		if err == nil || !errors.As(err, &needs) || err != nil {"}},
		},
		{
			name:  "a tombstone keeps the text's hash",
			fails: []string{"sink TestTheSweepDeletesWhatNoChunkSaw"},
			edits: []edit{{"sql/queries/sink_sweep.sql", "{{range .Hashes}}, {{.}} = NULL{{end}}", ""}},
		},
		{
			name:  "a tombstone keeps the text's hash, and the table lets it",
			fails: []string{"sink TestATombstoneHasNoHash"},
			edits: []edit{
				{"sql/queries/sink_sweep.sql", "{{range .Hashes}}, {{.}} = NULL{{end}}", ""},
				{"sql/queries/sink_ledger_create.sql", " CHECK (deleted = (text_hash IS NULL))", ""},
			},
		},
	},
}

var r9 = rule{
	name: "R9",
	says: "every writer writes all generations that are not retired; a new epoch closes the jobs of older ones",
	mutants: []mutant{
		{
			name:  "one generation is written",
			fails: []string{"sink TestEveryGenerationIsWritten"},
			edits: []edit{{
				writeFile,
				`	for i := range l.generations {
		g, u := &l.generations[i], &w.upserts[i]
		if w.deletes`,
				`	for i := range l.generations[:1] {
		g, u := &l.generations[i], &w.upserts[i]
		if w.deletes`,
			}},
		},
		{
			name:  "the texts of one generation are looked up",
			fails: []string{"sink TestEveryGenerationIsWritten"},
			edits: []edit{{
				writeFile,
				"			if g.template != template {",
				"			if g.template != template || i > 0 {",
			}},
		},
		{
			name:  "a sweep leaves the vectors of other generations",
			fails: []string{"sink TestEveryGenerationIsWritten"},
			edits: []edit{{chunkFile, "		for _, g := range j.layout.generations {", "		for _, g := range j.layout.generations[:1] {"}},
		},
		{
			name:  "a TRUNCATE leaves the vectors of other generations",
			fails: []string{"sink TestEveryGenerationIsWritten"},
			edits: []edit{{commitSink, "		for _, g := range st.layout.generations {", "		for _, g := range st.layout.generations[:1] {"}},
		},
		{
			name:  "jobs of an older epoch stay open",
			fails: []string{"sink TestATruncateOrANewEpochAfterTheReadMakesAChunkStale", "sink TestAStartIsWrittenAsAWholeOrNotAtAll"},
			edits: []edit{{"sql/queries/sink_jobs_void.sql", "started_epoch <> $2", "started_epoch > $2"}},
		},
		{
			name:  "a row that has no text by the first template is a delete",
			fails: []string{"internal/pipeline/batch TestFurtherTemplatesRenderTextsOfTheirOwn"},
			edits: []edit{{renderFile, `		c.Deleted = c.Deleted && c.Further[i].None()`, `		c.Deleted = c.Deleted || c.Further[i].None()`}},
		},
		{
			name:  "a generation takes the texts of another template",
			fails: []string{"sink TestEachTemplateHasItsOwnTexts"},
			edits: []edit{{
				"sink/layout.go", "template: slices.Index(l.texts.columns, g.HashColumn), upsert",
				"template: 0 * slices.Index(l.texts.columns, g.HashColumn), upsert",
			}},
		},
		{
			name:  "a row that was not read for a template counts as one without text",
			fails: []string{"sink TestEachTemplateHasItsOwnTexts"},
			edits: []edit{{"sql/queries/sink_generation_coverage.sql", "(WHERE l.{{.Hash}} IS NULL OR length", "(WHERE length"}},
		},
		{
			name:  "a new epoch does not open the job that fills a generation again",
			fails: []string{"sink TestAJobThatFillsAGenerationIsOpenedAgainInANewEpoch"},
			edits: []edit{{"sql/queries/sink_jobs_void.sql", "WHERE c.generation IS NOT NULL", "WHERE c.generation < 0"}},
		},
		{
			name:  "a generation that was active before is not written",
			fails: []string{"sink TestARollbackGoesBackToWhatWasActive"},
			edits: []edit{{stateFile, "		if g.State != Retired {", "		if g.State == Active || g.State == Building {"}},
		},
		{
			name:  "a new process goes on with a job of an older epoch",
			fails: []string{"sink TestAJobOfAnOlderEpochIsNotTakenUp"},
			edits: []edit{{"sql/queries/sink_job_find.sql", "AND open AND started_epoch = $4", "AND open AND started_epoch <= $4"}},
		},
	},
}
