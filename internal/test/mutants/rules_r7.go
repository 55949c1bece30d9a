package main

const swapFile = "replication/swap.go"

var r7 = rule{
	name: "R7",
	says: "a table that was replaced by another of its name is noticed, and followed in a new epoch, once the log brings all that happens to it",
	mutants: []mutant{
		{
			name:  "a replaced table is streamed on",
			fails: []string{"replication TestConnectRefusesWhatCannotGoOn"},
			edits: []edit{{"replication/swap.go", "	case now != table.OID:", "	case now < 1:"}},
		},
		{
			name:  "the start does not look at the publication",
			fails: []string{"replication TestConnectRefusesWhatCannotGoOn"},
			edits: []edit{{
				"replication/source.go",
				"	return state, s.checkPublication(ctx, conn)",
				"	return state, nil",
			}},
		},
		{
			name:  "a running stream hardly looks at the table", // one that never does makes the test wait for ever
			fails: []string{"internal/pipeline TestTheTableIsCheckedNowAndThen"},
			edits: []edit{{"internal/pipeline/housekeeping.go", "	checkInterval = time.Second", "	checkInterval = 10 * time.Minute"}},
		},
		{
			name: "the new table's transactions are not waited for",
			fails: []string{
				"internal/test/protocol TestACommitOnTheNewTableIsWaitedForWhereverItIsRead",
				"replication/pgoutput TestTheSuccessorsTransactionsAreOnlyWaitedFor",
			},
			edits: []edit{
				{"replication/stream.go", "	s.decoder.Await(opts.Successor)\n", ""},
				{"replication/pgoutput/decoder.go", "	if d.successor == 0 || oid != d.successor {", "	if oid != 1 {"},
			},
		},
		{
			name:  "a table that is published already is taken for one without a writer in flight",
			fails: []string{"internal/test/protocol TestACommitOnTheNewTableIsWaitedForWhereverItIsRead"},
			edits: []edit{{swapFile, "		err = s.waitForWriters(ctx, conn)\n", "		_, err = Writers(ctx, conn, s.Is)\n"}},
		},
		{
			name:  "the new table is published beside its writers",
			fails: []string{"replication TestANewTableIsNotPublishedWhileAWriterIsInFlight"},
			edits: []edit{
				{
					swapFile,
					`statement.Run(ctx, tx, fmt.Sprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", name))`,
					`statement.Run(ctx, tx, "SELECT 1")`,
				},
				{ // the others take locks of their own
					swapFile, "	statements := slices.Concat(left.alters, left.rest)\n	if left.index != \"\" {",
					`	var statements []string
	for _, step := range left.rest {
		if strings.HasPrefix(step, "ALTER PUBLICATION") {
			statements = append(statements, step)
		}
	}
	if left.index == "-" {`,
				},
			},
		},
		{
			name:  "the new table is published without an identity",
			fails: []string{"replication TestANewTableGetsWhatItLacks"},
			edits: []edit{{swapFile, "	left.alters = append(left.alters, i.lacks.identities...)\n", ""}},
		},
		{
			name:  "a swap does not begin an epoch",
			fails: []string{"sink TestASwappedTableBeginsAnEpoch"},
			edits: []edit{{
				"sql/queries/sink_swap.sql",
				"SET epoch = $3, source_oid = $6, owner = NULL",
				"SET source_oid = $6, owner = NULL, partial_until = CASE WHEN $3::bigint = 0 THEN NULL ELSE partial_until END",
			}},
		},
		{
			name:  "a swap is finished below the position from which on the new table is read",
			fails: []string{"sink TestASwapIsRefused"},
			edits: []edit{{"sql/queries/sink_swap.sql", "watermark >= $7::pg_lsn", "$7::pg_lsn IS NOT NULL"}},
		},
		{
			name:  "a session does not wait for that position",
			fails: []string{"internal/pipeline TestASwapIsFinishedWhenTheWatermarkHasPassedIt"},
			edits: []edit{{"internal/pipeline/swap.go", "due != 0 && se.writer.Watermark() >= due", "due != 0"}},
		},
		{
			name:  "a swap is finished for any process that streams now",
			fails: []string{"sink TestASwapIsRefused"},
			edits: []edit{{"sql/queries/sink_swap.sql", "owner = $4 AND source_oid", "$4::text IS NOT NULL AND source_oid"}},
		},
		{
			name:  "a swap leaves no refresh",
			fails: []string{"sink TestASwappedTableBeginsAnEpoch"},
			edits: []edit{{
				startFile,
				"		if err := s.refreshAgain(ctx, tx, next, watermark, true); err != nil {",
				"		if _, err := tx.Exec(ctx, s.query(\"jobs_void\"), s.pipeline, next, watermark); err != nil {",
			}},
		},
		{
			name:  "a target is reached while the table's place is taken",
			fails: []string{"internal/pipeline TestUntilCurrentFollowsASwapFirst"},
			edits: []edit{{"internal/pipeline/session.go", "		if !s.swapping() {", "		if s.target != 0 {"}},
		},
	},
}
