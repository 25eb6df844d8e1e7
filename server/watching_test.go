package server_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
)

// A stream that sleeps through the blocks of others sends what one sends that is woken for
// each block, with the same cursors, and a stream that goes on anywhere, at any server, has
// the rest. The one that is woken for each has the same series by selectors that scan.
func TestStreamsThatSleepAreTheSame(t *testing.T) {
	src := newSource(t)
	random := rand.New(rand.NewPCG(1, 2))
	written := 0
	write := func() {
		var points []point
		for range 1 + random.IntN(5) {
			// The later, the more series there are.
			points = append(points, point{series: name(random.IntN(10 + written/2)), t: now(), v: float64(written)})
			written++
		}
		src.write(points...)
	}
	write()
	s, other := startFed(t, testConfig(t), src), startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		open := func(s *instance, start string, selectors ...string) receiver {
			req := &getRequest{Follow: true, Selectors: selectors, HeartbeatInterval: durationpb.New(time.Hour), LabelReferences: true}
			if start != "" {
				req.Start = after(start)
			}
			return p.open(t, ctx, s.RPCAddr().String(), req)
		}
		chosen := []string{`m{i="00003"}`, `m{i="00007"}`, `m{i="00021"}`, `m{i=~"00033|00055"}`}
		slept, woken := open(s, "", chosen...), open(s, "", `{i=~"000(0[37]|21|33|55).*"}`)
		until(t, slept, isSynced)
		begin := lastCursor(until(t, woken, isSynced))

		var got []*getResponse
		var middle string // the cursor after some of them
		var some int
		for i := range 60 {
			write()
			write()
			// Whatever is in the block before, this one has a sample for both, by which they have
			// come to the same block.
			src.write(point{series: name(3), t: now(), v: float64(written)})
			end := hasLast(float64(written))
			a, b := until(t, slept, end), until(t, woken, end)
			require.Equal(t, encodedSeries(b), encodedSeries(a))
			require.Equal(t, lastCursor(b), lastCursor(a))
			got = append(got, a...)
			if i == 30 {
				middle, some = lastCursor(a), len(encodedSamples(got))
			}
			written++
		}
		all := encodedSamples(got)
		for _, s := range []*instance{s, other} {
			end := hasLast(float64(written - 1))
			require.Equal(t, all, encodedSamples(until(t, open(s, begin, chosen...), end)))
			require.Equal(t, all[some:], encodedSamples(until(t, open(s, middle, chosen...), end)))
		}
	})
}

// What is held back of a stream that sleeps is sent in time, with a cursor that covers what
// it has passed over.
func TestStreamsThatSleepHoldBack(t *testing.T) {
	src := newSource(t)
	src.write(point{series: name(1), t: now(), v: 1}, point{series: name(2), t: now(), v: 1})
	s := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req := &getRequest{Follow: true, Selectors: []string{`m{i="00001"}`}, MinInterval: millis(100), HeartbeatInterval: durationpb.New(time.Hour)}
		recv := p.open(t, ctx, s.RPCAddr().String(), req)
		until(t, recv, isSynced)
		for v := 1.0; v < 4; v++ {
			first := src.write(point{series: name(1), t: now(), v: v})
			for range 5 {
				src.write(point{series: name(2), t: now(), v: v})
			}
			got := until(t, recv, hasLast(v))
			c, err := cursor.Parse(lastCursor(got))
			require.NoError(t, err)
			require.GreaterOrEqual(t, c.Positions[0].Sequence, first)

			req.Start = after(lastCursor(got))
			again := p.open(t, ctx, s.RPCAddr().String(), req)
			src.write(point{series: name(1), t: now(), v: -v})
			require.Len(t, encodedSamples(until(t, again, hasLast(-v))), 1, "nothing twice")
			until(t, recv, hasLast(-v))
		}
	})
}

// A heartbeat of a stream that sleeps has the position that the log has come to.
func TestHeartbeatsOfStreamsThatSleepMoveOn(t *testing.T) {
	src := newSource(t)
	src.write(point{series: name(1), t: now(), v: 1}, point{series: name(2), t: now(), v: 1})
	s := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true, Selectors: []string{`m{i="00001"}`}, HeartbeatInterval: millis(100)})
		until(t, recv, isSynced)
		last := src.write(point{series: name(2), t: now(), v: 2})
		until(t, recv, func(r *getResponse) bool {
			require.Empty(t, r.GetTimeseries())
			c, err := cursor.Parse(r.GetCursor())
			require.NoError(t, err)
			return c.Positions[0].Sequence == last
		})
	})
}

// encodedSeries are the series of responses, each block's by themselves, as they are
// encoded: how many blocks a response has depends on when the stream came to them.
func encodedSeries(responses []*getResponse) (texts []string) {
	for _, r := range responses {
		for _, ts := range r.GetTimeseries() {
			texts = append(texts, encoded(ts))
		}
	}
	return texts
}

// encodedSamples are the samples of responses in order, without labels, of which a stream
// that goes on elsewhere sends more.
func encodedSamples(responses []*getResponse) (texts []string) {
	for _, r := range responses {
		for _, ts := range r.GetTimeseries() {
			texts = append(texts, encoded(&metricsv1.TimeSeries{Samples: ts.GetSamples()}))
		}
	}
	return texts
}

func encoded(ts *metricsv1.TimeSeries) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(ts)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// hasLast says whether a value is that of the last sample of a response.
func hasLast(value float64) func(*getResponse) bool {
	return func(r *getResponse) bool {
		all := r.GetTimeseries()
		if len(all) == 0 {
			return false
		}
		samples := all[len(all)-1].GetSamples()
		return len(samples) > 0 && samples[len(samples)-1].GetValue() == value
	}
}
