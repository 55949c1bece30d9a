package setup

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

// swapping describes the table for the function that follows swapped ones. Which columns a role
// gets to read is the settings' to say, not the sink's: of what other generations read besides, the
// function goes on to give what it gives already.
func (s *Init) swapping(ctx context.Context) (replication.Swap, error) {
	swap := SwapOf(s.Config, connect.InspectOptions(s.Config), s.Table.Key, s.Table.OID)
	swap.RunAs = strings.Join(s.options.SwapRole, "")
	swap.Shared, swap.Readers, swap.Printed = s.shared, s.options.GrantRead, s.options.PrintSQL
	state, found, err := s.Store.Registered(ctx)
	if err != nil || !found || len(state.Generations) == 0 {
		return swap, err
	}
	template, err := state.Template()
	swap.Besides = template.Columns()
	return swap, err
}

// planFunction returns the statements that let roles stream from the source: what they may read,
// and the function that prepares swapped tables for them, and for this role where it does not own
// table and publication itself. A function that is there is brought up to date. One that would run
// as a role with more than the rights of the table's owner is not made, and taken from its callers:
// s.unfit says so.
func (s *Init) planFunction(ctx context.Context) ([]string, error) {
	swap, err := s.swapping(ctx)
	if err != nil {
		return nil, err
	}
	statements, err := replication.StreamGrantsSQL(ctx, s.Source, swap, s.reading())
	if err == nil && !connect.FollowsSwaps(s.Config) && swap.RunAs != "" {
		err = fault.New(fault.Usage, "leave out --swap-role, or set stream.on_swap: follow",
			"stream.on_swap is %s: there is no function for role %q", s.Config.Stream.OnSwap, swap.RunAs)
	}
	if err != nil || !connect.FollowsSwaps(s.Config) {
		return statements, err
	}
	roles := s.options.GrantStream
	rights, err := swap.Rights(ctx, s.Source)
	if err != nil {
		return nil, err
	}
	exists, err := replication.PublicationExists(ctx, s.Source, s.Config.Source.Publication)
	if err != nil {
		return nil, err
	}
	if exists && !rights.May() { // who makes the publication owns it
		roles = append([]string{rights.Role}, roles...)
	}
	function, err := replication.SwapFunctionSQL(ctx, s.Source, swap, roles)
	s.unfit = nil
	if errors.Is(err, replication.ErrUnfitRole) && swap.RunAs == "" {
		s.unfit, err = err, nil
	} else if err == nil && s.options.PrintSQL && len(function) > 0 && swap.RunAs == "" {
		owned, err := swap.OwnedSQL(ctx, s.Source, !exists)
		if err != nil {
			return nil, err
		}
		function = append(function, owned...)
	}
	return slices.Concat(function, statements), err
}

// reading are the roles that get the columns which a stream reads: those that stream only where no
// other role is to read for them.
func (s *Init) reading() []string {
	if s.Config.Source.ReadDSN != "" {
		return s.options.GrantRead
	}
	return slices.Concat(s.options.GrantStream, s.options.GrantRead)
}

// planSource returns the statements of planFunction, and those that come before all for the source,
// where they are printed: the names in them keep their meaning.
func (s *Init) planSource(ctx context.Context) (pins, function []string, err error) {
	if function, err = s.planFunction(ctx); err != nil || !s.options.PrintSQL {
		return nil, function, err
	}
	pins, err = replication.PinSQL(ctx, s.Source, s.Table)
	return pins, function, err
}

// planRevocation returns the statements that take back what roles were given in the source, and a
// line for each that keeps something for another pipeline. One that is given it again in the same
// run keeps it.
func (s *Init) planRevocation(ctx context.Context) (statements, kept []string, err error) {
	swap, err := s.swapping(ctx)
	if err != nil {
		return nil, nil, err
	}
	if statements, err = replication.RevokeStreamSQL(ctx, s.Source, swap, s.revoked()...); err != nil {
		return nil, nil, err
	}
	kept, err = replication.Kept(ctx, s.Source, swap, s.revoked()...)
	return statements, kept, err
}

func (s *Init) findStreamers(ctx context.Context) error {
	if len(s.options.Revoke) == 0 {
		return nil
	}
	roles, err := s.Store.Roles(ctx)
	if err != nil {
		return err
	}
	s.streamers, s.left, s.shared = nil, nil, shared(s.Config, roles)
	revoke := slices.Clone(s.options.Revoke)
	for _, role := range roles {
		revoke = slices.DeleteFunc(revoke, func(name string) bool { return name == role.Role })
		if role.Access == sink.Write {
			s.streamers = append(s.streamers, role.Role)
		}
	}
	swap, err := s.swapping(ctx)
	if err != nil {
		return err
	}
	if s.left, err = replication.MayFollow(ctx, s.Source, swap, revoke...); err != nil {
		return err
	}
	// Where tables are not followed, no function names the role that reads.
	if reader := connect.Reader(s.Config); slices.Contains(revoke, reader) && !slices.Contains(s.left, reader) {
		s.left = append(s.left, reader)
	}
	s.streamers = append(s.streamers, s.left...)
	return nil
}

// revoked are the roles that lose what --grant-stream or --grant-read gave them in the source. A
// role that only searches was given nothing there: what it may read is somebody else's to take.
func (s *Init) revoked() []string {
	return slices.DeleteFunc(slices.Clone(s.options.Revoke), func(role string) bool {
		return slices.Contains(s.options.GrantStream, role) || slices.Contains(s.options.GrantRead, role) || !slices.Contains(s.streamers, role)
	})
}

// takeBack takes what roles may do in the source.
func (s *Init) takeBack(ctx context.Context) error {
	if len(s.options.Revoke) == 0 {
		return nil
	}
	swap, err := s.swapping(ctx)
	if err != nil {
		return err
	}
	statements, err := replication.RevokeStream(ctx, s.Source, swap, s.revoked()...)
	s.rights = append(s.rights, rightsIn(statements)...)
	if err != nil {
		return err
	}
	kept, err := replication.Kept(ctx, s.Source, swap, s.revoked()...)
	for _, line := range kept {
		s.rights = append(s.rights, "left in the source: "+pgname.Visible(line))
	}
	return err
}

// makeFunction makes the function where this role may; it is of use only where its owner owns table
// and publication. That somebody else has to make it is no reason for init to fail: until then a
// swapped table is a gap.
func (s *Init) makeFunction(ctx context.Context) error {
	statements, err := s.planFunction(ctx)
	s.sayUnfit()
	if err != nil {
		return err
	}
	swap, err := s.swapping(ctx)
	if err == nil {
		err = s.sayOdd(ctx, swap)
	}
	if err != nil || len(statements) == 0 {
		return err
	}
	rights, err := swap.Rights(ctx, s.Source)
	if err != nil {
		return err
	}
	if rights.Owns() {
		if err = swap.EnsureFunction(ctx, s.Source, statements, s.reading()...); err == nil {
			s.rights = append(s.rights, rightsIn(statements)...)
		}
	}
	if !rights.Owns() || fault.KindOf(err) == fault.Usage {
		s.Log.Warn().Err(err).Str("role", rights.Role).Str("try", "have the owner run what wal2vec init --print-sql prints").
			Msg("a table that takes the place of the source table, as dbt's table models do, cannot be followed with this role's rights")
		return nil
	}
	return err
}

// sayOdd warns of functions of the swap role that may be of no pipeline, and of roles that may call
// this one's and do not stream.
func (s *Init) sayOdd(ctx context.Context, swap replication.Swap) error {
	if !connect.FollowsSwaps(s.Config) {
		return nil
	}
	role, err := swap.Role(ctx, s.Source)
	if err == nil && len(role.Odd) > 0 {
		s.Log.Warn().Str("role", role.Name).Str("try", pgname.Script(role.Ends...)).
			Msg("what belongs to the role that follows swapped tables may have been left there: " + pgname.Visible(strings.Join(role.Odd, ", ")))
	}
	return err
}

// sayUnfit warns where there is no role that the function could run as: until then a swapped table
// is a gap, as without the function.
func (s *Init) sayUnfit() {
	if s.unfit != nil {
		s.Log.Warn().Err(s.unfit).Str("try", fault.Try(s.unfit)).
			Msg("a table that takes the place of the source table, as dbt's table models do, is not followed: no role is there that its function could run as")
	}
}
