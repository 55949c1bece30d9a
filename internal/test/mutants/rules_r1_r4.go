package main

var r1 = rule{
	name: "R1",
	says: "every writer locks the pipeline's row first, checks epoch and TRUNCATE under that lock, and writes keys in sorted order",
	mutants: []mutant{
		{
			name:  "the stream writes before it locks the pipeline",
			fails: []string{"sink TestAStreamAndAChunkDoNotInterleave"},
			edits: []edit{
				{
					commitSink,
					`	b.Queue(st.sink.query("settings"))
`,
					`	b.Queue(st.sink.query("settings"))
	w.queue(b, st.sink, st.layout, st.epoch, &out)
`,
				},
				{
					commitSink,
					`	w.queue(b, st.sink, st.layout, st.epoch, &out)
	return`,
					"	return",
				},
			},
		},
		{
			name:  "a chunk looks at the pipeline without a lock",
			fails: []string{"sink TestEveryWriterWaitsForTheStreamAndSeesWhatItDid"},
			edits: []edit{{
				"sql/queries/sink_pipeline_share.sql",
				`
FOR SHARE`,
				"",
			}},
		},
		{
			name:  "sweep and collection look at the pipeline without a lock",
			fails: []string{"sink TestEveryWriterWaitsForTheStreamAndSeesWhatItDid"},
			edits: []edit{{
				"sql/queries/sink_pipeline_lock.sql",
				`
FOR NO KEY UPDATE`,
				"",
			}},
		},
		{
			name:  "a chunk that a TRUNCATE overtook is merged",
			fails: []string{"sink TestATruncateOrANewEpochAfterTheReadMakesAChunkStale"},
			edits: []edit{{chunkFile, "	case p.version.Epoch != c.A.Epoch, p.truncated.Compare(c.A) > 0:", "	case p.version.Epoch != c.A.Epoch:"}},
		},
		{
			name:  "a TRUNCATE leaves no mark",
			fails: []string{"sink TestTruncateDeletesWhatIsOlderBeforeTheBatch", "sink TestATruncateOrANewEpochAfterTheReadMakesAChunkStale"},
			edits: []edit{{
				setFile,
				"THEN greatest(truncated_at, $8::pg_lsn) ELSE coalesce($8::pg_lsn, truncated_at) END",
				"THEN truncated_at ELSE truncated_at END",
			}},
		},
		{
			name:  "a chunk of another epoch is merged",
			fails: []string{"sink TestATruncateOrANewEpochAfterTheReadMakesAChunkStale"},
			edits: []edit{{chunkFile, "	case p.version.Epoch != c.A.Epoch, p.truncated.Compare(c.A) > 0:", "	case p.truncated.Compare(c.A) > 0:"}},
		},
		{
			name:  "a chunk of another epoch is merged, also when it was read before its job began",
			fails: []string{"sink TestATruncateOrANewEpochAfterTheReadMakesAChunkStale"},
			edits: []edit{
				{chunkFile, "	case p.version.Epoch != c.A.Epoch, p.truncated.Compare(c.A) > 0:", "	case p.truncated.Compare(c.A) > 0:"},
				{chunkFile, "	case c.A.Compare(j.started) < 0:", "	case c.A.Compare(j.started) < -1:"},
			},
		},
		{
			name:  "a sweep of another epoch runs",
			fails: []string{"sink TestASweepOfAnotherEpochIsRefused"},
			edits: []edit{{chunkFile, "	if p.version.Epoch != j.started.Epoch {", "	if p.version.Epoch < 0 {"}},
		},
		{
			name:  "a batch's keys are not sorted",
			fails: []string{"internal/pipeline/batch TestLastChangeOfAKeyWins"},
			edits: []edit{{
				batchFile,
				"	slices.SortFunc(b.changes, func(x, y pending) int { return strings.Compare(string(x.key), string(y.key)) })",
				"	_, _ = slices.SortFunc[[]pending], strings.Compare",
			}},
		},
		{
			name:  "a chunk's keys are not sorted",
			fails: []string{"internal/pipeline TestABackfillReadsEncodesAndSweeps"},
			edits: []edit{{
				chunksFile,
				`	sortChanges(c.changes)
`,
				"",
			}},
		},
	},
}

var r2 = rule{
	name: "R2",
	says: "a new slot, its position, epoch, source, owner and refresh are written in one transaction; no other slot is accepted",
	mutants: []mutant{
		{
			name:  "the jobs of the old epoch are closed before the start is certain",
			fails: []string{"sink TestAStartIsWrittenAsAWholeOrNotAtAll"},
			edits: []edit{{
				startFile,
				`tx.Exec(ctx, s.query("jobs_void"), s.pipeline, next, lsn); err != nil {`,
				`s.pool.Exec(ctx, s.query("jobs_void"), s.pipeline, next, lsn); err != nil {`,
			}},
		},
		{
			name:  "the refresh is opened in a transaction of its own",
			fails: []string{"sink TestAStartIsWrittenAsAWholeOrNotAtAll"},
			edits: []edit{{
				startFile,
				`tx.Exec(ctx, s.query("job_insert"), s.pipeline, Incremental, 0, true, next, lsn, 0)`,
				`s.pool.Exec(ctx, s.query("job_insert"), s.pipeline, Incremental, 0, true, next, lsn, 0)`,
			}},
		},
		{
			name:  "the epoch is written in a transaction of its own",
			fails: []string{"sink TestAStartIsWrittenAsAWholeOrNotAtAll"},
			edits: []edit{{
				startFile,
				`tag, err := tx.Exec(ctx, s.query("start")`,
				`tag, err := s.pool.Exec(ctx, s.query("start")`,
			}},
		},
		{
			name:  "the new slot's name is not written",
			fails: []string{"sink TestAStartIsWrittenAsAWholeOrNotAtAll"},
			edits: []edit{{"sql/queries/sink_start.sql", "slot = $4", "slot = nullif($4::text, $4)"}},
		},
		{
			name:  "the new slot's position is not written",
			fails: []string{"sink TestAStartIsWrittenAsAWholeOrNotAtAll"},
			edits: []edit{{"sql/queries/sink_start.sql", "watermark = $5::pg_lsn", "watermark = coalesce(watermark, $5::pg_lsn)"}},
		},
		{
			name:  "the new table's identity is not written",
			fails: []string{"sink TestAStartIsWrittenAsAWholeOrNotAtAll"},
			edits: []edit{{"sql/queries/sink_start.sql", "source_oid = $8", "source_oid = coalesce(source_oid, $8)"}},
		},
		{
			name:  "the old owner stays",
			fails: []string{"sink TestStartFencesTheOldOwnerAndRaisesTheEpoch", "sink TestAStartIsWrittenAsAWholeOrNotAtAll"},
			edits: []edit{{"sql/queries/sink_start.sql", " owner = NULL,", ""}},
		},
		{
			name:  "two processes start the same pipeline",
			fails: []string{"sink TestStartFencesTheOldOwnerAndRaisesTheEpoch"},
			edits: []edit{{"sql/queries/sink_start.sql", "WHERE name = $1 AND epoch = $2", "WHERE name = $1 AND $2::bigint IS NOT NULL"}},
		},
		{
			name:  "epochs have no random part",
			fails: []string{"internal/change TestEpochsOfTwoHistoriesDiffer"},
			edits: []edit{
				{"internal/change/version.go", "(int64(e)>>32+1)<<32 | int64(rand.Uint32())", "(int64(e)>>32 + 1) << 32"},
				{
					"internal/change/version.go",
					`	"math/rand/v2"
`,
					"",
				},
			},
		},
		{
			name:  "a slot that the pipeline does not name is streamed",
			fails: []string{"cmd/wal2vec TestASlotThatThePipelineDoesNotNameIsRefused"},
			edits: []edit{{
				"internal/connect/belongs.go", `	case state.Slot != c.Source.Slot && state.Slot != "" || state.Publication`, "	case state.Publication",
			}},
		},
		{
			name:  "a slot that is ahead of the watermark is streamed",
			fails: []string{"replication TestCheckSlot", "replication TestConnectRefusesWhatCannotGoOn"},
			edits: []edit{{"replication/slotstate.go", "	case s.ConfirmedFlush > watermark:", "	case s.ConfirmedFlush > watermark+1<<60:"}},
		},
	},
}

var r3 = rule{
	name: "R3",
	says: "every part of a transaction does the compare-and-set, W stays below its end; replication starts at W and skips what ends there",
	mutants: []mutant{
		{
			name:  "a stream that lost its pipeline goes on writing",
			fails: []string{"sink TestATakeoverFencesTheOldOwner"},
			edits: []edit{{setFile, "AND owner = $2", "AND $2::text IS NOT NULL"}},
		},
		{
			name:  "parts of a transaction are written no matter which process owns the pipeline",
			fails: []string{"sink TestATakeoverFencesTheOldOwner"},
			edits: []edit{{setFile, "AND owner = $2", "AND (owner = $2 OR $6::pg_lsn IS NULL)"}},
		},
		{
			name:  "a commit does not compare the watermark",
			fails: []string{"sink TestACommitFromAnotherWatermarkOrEpochIsFenced"},
			edits: []edit{{setFile, "AND watermark = $4::pg_lsn", "AND $4::pg_lsn IS NOT NULL"}},
		},
		{
			name:  "a commit does not compare the epoch",
			fails: []string{"sink TestACommitFromAnotherWatermarkOrEpochIsFenced"},
			edits: []edit{{setFile, "AND epoch = $3", "AND $3::bigint IS NOT NULL"}},
		},
		{
			name: "the watermark passes a transaction with its first part",
			fails: []string{
				"internal/pipeline/batch TestAnUnfinishedTransactionHoldsTheWatermark",
				"internal/pipeline TestTheWatermarkStaysBelowATransactionUntilItsLastPart",
			},
			edits: []edit{{batchFile, "Watermark: b.watermark, PartialUntil", "Watermark: max(b.watermark, b.inside), PartialUntil"}},
		},
		{
			name:  "a held delete is not given up where its key is inserted again",
			fails: []string{"internal/pipeline/batch TestDeletesWaitForTheEndOfTheirTransaction"},
			edits: []edit{{batchFile, "		b.held.forget(e.Key)\n", ""}},
		},
		{
			name:  "held deletes are forgotten at the end of their transaction",
			fails: []string{"internal/pipeline/batch TestDeletesWaitForTheEndOfTheirTransaction"},
			edits: []edit{{batchFile, "		b.release(f, now)\n", ""}},
		},
		{
			name:  "the watermark goes back",
			fails: []string{"sink TestTheWatermarkDoesNotGoBack"},
			edits: []edit{{commitSink, "	if c.Watermark != 0 && c.Watermark < old {", "	if c.Watermark != 0 && c.Watermark < 1 {"}},
		},
		{
			name:  "replication does not start at the watermark",
			fails: []string{"internal/pipeline TestTheSinkConvergesWhateverFails"},
			edits: []edit{{sessionFile, "s.ports.Source.Connect(intake, place)", "s.ports.Source.Connect(intake, change.Place{})"}},
		},
		{
			name:  "transactions below the watermark are applied again",
			fails: []string{"replication TestTransactionsBelowTheWatermarkAreSkipped"},
			edits: []edit{
				{streamFile, "	case fragment.LSN <= s.from:", "	case fragment.LSN == 0:"},
				{streamFile, "	case fragment.LSN <= s.position:", "	case fragment.LSN <= s.position && fragment.LSN > s.from:"},
			},
		},
		{
			name:  "a session goes on although the watermark moved before it took over",
			fails: []string{"internal/pipeline TestAWatermarkThatMovedBeforeTheTakeoverBeginsAnotherSession"},
			edits: []edit{{sessionFile, "	if writer.Watermark() != from {", "	if writer.Watermark() < from {"}},
		},
	},
}

var r4 = rule{
	name: "R4",
	says: "the gate holds before a transaction's first part; a chunk needs an open job and its token; tombstones stay while a job may need them",
	mutants: []mutant{
		{
			name:  "the gate holds only the last part of a transaction",
			fails: []string{"internal/pipeline TestTheWatermarkStaysBelowATransactionUntilItsLastPart"},
			edits: []edit{{
				prepareFile, "		if err := se.ports.Gate.Visible(groupCtx, b.XIDs); err != nil {",
				`		if b.Watermark == 0 {
			return nil
		}
		if err := se.ports.Gate.Visible(groupCtx, b.XIDs); err != nil {`,
			}},
		},
		{
			name:  "a chunk read before its job began is merged",
			fails: []string{"sink TestAChunkReadBeforeItsJobIsRefused"},
			edits: []edit{{chunkFile, "	case c.A.Compare(j.started) < 0:", "	case c.A.Compare(j.started) < -1:"}},
		},
		{
			name:  "a job's token is not looked at",
			fails: []string{"sink TestASecondProcessIsRefusedWhileTheFirstLivesAndTakesOverWhenItIsDead", "sink TestALostTokenStopsEveryWriter"},
			edits: []edit{{"sql/queries/sink_job_held.sql", "AND token = $2::uuid", "AND $2::uuid IS NOT NULL"}},
		},
		{
			name:  "a job's token is not looked at when it ends",
			fails: []string{"sink TestASecondProcessIsRefusedWhileTheFirstLivesAndTakesOverWhenItIsDead"},
			edits: []edit{{"sql/queries/sink_job_lock.sql", "AND token = $2::uuid", "AND $2::uuid IS NOT NULL"}},
		},
		{
			name:  "a job's token is looked at as of the transaction's begin",
			fails: []string{"sink TestATokenThatAnotherTakesStopsAChunk"},
			edits: []edit{{chunkFile, "pgx.TxOptions{IsoLevel: pgx.ReadCommitted}", "pgx.TxOptions{}"}},
		},
		{
			name:  "the cursor passes a chunk that is not written",
			fails: []string{"sink TestTheCursorMovesToTheEndOfWhatIsWrittenWithoutAGap", "sink TestChunksInAnyOrderWithCrashesGiveWhatOneAfterAnotherGives"},
			edits: []edit{{"sink/job.go", "c.After == j.progress.cursor", "c.After >= j.progress.cursor"}},
		},
		{
			name:  "what is written behind a gap is not read again",
			fails: []string{"sink TestWhatIsWrittenBehindAGapIsReadAgain/the_same_process"},
			edits: []edit{{"sink/job.go", "	clear(j.ahead)\n", ""}},
		},
		{
			name:  "a sweep comes while a chunk is missing",
			fails: []string{"sink TestTheCursorMovesToTheEndOfWhatIsWrittenWithoutAGap"},
			edits: []edit{{chunkFile, "	if n := j.scattered(); n > 0 {", "	if n := 0; n > 0 {"}},
		},
		{
			name:  "partial_until is moved by a position of another epoch",
			fails: []string{"sink TestPartialUntilIsMovedForTheChunksThatFollow"},
			edits: []edit{{"sql/queries/sink_pipeline_partial.sql", " AND epoch = $3", " AND $3::bigint IS NOT NULL"}},
		},
		{
			name:  "who takes a job leaves its token",
			fails: []string{"sink TestASecondProcessIsRefusedWhileTheFirstLivesAndTakesOverWhenItIsDead"},
			edits: []edit{{"sql/queries/sink_job_take.sql", "SET token = gen_random_uuid()", "SET token = coalesce(token, gen_random_uuid())"}},
		},
		{
			name:  "a closed job goes on",
			fails: []string{"sink TestTheSweepDeletesWhatNoChunkSaw", "sink TestAnAbandonedJobExpires"},
			edits: []edit{{"sql/queries/sink_job_held.sql", " AND open", ""}},
		},
		{
			name:  "tombstones above the watermark are collected",
			fails: []string{"sink TestTombstonesAreKeptForOpenJobsAndAboveTheWatermark"},
			edits: []edit{{collectSQL, "(l.epoch, l.lsn) <= ($2::bigint, $3::pg_lsn)", "($2::bigint, $3::pg_lsn) IS NOT NULL"}},
		},
		{
			name:  "tombstones that an open job needs are collected",
			fails: []string{"sink TestTombstonesAreKeptForOpenJobsAndAboveTheWatermark"},
			edits: []edit{{collectSQL, "AND b.open AND (b.started_epoch", "AND b.open AND false AND (b.started_epoch"}},
		},
		{
			name:  "a job that a process holds expires",
			fails: []string{"sink TestAnAbandonedJobExpires"},
			edits: []edit{{
				"sql/queries/sink_jobs_expire.sql",
				"AND pg_catalog.pg_try_advisory_xact_lock($3, (id % 2147483647)::integer)",
				"AND $3::integer IS NOT NULL",
			}},
		},
	},
}
