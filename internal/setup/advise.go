package setup

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

// An advice that is followed must not give the role of a stream or a search what the role that sets
// pipelines up is to have.

// gives is an advice that gives a role rights on the table, or a membership, or drops a slot: of
// which pipeline that is, only the role that sets pipelines up is shown. CONNECT is what every role
// needs.
var gives = regexp.MustCompile(`^(BEGIN; (DO E?'(?:[^']|'')*'; )?)?` +
	`(GRANT (SELECT|USAGE|")|ALTER ROLE |CREATE POLICY |CREATE ROLE )|pg_drop_replication_slot`)

// makesMember is an advice that makes a role a member of another.
var makesMember = regexp.MustCompile(`GRANT "|GRANT U&"`)

// Advise puts the advice of an error of init right for the role that ran init: what it lacks is to
// be given to it where it is the one that sets pipelines up here; any other is told which one that
// is.
func Advise(ctx context.Context, c config.Config, log zerolog.Logger, err error) error {
	publisher, publishes := errors.AsType[*replication.PublisherError](err)
	attribute, lacks := errors.AsType[*replication.AttributeError](err)
	if !publishes && !lacks && (fault.KindOf(err) != fault.Usage || !gives.MatchString(fault.Try(err))) {
		return err
	}
	standing, asking := standingOf(ctx, c, log)
	untrusted, planted := errors.AsType[*sink.UntrustedError](asking)
	switch {
	case planted: // whose schema it is decides which role is named
		return untrusted
	case asking != nil:
		log.Debug().Err(asking).Msg("asking which role sets pipelines up")
		return fault.Instead(err, "run wal2vec init as the role that sets pipelines up")
	case standing.SetsUp == "" && (publishes || lacks):
		return err
	case standing.SetsUp == "" && makesMember.MatchString(fault.Try(err)): // nothing is set up, and this role could not
		return fault.Instead(err, "run wal2vec init as the role that is to set pipelines up (deploy/roles.sql makes one)")
	case standing.SetsUp == "":
		begins := " -- if role "
		if strings.Contains(fault.Try(err), " -- ") {
			begins = "; if role "
		}
		return fault.Instead(err, fault.Try(err)+begins+pgname.Identifier(standing.Role)+" is the one that is to set pipelines up")
	case standing.SetsUp != standing.Role && standing.SetsUp != "":
		return fault.Instead(err, "run wal2vec init as role "+pgname.Identifier(standing.SetsUp))
	case publishes && publisher.Role == standing.Role: // on another server it may be another's name
		return fault.Instead(err, fmt.Sprintf("GRANT %s TO %s; -- or run wal2vec init as role %[1]s",
			pgname.Identifier(publisher.Owner), pgname.Identifier(publisher.Role)))
	case lacks && attribute.Role == standing.Role:
		return fault.Instead(err, replication.GrantReplicationSQL(attribute.Role))
	default:
		return err
	}
}

// standingOf asks what this role is for in the sink.
func standingOf(ctx context.Context, c config.Config, log zerolog.Logger) (sink.Standing, error) {
	ctx = context.WithoutCancel(ctx)
	store, err := connect.OpenStore(ctx, c, log, "init")
	if err != nil {
		return sink.Standing{}, err
	}
	defer store.Close()
	if _, err := store.Trusted(ctx); err != nil {
		return sink.Standing{}, err
	}
	return store.Standing(ctx)
}
