package stored

import (
	"context"
	"math"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
)

const (
	// eachTime is how often the time is sent at least: it goes on by itself where a log is
	// left out.
	eachTime = time.Second
	// betweenTimes is how often it is at most.
	betweenTimes = 100 * time.Millisecond
)

// FollowTime serves a call.
func (c *Calls) FollowTime(ctx context.Context, from call.Caller, req *queryv1.FollowTimeRequest, out *connect.ServerStream[call.Response]) error {
	admitted, err := c.Calls.AdmitReader(ctx, from)
	if err != nil {
		return err
	}
	defer admitted.Leave()
	admitted.Started("time")
	to := call.NewSender(admitted, out, func() proto.Message { return new(queryv1.FollowTimeResponse) })
	return admitted.Ended("", c.followTime(admitted.Context(), req, to))
}

func (c *Calls) followTime(ctx context.Context, req *queryv1.FollowTimeRequest, to *call.Sender) error {
	tick := time.NewTicker(eachTime)
	defer tick.Stop()
	for {
		changed := c.Clock.Changed()
		held, _ := c.Clock.HeldBy()
		if err := refusing(&refusal.AwayError{Groups: held, Time: true}, req.GetWhenAway()); err != nil {
			return err
		}
		wire, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, call.PrefixSize), c.now(held))
		if err != nil {
			return err
		}
		if err := to.Send(wire); err != nil {
			return err
		}
		if err := backoff.Sleep(ctx, betweenTimes); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// now is the time, which some groups hold back, as a message.
func (c *Calls) now(held []string) *queryv1.FollowTimeResponse {
	m := &queryv1.FollowTimeResponse{Away: held}
	if ms, ok := c.Clock.Passed(); ok {
		m.Time = &ms
	}
	if ms := c.Clock.Began(); ms != math.MaxInt64 {
		m.Began = &ms
	}
	if ms := c.Clock.Lost(); ms != math.MinInt64 {
		m.Lost = &ms
	}
	return m
}
