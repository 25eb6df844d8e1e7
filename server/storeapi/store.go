package storeapi

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

// Shared is what the calls need of a server.
type Shared struct {
	External External
	Samples  *samples.Store
	// Engine has the turns and the memory of those who evaluate.
	Engine *promql.Engine
	Calls  *call.Calls
}

// Store answers the calls of a server.
type Store struct{ Shared }

// New returns one.
func New(from Shared) *Store { return &Store{from} }

// Series sends the series of a request. It is a stream for its caller's limits.
func (s *Store) Series(ctx context.Context, from call.Caller, req *thanos.SeriesRequest, out *connect.ServerStream[call.Response]) error {
	c, err := s.Calls.AdmitReader(ctx, from)
	if err != nil {
		return err
	}
	defer c.Leave()
	c.Started("store")
	sender := call.NewSender(c, out, func() proto.Message { return new(thanos.SeriesResponse) })
	return c.Ended("", s.series(c.Context(), from.Viewer(), req, sender.SendAll))
}

func (s *Store) series(ctx context.Context, v selection.Viewer, req *thanos.SeriesRequest, send func(envelopes []byte) error) error {
	m, err := s.matching(ctx, v, req.GetMatchers())
	if err != nil || m.none {
		return err
	}
	f := found{
		dict: newDictionary(s.External.without(req.GetWithoutReplicaLabels())),
		hold: s.Engine.Hold(v), shard: shardOf(req.GetShardInfo()),
		wanted: span{req.GetMinTime(), req.GetMaxTime()}, labelsOnly: req.GetSkipChunks() && !exact(v),
	}
	defer f.hold.Release()
	q := samples.Query{Sets: m.sets, From: f.wanted.from, To: f.wanted.to, LabelsOnly: f.labelsOnly}
	if err := s.Engine.InTurn(ctx, v, func(ctx context.Context) error { return f.find(ctx, s.Samples, v, q) }); err != nil {
		return err
	}
	sending := sending{found: &f, send: send, exact: exact(v), bare: req.GetSkipChunks()}
	return sending.all(req.GetLimit())
}

// exact says that a caller is told by single samples which series there are, and what they
// have. How chunks are cut depends on series that it may not see.
func exact(v selection.Viewer) bool { return v.Allowed != nil }

// serving says why a call is refused, nil if it is not.
func (s *Store) serving() error {
	if err := s.Calls.Serving(); err != nil {
		return refusal.Unavailable(err, "")
	}
	return nil
}
