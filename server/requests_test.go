package server_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// testTime is that of the samples.
var testTime = time.UnixMilli(1e12)

var fromTheBeginning = &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(testTime)}

// write is a request of a sender, each of whose samples has a value of its own.
type write struct {
	number, samples int
	rejected        int // of the samples
}

// storeAll stores the requests in this order, as a forwarder does.
func (s *source) storeAll(writes ...write) {
	for _, w := range writes {
		var points []point
		for i := range w.samples - w.rejected {
			points = append(points, point{series: name(i), t: testTime.UnixMilli() + int64(w.number), v: float64(w.number*10000 + i)})
		}
		b := s.block(points...)
		b.Digest = [16]byte{1, byte(w.number)}
		b.Verdict.Samples, b.Verdict.Rejected = uint32(w.samples-w.rejected), uint32(w.rejected)
		s.append(b)
	}
}

// once is what a client has to receive of requests, in any order.
func once(writes ...write) (want []string) {
	for _, w := range writes {
		for i := range w.samples {
			want = append(want, fmt.Sprintf("%s %v @%d", name(i), float64(w.number*10000+i), testTime.UnixMilli()+int64(w.number)))
		}
	}
	slices.Sort(want)
	return want
}

func requireOnce(t testing.TB, want []string, responses ...*getResponse) {
	t.Helper()
	got := lines(responses...)
	slices.Sort(got)
	require.Len(t, got, len(want))
	require.Equal(t, want, got)
}

// Requests that came to two forwarders are delivered once, wherever a stream is broken
// off and at whatever replica it resumes: one that got the one log first, one that got
// the other first, or one that was restarted since.
func TestRepeatedAtAnotherForwarder(t *testing.T) {
	// Large ones take several responses.
	var writes []write
	for n := range 10 {
		writes = append(writes, write{number: n, samples: []int{3000, 7, 1500}[n%3]})
	}
	want := once(writes...)
	left, right := newSource(t), newSource(t)
	left.storeAll(writes[:7]...)
	left.rotate()
	left.storeAll(writes[8])
	for _, n := range []int{9, 3, 0, 7, 6, 1, 4, 8} {
		right.storeAll(writes[n])
		if n == 7 {
			right.rotate()
		}
	}

	config := testConfig(t)
	one, two, again := startFed(t, testConfig(t), left), startFed(t, testConfig(t), right), startFed(t, config, left, right)
	again.stop()
	again = start(t, config)
	var streams [][]*getResponse
	for _, s := range []struct {
		instance *instance
		later    *source
	}{{one, right}, {two, left}} {
		recv := s.instance.call(t, &getRequest{Start: fromTheBeginning, Follow: true})
		whole := until(t, recv, isSynced)
		s.later.feed(s.instance.Server)
		s.instance.await(t, left, right)
		entries := len(lines(whole...))
		whole = append(whole, until(t, recv, func(r *getResponse) bool {
			entries += len(lines(r))
			return entries >= len(want)
		})...)
		requireOnce(t, want, whole...)
		require.Positive(t, s.instance.metric(t, "promgrpc_server_stream_repeats_total"))
		streams = append(streams, whole)
	}
	replicas := []*instance{one, two, again}
	for i := range replicas {
		streams = append(streams, all(t, replicas[i].call(t, &getRequest{Start: fromTheBeginning})))
	}
	for _, whole := range streams {
		for i := range whole {
			for _, next := range replicas {
				rest := all(t, next.call(t, &getRequest{Start: after(whole[i].GetCursor())}))
				requireOnce(t, want, append(slices.Clone(whole[:i+1]), rest...)...)
			}
		}
	}

	// From one to the other after each response.
	random := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		var got []*getResponse
		req := &getRequest{Start: fromTheBeginning}
		for {
			r, err := replicas[random.IntN(len(replicas))].call(t, req)()
			require.NoError(t, err)
			got = append(got, r)
			if r.GetEnd() != nil {
				break
			}
			req = &getRequest{Start: after(r.GetCursor())}
		}
		requireOnce(t, want, got...)
	}
}

// A request that is in a snapshot does not come again from the other log.
func TestRepeatedAfterASnapshot(t *testing.T) {
	left, right := newSource(t), newSource(t)
	left.storeAll(write{number: 1, samples: 5})
	right.storeAll(write{number: 2, samples: 2})
	s := startFed(t, testConfig(t), left, right)
	snapshot := all(t, s.call(t, &getRequest{}))
	right.storeAll(write{number: 1, samples: 5}, write{number: 3, samples: 1})
	s.await(t, right)
	rest := all(t, s.call(t, &getRequest{Start: after(lastCursor(snapshot))}))
	requireOnce(t, once(write{number: 3, samples: 1}), rest...)
}

// Where one forwarder refused a part that the other stored, nothing is lost:
// what both stored may come twice.
func TestRepeatedWithAnotherVerdict(t *testing.T) {
	partly, whole := write{number: 1, samples: 5, rejected: 2}, write{number: 1, samples: 5}
	left, right := newSource(t), newSource(t)
	left.storeAll(partly)
	s := startFed(t, testConfig(t), left)
	recv := s.call(t, &getRequest{Start: fromTheBeginning, Follow: true})
	got := until(t, recv, isSynced)
	require.Len(t, lines(got...), 3)
	right.storeAll(whole, write{number: 2, samples: 1})
	right.feed(s.Server)
	entries := 0
	got = until(t, recv, func(r *getResponse) bool { entries += len(lines(r)); return entries >= 6 })
	requireOnce(t, once(whole, write{number: 2, samples: 1}), got...)

	// The whole one first: the other has nothing that is new.
	other := startFed(t, testConfig(t), right)
	recv = other.call(t, &getRequest{Start: fromTheBeginning, Follow: true})
	requireOnce(t, once(whole, write{number: 2, samples: 1}), until(t, recv, isSynced)...)
	left.storeAll(write{number: 3, samples: 1})
	left.feed(other.Server)
	got = until(t, recv, func(r *getResponse) bool { return len(lines(r)) > 0 })
	requireOnce(t, once(write{number: 3, samples: 1}), got...)
}

// A request that was stored in two parts, the second when the limits of the forwarder
// had been raised, is delivered once, though two forwarders have it, and wherever a
// stream resumes elsewhere.
func TestStoredInTwoParts(t *testing.T) {
	whole := write{number: 1, samples: 5}
	left, right := newSource(t), newSource(t)
	for i, s := range []*source{left, right} {
		s.storeAll(write{number: 2 + i, samples: 1}, write{number: 1, samples: 5, rejected: 2})
		var rest []point
		for n := 3; n < whole.samples; n++ {
			rest = append(rest, point{series: name(n), t: testTime.UnixMilli() + 1, v: float64(10000 + n)})
		}
		b := s.block(rest...)
		b.Digest = [16]byte{2, 1}
		b.Verdict.Samples = uint32(whole.samples)
		s.append(b)
	}
	want := once(whole, write{number: 2, samples: 1}, write{number: 3, samples: 1})
	one, other := startFed(t, testConfig(t), left), startFed(t, testConfig(t), right, left)
	recv := one.call(t, &getRequest{Start: fromTheBeginning, Follow: true})
	got := until(t, recv, isSynced)
	right.feed(one.Server)
	entries := len(lines(got...))
	got = append(got, until(t, recv, func(r *getResponse) bool { entries += len(lines(r)); return entries >= len(want) })...)
	requireOnce(t, want, got...)
	for i := range got {
		rest := all(t, other.call(t, &getRequest{Start: after(got[i].GetCursor())}))
		requireOnce(t, want, append(slices.Clone(got[:i+1]), rest...)...)
	}
}
