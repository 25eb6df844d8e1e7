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
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
)

// arrival is what a block holds, in the order in which a stream has it.
type arrival struct {
	points []point
	lines  []string
}

// mixture makes blocks of few series with floats, histograms and exemplars at
// random, at times that go back and forth.
type mixture struct {
	t      testing.TB
	random *rand.Rand
	value  float64
}

func newMixture(t testing.TB) *mixture { return &mixture{t: t, random: rand.New(rand.NewPCG(7, 8))} }

func (m *mixture) block(size int) arrival {
	var a arrival
	var exemplars []string
	for range size {
		p := point{series: fmt.Sprintf(`s{i="%d"}`, m.random.IntN(3)), t: int64(1e12) + m.random.Int64N(4)}
		m.value++
		switch m.random.IntN(5) {
		case 0:
			p.exemplar = exemplar(m.t, p.t, m.value)
			exemplars = append(exemplars, fmt.Sprintf("%s exemplar %v @%d", p.series, m.value, p.t))
		case 1, 2:
			p.histogram = histogram(m.t, p.t, m.value)
			a.lines = append(a.lines, fmt.Sprintf("%s histogram sum %v @%d", p.series, m.value, p.t))
		default:
			p.v = m.value
			a.lines = append(a.lines, fmt.Sprintf("%s %v @%d", p.series, m.value, p.t))
		}
		a.points = append(a.points, p)
	}
	a.lines = append(a.lines, exemplars...)
	return a
}

// readsTheSameByTime requires that the samples of each message are in the same order if
// its floats are read before its histograms and if all are sorted by time.
func readsTheSameByTime(t testing.TB, responses []*getResponse) {
	t.Helper()
	for _, r := range responses {
		for _, ts := range r.GetTimeseries() {
			for _, s := range ts.GetSamples() {
				for _, h := range ts.GetHistograms() {
					require.LessOrEqual(t, s.GetTimestamp(), h.GetTimestamp(), "%v", ts)
				}
			}
		}
	}
}

// sinceTheBeginning asks for everything that is retained.
func sinceTheBeginning() *metricsv1.GetMetricsRequest_Since {
	return &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}
}

// Floats and histograms of a series come in the order in which they were written,
// whatever it is: replayed, live, from a server that was restarted, and by a relay.
func TestOrderOfKinds(t *testing.T) {
	src, m := newSource(t), newMixture(t)
	var want []string
	write := func(size int) {
		a := m.block(size)
		src.write(a.points...)
		want = append(want, a.lines...)
	}
	for i := range 30 {
		write(1 + m.random.IntN(300))
		if i%10 == 9 {
			src.rotate()
		}
	}
	config := testConfig(t)
	startFed(t, config, src).stop()
	server := startFed(t, config, src)
	relay := startRelay(t, testConfig(t), server)
	relay.await(t, src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, s := range []*instance{server, relay} {
			got := all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: sinceTheBeginning()}))
			require.Equal(t, want, lines(got...))
			readsTheSameByTime(t, got)

			recv, _ := restoring(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: sinceTheBeginning(), Follow: true, LabelReferences: true}))
			got = until(t, recv, isSynced)
			write(200)
			for len(lines(got...)) < len(want) {
				r, err := recv()
				require.NoError(t, err)
				got = append(got, r)
			}
			require.Equal(t, want, lines(got...))
			readsTheSameByTime(t, got)
			relay.await(t, src)
		}
	})
}

// A stream that resumes after any entry of a block, at any replica, goes on
// with the next.
func TestOrderOfKindsAfterAnyEntry(t *testing.T) {
	src, m := newSource(t), newMixture(t)
	src.write(point{series: "before", t: 1, v: 1})
	a := m.block(100)
	sequence := src.write(a.points...)
	one := startFed(t, testConfig(t), src)
	two := startRelay(t, testConfig(t), one)
	two.await(t, src)
	for entries := range len(a.lines) {
		c := cursor.Cursor{Positions: []cursor.Position{{Log: src.writer.Log().ID(), Sequence: sequence - 1, Entries: uint32(entries)}}}
		for _, s := range []*instance{one, two} {
			require.Equal(t, a.lines[entries:], lines(all(t, s.call(t, &getRequest{Start: after(c.String())}))...), "after %d entries", entries)
		}
	}
}

// The latest sample of a series is the latest by time, and of those of one time the
// last to arrive, be it a float or a histogram.
func TestLatestOfBothKinds(t *testing.T) {
	at := now()
	f := func(at int64, v float64) point { return point{series: "s", t: at, v: v} }
	h := func(at int64, v float64) point { return point{series: "s", t: at, histogram: histogram(t, at, v)} }
	for title, test := range map[string]struct {
		points []point
		want   string
	}{
		"float later":                {[]point{h(at, 1), f(at+1, 2)}, fmt.Sprintf("s 2 @%d", at+1)},
		"histogram later":            {[]point{f(at, 1), h(at+1, 2)}, fmt.Sprintf("s histogram sum 2 @%d", at+1)},
		"float last at one time":     {[]point{f(at, 1), h(at, 2), f(at, 3)}, fmt.Sprintf("s 3 @%d", at)},
		"histogram last at one time": {[]point{h(at, 1), f(at, 2), h(at, 3)}, fmt.Sprintf("s histogram sum 3 @%d", at)},
		"arrived last, but older":    {[]point{f(at+1, 1), h(at, 2)}, fmt.Sprintf("s 1 @%d", at+1)},
	} {
		t.Run(title, func(t *testing.T) {
			src := newSource(t)
			src.write(test.points...)
			config := testConfig(t)
			s := startFed(t, config, src)
			require.Equal(t, []string{test.want}, lines(all(t, s.call(t, &getRequest{}))...))
			src.rotate()
			src.write(point{series: "other", t: at, v: 1})
			s.await(t, src)
			s.stop()
			restarted := startFed(t, config, src) // which begins with the keyframe
			require.Equal(t, []string{test.want}, lines(all(t, restarted.call(t, &getRequest{Selectors: []string{"s"}}))...))
		})
	}
}

// Of what min_interval holds back, the last to arrive is sent, be it a float or a
// histogram.
func TestConflatedOfBothKinds(t *testing.T) {
	at := now()
	f := func(v float64) point { return point{series: "s", t: at, v: v} }
	h := func(v float64) point { return point{series: "s", t: at, histogram: histogram(t, at, v)} }
	for want, points := range map[string][]point{
		fmt.Sprintf("(+2) s 3 @%d", at):               {f(1), h(2), f(3)},
		fmt.Sprintf("(+2) s histogram sum 3 @%d", at): {h(1), f(2), h(3)},
	} {
		src := newSource(t)
		src.write(point{series: "other", t: at, v: 1})
		s := startFed(t, testConfig(t), src)
		recv := s.call(t, &getRequest{Follow: true, MinInterval: millis(100)})
		until(t, recv, isSynced)
		src.write(points...)
		got := until(t, recv, func(r *getResponse) bool { return len(r.GetTimeseries()) > 0 })
		require.Equal(t, []string{want}, lines(got[len(got)-1]))
	}
}

// A replay since an instant leaves out what is older, wherever it is.
func TestOrderOfKindsSince(t *testing.T) {
	src, m := newSource(t), newMixture(t)
	a := m.block(300)
	src.write(a.points...)
	s := startFed(t, testConfig(t), src)
	since := int64(1e12) + 2
	want := slices.DeleteFunc(slices.Clone(a.lines), func(line string) bool {
		var at int64
		_, err := fmt.Sscanf(line[strings.IndexByte(line, '@'):], "@%d", &at)
		require.NoError(t, err)
		return at < since
	})
	require.Less(t, len(want), len(a.lines))
	got := all(t, s.call(t, &getRequest{Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(since))}}))
	require.Equal(t, want, lines(got...))
}
