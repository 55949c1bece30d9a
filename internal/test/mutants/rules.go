package main

// table lists the rules in the order of ARCHITECTURE.md, and those of two of its promises.
// Following a replaced table (R7) is not there yet and has no mutants.
func table() []rule {
	return []rule{
		gate, order, versions, ledger, feedback, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15, r16, coverage, template,
	}
}

// Files that several mutants change.
const (
	batchFile    = "internal/pipeline/batch/batch.go"
	renderFile   = "internal/change/render.go"
	chunksFile   = "internal/pipeline/chunks.go"
	commitFile   = "internal/pipeline/commit.go"
	prepareFile  = "internal/pipeline/prepare.go"
	sessionFile  = "internal/pipeline/session.go"
	collectFile  = "internal/pipeline/cut.go"
	gateFile     = "replication/gate.go"
	streamFile   = "replication/stream.go"
	feedbackFile = "replication/feedback.go"
	readerFile   = "replication/rows/chunk.go"
	durableFile  = "replication/rows/progress.go"
	chunkFile    = "sink/chunk.go"
	commitSink   = "sink/commit.go"
	takeoverFile = "sink/takeover.go"
	startFile    = "sink/start.go"
	stateFile    = "sink/state.go"
	activateFile = "sink/generation_activate.go"
	searcherFile = "sink/search.go"
	buildFile    = "sink/generation_build.go"
	writeFile    = "sink/changes.go"
	setFile      = "sql/queries/sink_commit_compare_and_set.sql"
	upsertFile   = "sql/queries/sink_ledger_upsert.sql"
	collectSQL   = "sql/queries/sink_tombstones_collect.sql"
	vectorsFile  = "sql/queries/sink_vectors_upsert.sql"
)

// anomalies read the source while a commit is streamed and invisible, one for each kind of change.
var anomalies = []string{
	"internal/test/protocol TestATruncateThatIsStreamedAndInvisibleDoesNoHarm",
	"internal/test/protocol TestACommitThatIsStreamedAndInvisibleDoesNoHarm/update",
	"internal/test/protocol TestACommitThatIsStreamedAndInvisibleDoesNoHarm/delete",
	"internal/test/protocol TestACommitThatIsStreamedAndInvisibleDoesNoHarm/insert",
	"internal/test/protocol TestACommitThatIsStreamedAndInvisibleDoesNoHarm/key_change",
	"internal/test/protocol TestACommitThatIsStreamedAndInvisibleDoesNoHarm/text_left_out",
	"internal/test/protocol TestACommitThatIsStreamedAndInvisibleDoesNoHarm/several_parts",
}

var gate = rule{
	name: "Gate",
	says: "the stream commits a transaction only when new snapshots of the source see it",
	mutants: []mutant{
		{
			name:  "the gate lets everything through",
			fails: append([]string{"replication TestGateHoldsWhatIsStreamedButInvisible"}, anomalies...),
			edits: []edit{{gateFile, "	if len(g.unknown(xids)) == 0 {", "	if len(xids) > 0 {"}},
		},
		{
			name:  "the stream does not ask the gate",
			fails: append([]string{"internal/pipeline TestACommitWaitsForTheGateAndEncodingDoesNot"}, anomalies...),
			edits: []edit{{prepareFile, "err := se.ports.Gate.Visible(groupCtx, b.XIDs); err != nil", "err := groupCtx.Err(); err != nil"}},
		},
		{
			name:  "the gate takes what a snapshot counts as open for visible",
			fails: append([]string{"replication TestGateHoldsEveryTransactionOfABatch", "replication TestSnapshotSees"}, anomalies[1:]...),
			edits: []edit{{
				"replication/snapshot.go",
				"	return !slices.ContainsFunc(s.xip, func(open uint64) bool { return uint32(open) == xid })",
				"	return true",
			}},
		},
		{
			name:  "the gate asks for the first transaction of a batch only",
			fails: []string{"replication TestGateHoldsEveryTransactionOfABatch"},
			edits: []edit{{
				gateFile,
				`	for _, xid := range xids {
		if !s.sees(xid) {`,
				`	for _, xid := range xids[:1] {
		if !s.sees(xid) {`,
			}},
		},
		{
			name:  "the gate's error lets the batch through",
			fails: []string{"internal/pipeline TestAGateThatFailsEndsTheSession"},
			edits: []edit{{
				prepareFile, `			return fmt.Errorf("waiting for the batch to be visible on the source: %w", err)`,
				"			return se.readRows(groupCtx, b, &unread)",
			}},
		},
	},
}

var order = rule{
	name: "Order",
	says: "a chunk reads the watermark A, then its rows, then the end of the log H, and is merged behind H; the sweep comes last",
	mutants: []mutant{
		{
			name: "A is read after the rows",
			fails: []string{
				"internal/pipeline TestTheWatermarkIsReadBeforeTheRows",
				"internal/test/protocol TestWhatChangesAfterAChunkWasReadKeepsItsChange/update",
				"internal/test/protocol TestWhatChangesAfterAChunkWasReadKeepsItsChange/delete",
				"internal/test/protocol TestWhatChangesAfterAChunkWasReadKeepsItsChange/key_change",
				"internal/test/protocol TestWhatChangesAfterAChunkWasReadKeepsItsChange/truncate",
			},
			edits: []edit{{
				chunksFile, `		failpoint.Hit("backfill_read")`,
				`		if as, err = b.ports.Positions.Version(ctx); err != nil {
			return err
		}`,
			}},
		},
		{
			name:  "H is read before the rows",
			fails: []string{"replication/rows TestHighIsReadAfterTheRows"},
			edits: []edit{
				{
					readerFile,
					`	c := protocol.RowChunk{Session: r.session}
`,
					`	c := protocol.RowChunk{Session: r.session}
	if c.High, err = r.position(ctx, "source_insert_lsn"); err != nil {
		return protocol.RowChunk{}, err
	}
`,
				},
				{
					readerFile,
					`	if c.High, err = r.position(ctx, "source_insert_lsn"); err != nil {
		return protocol.RowChunk{}, err
	}
	c.High = c.High.RecordEnd()`,
					"	c.High = c.High.RecordEnd()",
				},
			},
		},
		{
			name:  "a chunk does not wait for the watermark to pass H",
			fails: []string{"internal/pipeline TestBesideAStreamAChunkWaitsForTheWatermark"},
			edits: []edit{{chunksFile, "		if v.LSN >= c.read.High {", "		if v.LSN >= 0 {"}},
		},
		{
			name:  "the sweep comes before the merge of the last chunk",
			fails: []string{"internal/pipeline TestThatNothingFollowsIsMergedBeforeTheSweep", "internal/pipeline TestABackfillBesideAStreamConverges"},
			edits: []edit{{
				chunksFile, "			if err := b.merge(ctx, c); err != nil {",
				`			if c.read.Done {
				return b.close(ctx)
			}
			if err := b.merge(ctx, c); err != nil {`,
			}},
		},
		{
			name:  "a last chunk without rows is not merged",
			fails: []string{"internal/pipeline TestThatNothingFollowsIsMergedBeforeTheSweep"},
			edits: []edit{{chunksFile, "			rows.Last = cursor", "			return nil"}},
		},
		{
			name:  "a chunk's rows carry the watermark after the read",
			fails: []string{"internal/pipeline TestTheWatermarkIsReadBeforeTheRows"},
			edits: []edit{{
				chunksFile, "change.RenderRow(b.opts.Template, row, c.as.LSN)",
				"change.RenderRow(b.opts.Template, row, c.read.High)",
			}},
		},
	},
}

var versions = rule{
	name: "Versions",
	says: "a streamed row carries its commit record's LSN + 1, and the ledger takes what is not older",
	mutants: []mutant{
		{
			name:  "a version is the commit record's own LSN",
			fails: []string{"replication/pgoutput TestFragmentCarriesItsTransaction", "internal/test/protocol TestACommitAtTheWatermarkIsNewerThanIt"},
			edits: []edit{{"replication/pgoutput/decoder.go", "LSN: d.begin.final + 1,", "LSN: d.begin.final,"}},
		},
		{
			name:  "the ledger takes newer versions only",
			fails: []string{"sink TestALaterVersionWins"},
			edits: []edit{{upsertFile, "(l.epoch, l.lsn) <= (excluded", "(l.epoch, l.lsn) < (excluded"}},
		},
		{
			name:  "the ledger takes any version",
			fails: []string{"sink TestALaterVersionWins", "sink TestATombstoneRejectsAnOlderRead"},
			edits: []edit{{upsertFile, "WHERE (l.epoch, l.lsn) <= (excluded.epoch, excluded.lsn)", "WHERE true"}},
		},
		{
			name:  "the ledger compares positions without epochs",
			fails: []string{"sink TestALowerPositionOfANewerEpochWins"},
			edits: []edit{{upsertFile, "(l.epoch, l.lsn) <= (excluded.epoch, excluded.lsn)", "l.lsn <= excluded.lsn"}},
		},
		{
			name:  "a TRUNCATE deletes newer rows too",
			fails: []string{"sink TestATruncateLeavesWhatIsNewer"},
			edits: []edit{{"sql/queries/sink_ledger_truncate.sql", " AND ((epoch, lsn) <= ($1::bigint, $2::pg_lsn) OR epoch > $1::bigint)", ""}},
		},
	},
}

var ledger = rule{
	name: "Ledger",
	says: "an unchanged text raises the version too; a delete leaves a tombstone, whether or not the key was known",
	mutants: []mutant{
		{
			name:  "the ledger leaves a row whose text is unchanged",
			fails: []string{"sink TestAnUnchangedRowGetsTheChunksVersion", "sink TestAnUpdateWithTheSameTextIsHeapOnlyAndLeavesTheVectorTable"},
			edits: []edit{{
				upsertFile,
				`(excluded.epoch, excluded.lsn)
`,
				`(excluded.epoch, excluded.lsn) AND l.text_hash IS DISTINCT FROM excluded.text_hash
`,
			}},
		},
		{
			name:  "the stream leaves out rows whose text is unchanged",
			fails: []string{"internal/pipeline TestAnUnchangedTextIsCommittedToo"},
			edits: []edit{{
				commitFile, `	begun := se.opts.Now()
	if err := se.write(`,
				`	commit.Changes = nil
	for _, c := range b.Changes {
		if _, found := p.encodings[1].Vectors[c.Document.Hash]; found || c.Deleted {
			commit.Changes = append(commit.Changes, c)
		}
	}
	begun := se.opts.Now()
	if err := se.write(`,
			}},
		},
		{
			name:  "a chunk leaves out rows whose text is unchanged",
			fails: []string{"internal/pipeline TestAnUnchangedRowIsMergedToo"},
			edits: []edit{{
				chunksFile, `	failpoint.Hit("backfill_encoded")`,
				`	c.changes = slices.DeleteFunc(c.changes, func(ch change.Change) bool {
		_, found := c.encodings[1].Vectors[ch.Document.Hash]
		return !found && !ch.Deleted
	})`,
			}},
		},
		{
			name:  "a delete of an unknown key leaves no tombstone",
			fails: []string{"sink TestCommitWritesLedgerVectorsAndWatermarkTogether"},
			edits: []edit{{
				upsertFile, `{{end}}, {{.Aliases}})
`,
				`{{end}}, {{.Aliases}})
WHERE n.hash1 IS NOT NULL OR EXISTS (SELECT FROM {{.Ledger}} AS l WHERE {{.Match "l" "n"}})
`,
			}},
		},
		{
			name:  "a delete removes the ledger's row",
			fails: []string{"sink TestADeleteRemovesTheVector", "sink TestATombstoneRejectsAnOlderRead"},
			edits: []edit{{
				"sql/queries/sink_vectors_delete.sql",
				"DELETE FROM {{.Vectors}} AS v",
				"WITH gone AS (DELETE FROM {{.Ledger}} WHERE deleted) DELETE FROM {{.Vectors}} AS v",
			}},
		},
		{
			name:  "a dead key keeps its vector",
			fails: []string{"sink TestADeleteRemovesTheVector"},
			edits: []edit{{writeFile, "		if w.deletes.len() > 0 {", "		if w.deletes.len() < 0 {"}},
		},
	},
}

var feedback = rule{
	name: "Feedback",
	says: "the slot is told a position after the sink has committed and flushed it, never one that was only received",
	mutants: []mutant{
		{
			name:  "a batch is confirmed before its commit",
			fails: []string{"internal/pipeline TestAPositionIsConfirmedOnlyAfterItsCommit"},
			edits: []edit{{
				commitFile,
				"	if err := se.write(ctx, commit); err != nil {",
				`	se.replication.Confirm(b.Watermark)
	if err := se.write(ctx, commit); err != nil {`,
			}},
		},
		{
			name:  "a batch that is not flushed is confirmed",
			fails: []string{"sink TestWhatIsCommittedIsFlushed"},
			edits: []edit{{"sql/queries/sink_settings.sql", "set_config('synchronous_commit', 'on', true)", "set_config('synchronous_commit', 'off', true)"}},
		},
		{
			name:  "a sweep that is not flushed counts",
			fails: []string{"sink TestWhatIsCommittedIsFlushed"},
			edits: []edit{{chunkFile, "SET LOCAL synchronous_commit = on", "SET LOCAL synchronous_commit = off"}},
		},
		{
			name:  "a start that is not flushed counts",
			fails: []string{"sink TestWhatIsCommittedIsFlushed"},
			edits: []edit{{
				startFile,
				`"SET LOCAL synchronous_commit = on"); err != nil {
			return fmt.Errorf("starting`,
				`"SET LOCAL synchronous_commit = off"); err != nil {
			return fmt.Errorf("starting`,
			}},
		},
		{
			name:  "the slot is told what was received",
			fails: []string{"replication TestNothingBeyondConfirmIsEverConfirmed"},
			edits: []edit{{feedbackFile, "	at := pglogrepl.LSN(confirmed)", "	at := pglogrepl.LSN(max(confirmed, s.position))"}},
		},
		{
			name:  "the position of an idle log goes straight to the slot",
			fails: []string{"internal/pipeline TestAnIdlePositionIsWrittenAtItsInterval"},
			edits: []edit{{
				collectFile,
				`		case f := <-in:
`,
				`		case f := <-in:
			if f.XID == 0 {
				c.replication.Confirm(f.End)
			}
`,
			}},
		},
		{
			name:  "a keepalive inside a transaction counts as an idle position",
			fails: []string{"replication TestIdlePositionsComeBetweenTransactionsOnly"},
			edits: []edit{{streamFile, "	if s.decoder.InTransaction() {\n", "	if end == 0 {\n"}},
		},
		{
			name:  "an idle position overtakes the batches in flight",
			fails: []string{"internal/pipeline TestAPositionStaysBehindWhatIsInFlight"},
			edits: []edit{{
				collectFile, `		case f := <-in:
`,
				`		case f := <-in:
			if f.XID == 0 && !c.batcher.HasEvents() {
				if err := c.commitBatch(work, &prepared{batch: &batch.Batch{Watermark: f.End}}); err != nil {
					return err
				}
				continue
			}
`,
			}},
		},
	},
}
