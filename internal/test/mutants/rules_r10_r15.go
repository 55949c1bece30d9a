package main

var r10 = rule{
	name: "R10",
	says: "the compare-and-set includes a counter of the generation set; an activation looks for holes behind the pipeline's lock",
	mutants: append([]mutant{
		{
			name:  "the stream writes for another set of generations",
			fails: []string{"sink TestAnotherSetOfGenerationsStopsTheStream"},
			edits: []edit{{setFile, "AND generations = $5", "AND $5::bigint IS NOT NULL"}},
		},
		{
			name:  "a chunk is written for another set of generations",
			fails: []string{"sink TestAnotherSetOfGenerationsStopsTheBackfill"},
			edits: []edit{{
				chunkFile,
				`	case p.counter != j.layout.counter:
		return 0, protocol.ErrGenerations`,
				`	case p.counter < 0:
		return 0, protocol.ErrGenerations`,
			}},
		},
		{
			name:  "a sweep runs for another set of generations",
			fails: []string{"sink TestAnotherSetOfGenerationsStopsTheBackfill"},
			edits: []edit{{chunkFile, "	if p.counter != j.layout.counter {", "	if p.counter < 0 {"}},
		},
		{
			name:       "a takeover does not compare the set of generations",
			fails:      []string{"sink TestAnotherSetOfGenerationsStopsTheStream"},
			edits:      []edit{{takeoverFile, "	if st.layout.counter != c.counter {", "	if c.counter < 0 {"}},
			equivalent: "the set is read after the takeover, so it is newer at worst: the first commit compares it under the lock",
		},
	}, activations...),
}

var activations = []mutant{
	{
		name:  "a new generation leaves the counter as it is",
		fails: []string{"sink TestAGenerationOfAnotherDimensionIsWrittenBesideTheActiveOne"},
		edits: []edit{{buildFile, `render("vectors_create", t), render("generation_count", data), closing)`, `render("vectors_create", t), closing)`}},
	},
	{
		name:  "an activation does not count what is missing",
		fails: []string{"sink TestAnActivationIsRefusedWhileSomethingIsMissing", "sink TestAnActivationCountsBehindTheLockOfThePipeline"},
		edits: []edit{{activateFile, "	if !coverage.Full() {", "	if coverage.Live < 0 {"}},
	},
	{
		name:  "an activation does not wait for the job that fills the generation",
		fails: []string{"sink TestAnActivationIsRefusedWhileSomethingIsMissing"},
		edits: []edit{{activateFile, "	if filling {", "	if filling = false; filling {"}},
	},
	{
		name:  "an activation does not wait for the refresh of a resync",
		fails: []string{"sink TestAnActivationWaitsForTheRefreshOfAResync"},
		edits: []edit{{activateFile, "	if refresh {", "	if refresh = false; refresh {"}},
	},
	{
		name:  "an activation counts before the lock",
		fails: []string{"sink TestAnActivationCountsBehindTheLockOfThePipeline"},
		edits: []edit{{"sql/queries/sink_pipeline_lock.sql", "\nFOR NO KEY UPDATE", ""}},
	},
	{
		name:  "a search reads another generation than its query was encoded for",
		fails: []string{"internal/search TestASearchEncodesForTheGenerationThatItReads", "sink TestSearchRefuses"},
		edits: []edit{{searcherFile, "	if q.Generation != 0 && q.Generation != g.ID {", "	if q.Generation < 0 {"}},
	},
	{
		name:  "a search believes the generations that it knew",
		fails: []string{"sink TestAKeptLayoutIsComparedWithTheTables"},
		edits: []edit{{searcherFile, "counter != known.layout.counter || ", ""}},
	},
	{
		name:  "a search believes the tables that it knew",
		fails: []string{"sink TestAKeptLayoutIsComparedWithTheTables", "sink TestASearchRunsNothingOfATableThatTookAnothersPlace"},
		edits: []edit{{"sql/queries/sink_search_standing.sql", "(m.mark = $4::text)", "(m.mark = $4::text OR true)"}},
	},
	{
		name:  "a search reads a table that took the place of the one that it compared",
		fails: []string{"sink TestATableThatIsReplacedInTheMiddleOfASearchIsNoticed"},
		edits: []edit{{searcherFile, "	b.Queue(known.lock)", "	_ = known.lock"}},
	},
	{
		name:  "a dead letter of one generation excuses another",
		fails: []string{"sink TestADeadLetterBelongsToAGeneration"},
		edits: []edit{{
			"sql/queries/sink_vectors_stale.sql",
			`d.key = {{.KeyParts "n"}} AND d.generation = {{.Generation}} AND`, `d.key = {{.KeyParts "n"}} AND`,
		}},
	},
}

var r11 = rule{
	name: "R11",
	says: "a text that the log left out comes from the batch, else from the row, read behind the gate, flushed, at the event's version",
	mutants: []mutant{
		{
			name:  "a value left out is not taken from the batch",
			fails: []string{"internal/pipeline/batch TestUnchangedValuesComeFromTheBatchOrAreUnread"},
			edits: []edit{{batchFile, "			p.fields[f] = b.changes[i].fields[f]", "			continue"}},
		},
		{
			name: "a value left out is taken for NULL",
			fails: []string{
				"internal/pipeline/batch TestUnchangedValuesComeFromTheBatchOrAreUnread",
				"internal/pipeline TestRowsThatTheLogLeftOutAreReadBehindTheGate",
			},
			edits: []edit{{
				batchFile,
				"		if !b.template.Settled(p.fields) {",
				"		if false {",
			}},
		},
		{
			name:  "a row is read before the gate",
			fails: []string{"internal/pipeline TestRowsThatTheLogLeftOutAreReadBehindTheGate"},
			edits: []edit{
				{
					prepareFile,
					"		if err := se.ports.Gate.Visible(groupCtx, b.XIDs); err != nil {",
					`		if err := se.readRows(groupCtx, b, &unread); err != nil {
			return err
		}
		if err := se.ports.Gate.Visible(groupCtx, b.XIDs); err != nil {`,
				},
				{
					prepareFile,
					`		return se.readRows(groupCtx, b, &unread)
	})`,
					`		return nil
	})`,
				},
			},
		},
		{
			name:  "a row that is gone stays",
			fails: []string{"internal/pipeline TestRowsThatTheLogLeftOutAreReadBehindTheGate"},
			edits: []edit{{prepareFile, "			c.Deleted = true", "			continue"}},
		},
		{
			name:  "the stream keeps rows that the source may lose",
			fails: []string{"internal/follow TestTheStreamReadsRowsThatTheSourceCannotLose"},
			edits: []edit{{
				"internal/follow/ports.go",
				"	rows, shown, err := p.upstream.Load().reader.DurableRows(ctx, keys)",
				"	rows, err := p.upstream.Load().reader.Rows(ctx, keys)\n	shown := change.LSN(1)",
			}},
		},
		{
			name:  "rows read by key are not waited for until they are flushed",
			fails: []string{"replication/rows TestDurableRowsOutliveACrash"},
			edits: []edit{{durableFile, "	if err := r.WaitFlushed(ctx, shown); err != nil {", "	if err := r.WaitFlushed(ctx, shown-shown); err != nil {"}},
		},
		{
			name:  "rows read by key over a connection that broke are kept",
			fails: []string{"replication/rows TestRowsReadOverAConnectionThatBrokeAreNotKept"},
			edits: []edit{{durableFile, "	return rows, shown, r.Alive(ctx, session)", "	return rows, shown, r.Alive(ctx, max(session, r.session))"}},
		},
	},
}

var r12 = rule{
	name: "R12",
	says: "the sweep's tombstones carry the job's first A; the sweep closes its job in the same transaction",
	mutants: []mutant{
		{
			name:  "the sweep's tombstones carry the watermark",
			fails: []string{"sink TestTheSweepDeletesWhatNoChunkSaw"},
			edits: []edit{{"sql/queries/sink_sweep.sql", "lsn = $2::pg_lsn", "lsn = (SELECT p.watermark FROM {{.Schema}}.pipeline AS p LIMIT 1)"}},
		},
		{
			name:  "the sweep removes rows and leaves no tombstones",
			fails: []string{"sink TestTheSweepDeletesWhatNoChunkSaw"},
			edits: []edit{{
				"sql/queries/sink_sweep.sql",
				"UPDATE {{.Ledger}}\nSET epoch = $1, lsn = $2::pg_lsn{{range .Hashes}}, {{.}} = NULL{{end}}, deleted = true, failed_at = NULL\n",
				"DELETE FROM {{.Ledger}}\n",
			}},
		},
		{
			name:  "the sweep takes keys that a chunk saw",
			fails: []string{"sink TestTheSweepDeletesWhatNoChunkSaw"},
			edits: []edit{{"sql/queries/sink_sweep.sql", "(epoch, lsn) < ($1", "(epoch, lsn) <= ($1"}},
		},
		{
			name:  "a sweep leaves its job open",
			fails: []string{"sink TestTheSweepDeletesWhatNoChunkSaw"},
			edits: []edit{{
				chunkFile,
				`		return j.close(ctx, tx, "swept", swept)`,
				"		return nil",
			}},
		},
		{
			name:  "a sweep closes its job in another transaction",
			fails: []string{"sink TestASweepThatCannotCloseItsJobSweepsNothing"},
			edits: []edit{
				{
					chunkFile,
					`		return j.close(ctx, tx, "swept", swept)`,
					"		return nil",
				},
				{
					chunkFile,
					`	if err != nil {
		return 0, j.sink.explain(err, "sweeping")`,
					`	if err == nil {
		_, err = j.sink.pool.Exec(ctx, j.sink.query("job_close"), j.id, "swept", swept)
	}
	if err != nil {
		return 0, j.sink.explain(err, "sweeping")`,
				},
			},
		},
		{
			name:  "a job with a limit sweeps",
			fails: []string{"sink TestALimitedJobDoesNotSweep"},
			edits: []edit{{chunkFile, "	if j.params.Limit > 0 || j", "	if j"}},
		},
	},
}

var r13 = rule{
	name: "R13",
	says: "a takeover sets the owner and reads W in one statement, once the slot is held",
	mutants: []mutant{
		{
			name:  "a takeover reads the watermark before it sets the owner",
			fails: []string{"sink TestATakeoverReadsTheWatermarkOfItsOwnStatement"},
			edits: []edit{{
				takeoverFile, `	st.watermark.Store(uint64(c.watermark))
	if st.layout`,
				`	st.watermark.Store(uint64(before.LSN))
	if st.layout`,
			}, {
				takeoverFile, `	c, err := s.claim(ctx, owner, epoch)
`,
				`	before, err := s.Version(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.claim(ctx, owner, epoch)
`,
			}},
		},
		{
			name:  "a process takes over a pipeline of another epoch than the history that it reads",
			fails: []string{"sink TestATakeoverIsOfOneEpoch"},
			edits: []edit{{"sql/queries/sink_takeover.sql", "AND epoch = $3", "AND $3::bigint IS NOT NULL"}},
		},
		{
			name:  "a process takes over before it holds the slot",
			fails: []string{"internal/pipeline TestAProcessThatMerelyTriesFencesNoOther"},
			edits: []edit{{
				sessionFile, "	replication, err := s.ports.Source.Connect(",
				`	if _, err := s.ports.Sink.Takeover(intake); err != nil {
		return err
	}
	replication, err := s.ports.Source.Connect(`,
			}},
		},
	},
}

var r14 = rule{
	name: "R14",
	says: "a watermark above the server's end of the log is a gap, also where a promoted standby's log parts from it",
	mutants: []mutant{
		{
			name:  "a promotion that lost something is followed",
			fails: []string{"sink TestAPromotionThatLostSomethingIsNotFollowed"},
			edits: []edit{{"sql/queries/sink_follow.sql", "greatest(watermark, partial_until) <= $6::pg_lsn", "$6::pg_lsn IS NOT NULL"}},
		},
		{
			name:  "a promotion that lost what the sink shows beyond its watermark is followed",
			fails: []string{"sink TestAPromotionThatLostSomethingIsNotFollowed"},
			edits: []edit{{"sql/queries/sink_follow.sql", "greatest(watermark, partial_until) <=", "watermark <="}},
		},
		{
			name:  "a promotion forgets the refresh that is open",
			fails: []string{"sink TestAnOpenRefreshBeginsAgainAfterAPromotion"},
			edits: []edit{{startFile, "		if !refresh {", "		if refresh {"}},
		},
		{
			name:  "a slot is not asked whether its server's log reaches the watermark",
			fails: []string{"replication TestCheckSlot"},
			edits: []edit{{"replication/slotstate.go", "	case s.WALEnd != 0 && watermark > s.WALEnd:", "	case s.WALEnd != 0 && watermark < 1:"}},
		},
		{
			name:  "a watermark that the log does not reach is streamed from",
			fails: []string{"replication TestConnectRefusesWhatCannotGoOn", "replication TestCheckSlot"},
			edits: []edit{
				{"replication/slotstate.go", "	case s.WALEnd != 0 && watermark > s.WALEnd:", "	case s.WALEnd != 0 && watermark < 1:"},
				{"replication/source.go", "	case from > end:", "	case end < 1:"},
			},
		},
		{
			name:       "the walsender is not asked whether its log reaches the watermark",
			fails:      []string{"replication TestConnectRefusesWhatCannotGoOn"},
			edits:      []edit{{"replication/source.go", "	case from > end:", "	case end < 1:"}},
			equivalent: "the slot's own check comes first; this one is for a server that does not tell the end of its log there (a standby)",
		},
	},
}

var r15 = rule{
	name: "R15",
	says: "a backfill needs a slot: without one W never moves and a sweep proves nothing",
	mutants: []mutant{
		{
			name:  "a job is opened for a pipeline without a slot",
			fails: []string{"sink TestAJobNeedsASlot"},
			edits: []edit{
				{"sql/queries/sink_pipeline_lock.sql", " AND watermark IS NOT NULL", ""},
				{"sql/queries/sink_pipeline_lock.sql", "SELECT epoch, watermark,", "SELECT epoch, coalesce(watermark, '0/1'),"},
			},
		},
		{
			name:  "a backfill runs and sweeps although the slot is gone",
			fails: []string{"cmd/wal2vec TestABackfillNeedsTheSlot"},
			edits: []edit{
				{"internal/backfill/backfill.go", "	if err := f.checkGap(ctx); err != nil {", "	if err := ctx.Err(); err != nil {"},
				{
					"internal/connect/positions.go",
					"	if !state.Exists {",
					`	if state.Name == "" {`,
				},
			},
		},
	},
}
