package doctor

import (
	"context"
	"strings"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication"
)

// usualSwapRole is the one that deploy/roles.sql makes.
const usualSwapRole = "wal2vec_swap"

// examineSwapRole looks at what the function that follows swapped tables runs as, and at which
// columns it would publish. err is of the look at rights.
func (e *examination) examineSwapRole(ctx context.Context, swap replication.Swap, rights replication.SwapRights, err error) {
	const check = "role.swap"
	if !e.could(err, check) {
		return
	}
	if e.opts.Config.Stream.OnSwap != config.SwapFollow || !rights.Exists() {
		e.ok(check, "there is no function that follows swapped tables, or none is needed")
		return
	}
	role, err := swap.Role(ctx, e.source.conn)
	if !e.could(err, check) {
		return
	}
	listed, err := replication.PublishedColumns(ctx, e.source.conn, swap.Publication, swap.Is)
	if !e.could(err, check) {
		return
	}
	name := pgname.Identifier(role.Name)
	switch {
	case len(role.Leave) > 0:
		e.warn(check, inSource(pgname.Script(role.Leave...)+" -- what it follows for another owner takes a swap role of its own: deploy/roles.sql"),
			"the function that follows swapped tables runs as role %s, which %s: the table's owner could make use of it, and no stream calls it",
			name, strings.Join(role.Beyond, ", "))
	case len(role.Drop) > 0:
		e.warn(check, inSource(pgname.Script(role.Drop...)+" -- once you know that no client needs what that drops"),
			"the function that follows swapped tables runs as role %s, which %s: who left that there has its rights for good, and no stream calls it",
			name, strings.Join(role.Beyond, ", "))
	case role.Elsewhere:
		const fix = "drop what is in the other database, once you know that no client needs it; " +
			"or give this database a swap role of its own (wal2vec.swap in deploy/roles.sql)"
		e.warn(check, onServer(fix),
			"the function that follows swapped tables runs as role %s, which %s: the table's owner could make use of it, and no stream calls it",
			name, strings.Join(role.Beyond, ", "))
	case len(role.Beyond) > 0:
		fix := "wal2vec init --swap-role " + usualSwapRole + " " + pgname.Flag("grant-stream", rights.Role) + "  # as the admin, after deploy/roles.sql"
		repair := inShell(fix)
		if role.Name == usualSwapRole { // it serves another pipeline
			repair = onServer("give this pipeline a swap role of its own (wal2vec.swap in deploy/roles.sql), " +
				"then run wal2vec init with --swap-role and that role")
		}
		e.warn(check, repair,
			"the function that follows swapped tables runs as role %s, which %s: the table's owner could make use of it, and no stream calls it",
			name, strings.Join(role.Beyond, ", "))
	case len(role.Open) > 0:
		e.warn(check, inSource(pgname.Script(role.Close...)),
			"the function that follows swapped tables runs as role %s, which %s: another role could act as it, and no stream calls it",
			name, strings.Join(role.Open, ", "))
	case len(role.Odd) > 0:
		e.warn(check, inSource(pgname.Script(role.Ends...)+" -- once you know that no client needs it"),
			"role %s, as which the function that follows swapped tables runs, has what may have been left there: %s", name, strings.Join(role.Odd, ", "))
	case len(role.Given) > 0:
		fix := onServer("have the role that gave it take it back")
		if len(role.Back) > 0 {
			fix = inSource(pgname.Script(role.Back...))
		}
		e.warn(check, fix, "others gave role %s, as which the function that follows swapped tables runs, rights to %s: the table's owner could use them",
			name, strings.Join(role.Given, ", "))
	case rights.Altered:
		e.warn(check, inShell("wal2vec init  # as the role that set the pipeline up"),
			"the function that follows swapped tables is not as this version of init makes it: no stream calls it")
	case len(role.Creates) > 0:
		e.warn(check, inSource(pgname.Script(role.Creates...)),
			"the function that follows swapped tables runs as role %s, which may still create in the database, or in the table's schema or public: "+
				"only the hand-over needed that", name)
	case !rights.Lists(listed):
		e.warn(check, inShell("wal2vec init  # as the role that set the pipeline up"),
			"publication %s lists other columns of %s than the function that follows swapped tables knows, and publishes once this one is dropped",
			pgname.Identifier(swap.Publication), e.opts.Config.Source.Table)
	default:
		e.ok(check, "the function that follows swapped tables runs as role %s, which can do nothing beyond that", name)
	}
}
