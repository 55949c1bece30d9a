package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

// An advice that is followed must not give the role of a stream or a search what the role that sets pipelines up is to have.

// gives is an advice that gives a role rights on the table, or a membership, or drops a slot: of which pipeline that is, only the role that sets
// pipelines up is shown. CONNECT is what every role needs.
var gives = regexp.MustCompile(`^(BEGIN; )?(GRANT (SELECT|USAGE|")|ALTER ROLE |CREATE POLICY |CREATE ROLE )|pg_drop_replication_slot`)

// forInit puts the advice right for the role that ran init: what it lacks is to be given to it where it is the one that sets pipelines up here; any
// other is told which one that is.
func (p *program) forInit(ctx context.Context, c config.Config, err error) error {
	publisher, publishes := errors.AsType[*replication.PublisherError](err)
	attribute, lacks := errors.AsType[*replication.AttributeError](err)
	if !publishes && !lacks && (fault.KindOf(err) != fault.Usage || !gives.MatchString(fault.Try(err))) {
		return err
	}
	standing, asking := p.standing(ctx, c)
	untrusted, planted := errors.AsType[*sink.UntrustedError](asking)
	switch {
	case planted: // whose schema it is decides which role is named
		return untrusted
	case asking != nil:
		log := p.logger(c.Log)
		log.Debug().Err(asking).Msg("asking which role sets pipelines up")
		return instead(err, "run wal2vec init as the role that sets pipelines up")
	case standing.SetsUp == "" && (publishes || lacks):
		return err
	case standing.SetsUp != standing.Role && standing.SetsUp != "":
		return instead(err, "run wal2vec init as role "+pgname.Identifier(standing.SetsUp))
	case publishes && publisher.Role == standing.Role: // on another server it may be another's name
		return instead(err, fmt.Sprintf("GRANT %s TO %s; -- or run wal2vec init as role %[1]s",
			pgname.Identifier(publisher.Owner), pgname.Identifier(publisher.Role)))
	case lacks && attribute.Role == standing.Role:
		return instead(err, replication.GrantReplicationSQL(attribute.Role))
	default:
		return err
	}
}

// standing asks what this role is for in the sink.
func (p *program) standing(ctx context.Context, c config.Config) (sink.Standing, error) {
	ctx = context.WithoutCancel(ctx)
	store, err := connect.OpenStore(ctx, c, p.logger(c.Log), "init")
	if err != nil {
		return sink.Standing{}, err
	}
	defer store.Close()
	if _, err := store.Trusted(ctx); err != nil {
		return sink.Standing{}, err
	}
	return store.Standing(ctx)
}

// forStream puts the advice right for the role that streams: no other is to be told how to get REPLICATION.
func forStream(ctx context.Context, s *connect.Store, err error) error {
	attribute, lacks := errors.AsType[*replication.AttributeError](err)
	if !lacks {
		return err
	}
	standing, asking := s.Standing(context.WithoutCancel(ctx))
	if asking != nil || !standing.Streams || attribute.Role != standing.Role {
		return err
	}
	return instead(err, replication.GrantReplicationSQL(attribute.Role))
}

// instead gives an error another advice.
func instead(err error, try string) error {
	found, is := errors.AsType[*fault.Error](err)
	if !is {
		return err
	}
	other := *found
	other.Try = try
	return &other
}
