package query

import (
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/h2frames"
	"github.com/promgrpc/exporter/internal/refset"
	"github.com/promgrpc/exporter/server/call"
)

const stepLength = 10

// sharedOf has steps of so many series each, from one on, by their numbers.
func sharedOf(ranges ...[2]int) (*shared, []*entry) {
	s := &shared{key: key{step: stepLength}, entries: map[int64]*entry{}}
	var all []*entry
	for i, r := range ranges {
		e := &entry{shared: s, encoded: map[form][][]byte{}, step: step{time: int64(i+1) * stepLength}}
		for n := r[0]; n < r[1]; n++ {
			e.samples = append(e.samples, sample{labels: labels.FromStrings("i", fmt.Sprintf("%06d", n)), float: float64(n)})
		}
		s.entries[e.time] = e
		all = append(all, e)
	}
	return s, all
}

// client restores the labels of what it is sent.
type client struct {
	t      *testing.T
	labels map[uint64]string
}

// take returns the values of a step by their labels.
func (c *client) take(envelopes [][]byte) (values map[string]float64, defined int, forgot bool) {
	values = map[string]float64{}
	for i, envelope := range envelopes {
		require.LessOrEqual(c.t, len(envelope), h2frames.Large)
		var m queryv1.QueryResponse
		require.NoError(c.t, proto.Unmarshal(envelope[call.PrefixSize:], &m))
		require.Equal(c.t, i == len(envelopes)-1, m.GetCursor() != "")
		require.Equal(c.t, i == len(envelopes)-1, m.GetEvaluated() != nil)
		if m.GetForgetReferences() {
			require.Zero(c.t, i)
			forgot = true
			clear(c.labels)
		}
		for _, ts := range m.GetTimeseries() {
			name := ""
			for _, l := range ts.GetLabels() {
				name += l.GetName() + "=" + l.GetValue()
			}
			switch {
			case name == "":
				name = c.labels[ts.GetRef()]
				require.NotEmpty(c.t, name)
			case ts.GetRef() != 0:
				require.Empty(c.t, c.labels[ts.GetRef()], "no reference is used again")
				c.labels[ts.GetRef()] = name
				defined++
			}
			_, twice := values[name]
			require.False(c.t, twice, name)
			values[name] = ts.GetSamples()[0].GetValue()
		}
	}
	return values, defined, forgot
}

// References are those of the step before, as long as the series is there, and most of
// those that a client keeps are of series that are.
func TestReferences(t *testing.T) {
	many := forgetSlack + 10
	_, all := sharedOf([2]int{0, 5}, [2]int{1, 7}, [2]int{0, 3}, [2]int{0, many}, [2]int{0, 1}, [2]int{0, 1}, [2]int{0, 2})
	c := &client{t, map[uint64]string{}}
	want := []struct {
		values, defined int
		forgot          bool
	}{{5, 5, false}, {7, 2, false}, {7, 1, false}, {many, many - 3, false}, {many, 0, false}, {1, 1, true}, {2, 1, false}}
	f := form{references: true, first: true}
	var before *entry
	chain := uint64(0)
	for i, e := range all {
		next := e.referenced()
		f.known, f.forget = chain == next, chain != 0 && chain != next
		chain = next
		var prior *step
		if before != nil {
			prior = &before.step
		}
		values, defined, forgot := c.take(e.envelopes(f, prior, before))
		require.Len(t, values, want[i].values, "step %d", i)
		require.Equal(t, want[i].defined, defined, "step %d", i)
		require.Equal(t, want[i].forgot, forgot, "step %d", i)
		f.first, before = false, e
	}
}

// Who came late is sent the labels of all, and who is sent only what changes those of what
// does.
func TestReferencesOfLateComers(t *testing.T) {
	_, all := sharedOf([2]int{0, 5}, [2]int{0, 5}, [2]int{0, 6})
	for _, e := range all {
		e.referenced()
	}
	all[1].samples[2].float = 100
	late := &client{t, map[uint64]string{}}
	values, defined, _ := late.take(all[1].envelopes(form{references: true, first: true}, nil, nil))
	require.Len(t, values, 5)
	require.Equal(t, 5, defined)
	values, defined, _ = late.take(all[2].envelopes(form{references: true, known: true}, &all[1].step, all[1]))
	require.Len(t, values, 6)
	require.Equal(t, 1, defined)

	var introduced refset.Set
	changed := &client{t, map[uint64]string{}}
	f := form{references: true, onChange: true, known: true}
	values, defined, _ = changed.take(all[1].personal(f, &all[0].step, all[0], &introduced))
	require.Equal(t, map[string]float64{"i=000002": 100}, values)
	require.Equal(t, 1, defined)
	values, defined, _ = changed.take(all[2].personal(f, &all[1].step, all[1], &introduced))
	require.Equal(t, map[string]float64{"i=000002": 2, "i=000005": 5}, values)
	require.Equal(t, 1, defined)
	require.Nil(t, all[1].envelopes(form{onChange: true}, &all[1].step, nil))
}

// A step is encoded once in each form.
func TestEncodedOnce(t *testing.T) {
	_, all := sharedOf([2]int{0, 5})
	one, other := all[0].envelopes(form{first: true}, nil, nil), all[0].envelopes(form{first: true}, nil, nil)
	require.Same(t, &one[0][0], &other[0][0])
}

func TestSame(t *testing.T) {
	h := func(sum float64) *histogram.FloatHistogram { return &histogram.FloatHistogram{Count: 1, Sum: sum} }
	nan := math.Float64frombits(0x7ff8000000000001)
	for _, c := range []struct {
		a, b sample
		same bool
	}{
		{sample{float: 1}, sample{float: 1}, true},
		{sample{float: 0}, sample{float: math.Copysign(0, -1)}, false},
		{sample{float: nan}, sample{float: nan}, true},
		{sample{float: nan}, sample{float: math.NaN()}, math.Float64bits(math.NaN()) == math.Float64bits(nan)},
		{sample{histogram: h(1)}, sample{histogram: h(1)}, true},
		{sample{histogram: h(1)}, sample{histogram: h(2)}, false},
		{sample{histogram: h(1)}, sample{float: 0}, false},
	} {
		require.Equal(t, c.same, c.a.same(&c.b), "%v %v", c.a, c.b)
	}
}

// A batch says of each of its steps what single steps say.
func TestBatch(t *testing.T) {
	for _, onChange := range []bool{false, true} {
		_, all := sharedOf([2]int{0, 5}, [2]int{1, 7}, [2]int{1, 7}, [2]int{0, 3})
		want := map[string][]*metricsv1.Sample{}
		add := func(envelopes [][]byte) map[string][]*metricsv1.Sample {
			for _, envelope := range envelopes {
				var m queryv1.QueryResponse
				require.NoError(t, proto.Unmarshal(envelope[call.PrefixSize:], &m))
				for _, ts := range m.GetTimeseries() {
					name := ts.GetLabels()[0].GetValue()
					want[name] = append(want[name], ts.GetSamples()...)
				}
			}
			return want
		}
		var steps []step
		for i, e := range all[1:] {
			add(e.envelopes(form{onChange: onChange}, &all[i].step, nil))
			steps = append(steps, e.step)
		}
		single := want
		want = map[string][]*metricsv1.Sample{}
		add(batch(&all[0].step, steps, onChange, "cursor"))
		require.Len(t, want, len(single))
		for name, samples := range single {
			require.Len(t, want[name], len(samples), name)
			for i := range samples {
				require.Equal(t, samples[i].GetTimestamp(), want[name][i].GetTimestamp())
				require.Equal(t, math.Float64bits(samples[i].GetValue()), math.Float64bits(want[name][i].GetValue()))
			}
		}
	}
}

func TestFloor(t *testing.T) {
	for _, c := range [][3]int64{{0, 10, 0}, {9, 10, 0}, {10, 10, 10}, {-1, 10, -10}, {-10, 10, -10}, {-11, 10, -20}} {
		require.Equal(t, c[2], floor(c[0], c[1]))
	}
}

func TestTimestamps(t *testing.T) {
	for _, ms := range []int64{0, 1, 999, 1000, -1, -999, -1000, -1001, earliest, latest} {
		require.NoError(t, timestampOf(ms).CheckValid())
		require.Equal(t, ms, timestampOf(ms).AsTime().UnixMilli())
	}
}
