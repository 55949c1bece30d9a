package main

const witnessFile = "replication/witness.go"

var r16 = rule{
	name: "R16",
	says: "the slot brings the last transaction that was written again, and none after it up to the watermark that was not there, or the log is another",
	mutants: []mutant{
		{
			name:  "a transaction in the place of the last one is taken for it",
			fails: []string{"replication TestTheLogIsKnownAgain/another_is_in_its_place", "replication TestTheLogIsKnownAgain/a_part_of_another_was_written"},
			edits: []edit{{witnessFile, "	case w.due && t.LSN >= last.LSN:", "	case w.due && t.LSN < 1:"}},
		},
		{
			name:  "a log without the last transaction is not noticed while nothing comes",
			fails: []string{"replication TestTheLogIsKnownAgain/the_log_has_none_at_all"},
			edits: []edit{{witnessFile, "	if w.due && end >= w.place.Last.LSN {", "	if w.due && end < 1 {"}},
		},
		{
			name: "transactions below the watermark are passed over that were never there",
			fails: []string{
				"replication TestTheLogIsKnownAgain/one_more_below_the_watermark", "replication TestTheLogIsKnownAgain/one_more_after_it",
				"replication TestTheLogIsKnownAgain/none_had_come",
			},
			edits: []edit{{witnessFile, "t.LSN > last.LSN && t.LSN <= w.place.Watermark:", "t.LSN > last.LSN && t.LSN < 1:"}},
		},
		{
			name:  "the slot is confirmed before the log is known",
			fails: []string{"replication TestNothingIsConfirmedBeforeTheLogIsKnown"},
			edits: []edit{{witnessFile, "	if w.settled {\n		return position", "	if w.settled || !w.due {\n		return position"}},
		},
		{
			name:  "a transaction of which a part was written is not noted",
			fails: []string{"internal/pipeline/batch TestTheLastTransactionIsNoted"},
			edits: []edit{{batchFile, "	if f.LSN != 0 {\n		b.last", "	if f.End != 0 {\n		b.last"}},
		},
		{
			name:  "a position forgets the transaction before it",
			fails: []string{"replication TestQueueKeepsTheLastTransactionOfPositions"},
			edits: []edit{{"replication/queue.go", "		if f.LSN == 0 {", "		if f.LSN == 1 {"}},
		},
		{
			name:  "the last transaction is not written",
			fails: []string{"sink TestAWriterMovesTheColumnsThatCame"},
			edits: []edit{{
				"sql/queries/sink_commit_compare_and_set.sql",
				"last_lsn = coalesce($9::pg_lsn, last_lsn)", "last_lsn = coalesce(last_lsn, $9::pg_lsn)",
			}},
		},
		{
			name:  "a new slot keeps the last transaction of the old one",
			fails: []string{"sink TestANewSlotHasNoTransactionYet"},
			edits: []edit{{"sql/queries/sink_start.sql", "last_lsn = $5::pg_lsn, last_xid = NULL, last_committed_at = NULL", "last_lsn = last_lsn"}},
		},
	},
}
