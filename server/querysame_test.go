package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// story is what two forwarders write, with samples that come late, in the order of time.
type story struct {
	sources []*source
	random  *rand.Rand
	now     int64
	counter float64
}

func newStory(t *testing.T, seed uint64) *story {
	s := &story{sources: []*source{newSourceAt(t, t0), newSourceAt(t, t0)}, random: rand.New(rand.NewPCG(seed, 15)), now: t0}
	for _, src := range s.sources {
		src.tickAt(t0) // by which a server is known to have the log
	}
	return s
}

// goOn writes until a time.
func (s *story) goOn(until int64) {
	for s.now < until {
		s.now += 1 + s.random.Int64N(3*second)
		src := s.sources[s.random.IntN(len(s.sources))]
		var points []point
		for range s.random.IntN(5) {
			n := s.random.IntN(6)
			s.counter += s.random.Float64()
			at := s.now - s.random.Int64N(2*second)
			if s.random.IntN(4) == 0 {
				at = s.now - s.random.Int64N(40*second) // late
			}
			p := point{series: fmt.Sprintf(`m{a="%d",b="%d"}`, n, (7*n+2)%4), t: at, v: s.counter}
			if s.random.IntN(10) == 0 {
				p.v = staleNaN
			}
			points = append(points, p)
		}
		src.writeAt(s.now, points...)
	}
	for _, src := range s.sources {
		src.tickAt(s.now)
	}
}

// expressions that depend on which samples an evaluation has, and in which order.
var expressions = []string{
	"m", "sum(rate(m[1m]))", "count_over_time(m[30s])", "sum by (a) (m) > 3", "scalar(sum(m))",
	"topk(1, count by (b) (m))", "topk(1, (m > bool 1) + (m > bool 1))", "topk(1, (m > bool 1) or (m offset 20s > bool 1))",
	"topk(1, label_replace(m > bool 1, 'c', '$1', 'b', '(.*)'))", "sum(sum by (b) (m))", "stddev(m * on (a, b) m)",
}

// byStep is what a query said of each step, however it was cut into responses.
func byStep(t *testing.T, r *results) map[int64]string {
	t.Helper()
	steps := map[int64][]string{}
	for _, m := range r.messages {
		for _, ts := range m.GetTimeseries() {
			labels := strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(&metricsv1.TimeSeries{Labels: ts.GetLabels()})), " ")
			for _, v := range ts.GetSamples() {
				wire, err := proto.Marshal(v)
				require.NoError(t, err)
				steps[v.GetTimestamp()] = append(steps[v.GetTimestamp()], fmt.Sprintf("%s %x", labels, wire))
			}
		}
	}
	said := map[int64]string{}
	for at, of := range steps {
		require.True(t, slices.IsSorted(of), "series are sorted")
		require.Len(t, slices.Compact(slices.Clone(of)), len(of), "nothing is there twice")
		said[at] = strings.Join(of, "\n")
	}
	return said
}

// Three servers that got two forwarders' logs in other orders and at other times say the
// same of each step: live, later, and where a client moves from one to the next. So they do
// however little comes at a time.
func TestQueriesAreTheSameEverywhere(t *testing.T) {
	for _, onChange := range []bool{false, true} {
		t.Run(fmt.Sprint(onChange), func(t *testing.T) { sameEverywhere(t, uint64(len(fmt.Sprint(onChange))), onChange) })
	}
}

func sameEverywhere(t *testing.T, seed uint64, onChange bool) {
	s := newStory(t, seed)
	first := startFed(t, testConfig(t), s.sources...)
	other := start(t, testConfig(t))
	for _, src := range slices.Backward(s.sources) {
		src.feed(other.Server)
	}
	s.goOn(t0 + 60*second)
	request := func(expression string) *queryRequest {
		return &queryRequest{Expression: expression, Step: secs(5), Delay: secs(7), LabelReferences: true, OnChange: onChange}
	}
	// Each is followed live from the first step on.
	live := make([]*results, len(expressions))
	recv := make([]queryReceiver, len(expressions))
	for i, x := range expressions {
		req := request(x)
		req.Follow, req.Start, req.HeartbeatInterval = true, sinceQuery(t0), durationpb.New(100*time.Millisecond)
		live[i], recv[i] = newResults(t), first.query(t, req)
	}
	cursors := make([][]string, len(expressions))
	for end := int64(60); end <= 180; end += 11 {
		s.goOn(t0 + end*second)
		last := (s.now - 7*second) / (5 * second) * 5 * second
		for i := range expressions {
			live[i].until(recv[i], upTo(last))
			cursors[i] = append(cursors[i], live[i].cursor)
		}
	}
	// A late server has all of it at once.
	late := startFed(t, testConfig(t), s.sources...)
	other.await(t, s.sources...)
	for i, x := range expressions {
		want := byStep(t, live[i])
		require.NotEmpty(t, want)
		for name, srv := range map[string]*instance{"first": first, "second": other, "late": late} {
			req := request(x)
			req.Start = sinceQuery(t0)
			got := newResults(t).all(srv.query(t, req))
			require.Equal(t, want, byStep(t, got), "%s at the %s server", x, name)
			require.Equal(t, live[i].late, got.late, "%s at the %s server", x, name)
			for _, c := range cursors[i] {
				moved := request(x)
				moved.Start = afterQuery(c)
				after := newResults(t)
				after.all(srv.query(t, moved))
				for at, said := range byStep(t, after) {
					require.Equal(t, want[at], said, "%s at the %s server", x, name)
				}
			}
		}
	}
}

// A client that moves after each response, wherever that is, has each step once.
func TestQueryMoves(t *testing.T) {
	s := newStory(t, 3)
	servers := []*instance{startFed(t, testConfig(t), s.sources...), startFed(t, testConfig(t), s.sources...), startFed(t, testConfig(t), s.sources...)}
	s.goOn(t0 + 120*second)
	for _, srv := range servers {
		srv.await(t, s.sources...)
	}
	binary := slices.DeleteFunc(slices.Clone(protocols), func(p protocol) bool { return p.lossy })
	for _, x := range expressions {
		req := &queryRequest{Expression: x, Step: secs(1), Delay: secs(7), Start: sinceQuery(t0), LabelReferences: true}
		want := byStep(t, newResults(t).all(servers[0].query(t, req)))
		got := newResults(t)
		for i := 0; got.last.GetEnd() == nil; i++ {
			if got.cursor != "" {
				req.Start = afterQuery(got.cursor)
			}
			clear(got.labels)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			recv := binary[i%len(binary)].openQuery(t, ctx, servers[i%len(servers)].RPCAddr().String(), req)
			// It is cut after a response; what is not a whole step would come again.
			m, err := recv()
			require.NoError(t, err)
			got.add(m)
			cancel()
		}
		require.Equal(t, want, byStep(t, got), x)
	}
}
