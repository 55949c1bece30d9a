package main

const fullFile = "sql/queries/sink_full_backfill.sql"

var coverage = rule{
	name: "Coverage",
	says: "rows are said to be all there only where each of them was read, or the stream brings it",
	mutants: []mutant{
		{
			name:  "a backfill with a limit counts as a full one",
			fails: []string{"sink TestOnlyAJobThatReadsEveryRowIsAFullBackfill"},
			edits: []edit{{fullFile, "b.outcome = 'swept'", "b.outcome IN ('swept', 'limit')"}},
		},
		{
			name:  "an open backfill counts as a full one",
			fails: []string{"sink TestOnlyAJobThatReadsEveryRowIsAFullBackfill"},
			edits: []edit{{fullFile, "b.outcome = 'swept'", "(b.open OR b.outcome = 'swept')"}},
		},
		{
			name:  "a refresh that is open is not told",
			fails: []string{"sink TestARefreshThatIsOpenIsTold"},
			edits: []edit{{fullFile, "b.open AND b.resync", "b.open AND b.resync AND NOT b.resync"}},
		},
		{
			name:  "the build of a generation is no full backfill",
			fails: []string{"sink TestTheBuildOfAGenerationReadsEveryRow"},
			edits: []edit{{fullFile, "b.outcome = 'swept'", "b.outcome = 'swept' AND b.mode <> 'build'"}},
		},
		{
			name:  "after a TRUNCATE a backfill is asked for",
			fails: []string{"sink TestWhereTheStreamBringsEveryRowThereIsNothingToBackfill"},
			edits: []edit{{fullFile, "p.truncated_at IS NOT NULL", "false"}},
		},
		{
			name:  "an empty table is believed before it is durable",
			fails: []string{"replication/rows TestAnEmptyTableIsEmptyForGood"},
			edits: []edit{{"replication/rows/about.go", "r.WaitFlushed(ctx, shown)", "r.WaitFlushed(ctx, min(1, shown))"}},
		},
		{
			name:  "a table of deleted rows is not empty",
			fails: []string{"replication/rows TestAboutRows/18"},
			edits: []edit{{"sql/queries/source_few.sql", "{{if .Deleted}}", "{{if not .Deleted}}"}},
		},
	},
}
