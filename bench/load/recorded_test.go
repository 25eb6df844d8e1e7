package load

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

func recordedPlan(version int) Plan {
	p := plan(version)
	p.Profile = Recorded
	return p
}

// text of a series' labels.
func text(labels []prompb.Label) string {
	var b strings.Builder
	for _, l := range labels {
		fmt.Fprintf(&b, "%s=%q,", l.Name, l.Value)
	}
	return b.String()
}

func TestTheRecordingHasWhatPeopleHave(t *testing.T) {
	pages, err := recorded()
	require.NoError(t, err)
	require.Greater(t, len(pages), 5)
	var constant, counters, gauges, native, all int
	for _, page := range pages {
		for _, c := range page {
			all++
			switch {
			case c.histograms != nil:
				native++
			case slices.Max(c.values) == slices.Min(c.values):
				constant++
			case c.rises:
				counters++
			default:
				gauges++
			}
			require.True(t, slices.IsSortedFunc(c.labels, func(a, b prompb.Label) int { return strings.Compare(a.Name, b.Name) }))
		}
	}
	t.Logf("%d series of %d targets: %d constant, %d rise, %d fall, %d native histograms", all, len(pages), constant, counters, gauges, native)
	require.Positive(t, constant)
	require.Positive(t, counters)
	require.Positive(t, gauges)
	require.Positive(t, native)
}

func TestUnpackRefusesWhatIsNoRecording(t *testing.T) {
	_, err := unpack([]byte("no"))
	require.ErrorContains(t, err, "recording")
	_, err = unpack(nil)
	require.ErrorContains(t, err, "recording: no series")
}

// Over every boundary of requests: each series once a round, and the same ones for any
// size of request.
func TestMultipliedSeriesAreUnique(t *testing.T) {
	pages, err := recorded()
	require.NoError(t, err)
	p := recordedPlan(1)
	p.Series = 12_000
	var whole []string
	for s := range multiply(pages, p, 0, p.Series)(0) {
		whole = append(whole, text(s.Labels))
	}
	require.Len(t, whole, p.Series)
	unique := map[string]bool{}
	for _, labels := range whole {
		require.False(t, unique[labels], labels)
		unique[labels] = true
	}
	for _, size := range []int{500, 2000, 10_000, 777} {
		var parts []string
		for first := 0; first < p.Series; first += size {
			for s := range multiply(pages, p, first, min(first+size, p.Series))(0) {
				parts = append(parts, text(s.Labels))
			}
		}
		require.Equal(t, whole, parts, size)
	}
}

func TestWhatRisesGoesOnRising(t *testing.T) {
	pages, err := recorded()
	require.NoError(t, err)
	for _, page := range pages {
		for _, c := range page {
			steps := 3 * c.length()
			if !c.rises || c.values == nil {
				continue
			}
			for step := range steps {
				require.LessOrEqual(t, c.value(step), c.value(step+1), "step %d of %s", step, c.label("__name__"))
			}
			last := c.length() - 1
			require.InDelta(t, 2*(c.values[last]-c.values[0]), c.value(2*last)-c.value(0), 1e-6*math.Abs(c.values[last]), c.label("__name__"))
		}
	}
}

func TestWhatFallsStartsAgain(t *testing.T) {
	c := curve{values: []float64{3, 1, math.NaN()}}
	c.rises = rises(c.values)
	require.EqualValues(t, 3, c.value(0))
	require.EqualValues(t, 1, c.value(4))
	require.True(t, math.IsNaN(c.value(5)))
}

// An exporter prints 0.3, and not 0.30000000000000004.
func TestDecimalsStay(t *testing.T) {
	c := curve{values: []float64{0.1, 0.2}}
	c.rises, c.scale = rises(c.values), scale(c.values)
	require.Equal(t, []float64{0.1, 0.2, 0.3, 0.4}, []float64{c.value(0), c.value(1), c.value(2), c.value(3)})
	require.Zero(t, scale([]float64{1.0 / 3}))
	require.EqualValues(t, 1, scale([]float64{5, 7}))
}

func TestNativeHistogramsStayValidAndRise(t *testing.T) {
	pages, err := recorded()
	require.NoError(t, err)
	for _, page := range pages {
		for _, c := range page {
			if c.histograms == nil {
				continue
			}
			before := c.histogram(0)
			for step := range 3 * len(c.histograms) {
				h := c.histogram(step)
				require.NoError(t, h.Validate(), text(c.labels))
				require.Equal(t, c.histograms[0].Schema, h.Schema)
				require.GreaterOrEqual(t, h.Sum, before.Sum, text(c.labels))
				require.False(t, h.ToFloat(nil).DetectReset(before.ToFloat(nil)), "%s at step %d", text(c.labels), step)
				before = h
			}
		}
	}
}

func TestANativeHistogramGrowsByWhatItGrew(t *testing.T) {
	from := &histogram.Histogram{Count: 3, Sum: 4, ZeroCount: 1, PositiveSpans: []histogram.Span{{Offset: 2, Length: 1}}, PositiveBuckets: []int64{2}}
	to := &histogram.Histogram{Count: 9, Sum: 20, ZeroCount: 2, PositiveSpans: []histogram.Span{{Offset: 2, Length: 1}, {Offset: 1, Length: 2}}, PositiveBuckets: []int64{3, 0, -2}}
	c := curve{histograms: []*histogram.Histogram{from, to}}
	require.Equal(t, &histogram.Histogram{
		Count: 15, Sum: 36, ZeroCount: 3, PositiveSpans: []histogram.Span{{Offset: 2, Length: 1}, {Offset: 1, Length: 2}}, PositiveBuckets: []int64{4, 2, -4},
	}, c.histogram(2))
}

// One percent of the targets is replaced in a minute, and what takes their place starts
// where a page starts.
func TestTargetsAreReplaced(t *testing.T) {
	pages, err := recorded()
	require.NoError(t, err)
	p := recordedPlan(1)
	p.Series, p.Churn = 60_000, Recorded.Churn
	all := cut(pages, 0, p.Series)
	round := multiply(pages, p, 0, p.Series)
	pods := map[string]bool{}
	const minutes = 20
	for r := range 4*minutes + 1 {
		for s := range round(r) {
			for _, l := range s.Labels {
				if l.Name == "pod" {
					pods[l.Value] = true
				}
			}
		}
	}
	require.InDelta(t, 0.01*minutes, float64(len(pods)-len(all))/float64(len(all)), 0.08)
}

// Requests of both versions have the same series, at most as many as wanted, each with
// the one sample of its round.
func TestRequestsOfEachProfile(t *testing.T) {
	for _, profile := range profiles {
		for _, size := range []int{500, 2000, 10_000} {
			var first []string
			for version := 1; version <= 2; version++ {
				p := plan(version)
				p.Profile, p.PerRequest = profile, size
				l, err := Make(p)
				require.NoError(t, err)
				var got []string
				for i, body := range l.Bodies {
					round, request := i/p.Requests(), i%p.Requests()
					at := p.Timestamp(round, request)
					samples := lines(t, version, body, at)
					require.Len(t, samples, min(size, p.Series-request*size))
					got = append(got, samples...)
				}
				if version == 1 {
					first = got
				}
				require.Equal(t, first, got, profile.Name)
			}
		}
	}
}

// lines are the samples of a request, all of which are to have the same timestamp.
func lines(t *testing.T, version int, body []byte, at int64) (lines []string) {
	t.Helper()
	raw, err := snappy.Decode(nil, body)
	require.NoError(t, err)
	line := func(labels []prompb.Label, samples, histograms int, value float64, h *histogram.Histogram, stamp int64) {
		require.Equal(t, 1, samples+histograms)
		require.Equal(t, at, stamp)
		lines = append(lines, fmt.Sprint(text(labels), value, h))
	}
	if version == 1 {
		var request prompb.WriteRequest
		require.NoError(t, request.Unmarshal(raw))
		for _, s := range request.Timeseries {
			if len(s.Histograms) > 0 {
				line(s.Labels, len(s.Samples), len(s.Histograms), 0, s.Histograms[0].ToIntHistogram(), s.Histograms[0].Timestamp)
				continue
			}
			line(s.Labels, len(s.Samples), 0, s.Samples[0].Value, nil, s.Samples[0].Timestamp)
		}
		return lines
	}
	var request writev2.Request
	require.NoError(t, request.Unmarshal(raw))
	for i := range request.Timeseries {
		s := &request.Timeseries[i]
		labels := newCurve(&request, s).labels
		if len(s.Histograms) > 0 {
			line(labels, len(s.Samples), len(s.Histograms), 0, s.Histograms[0].ToIntHistogram(), s.Histograms[0].Timestamp)
			continue
		}
		line(labels, len(s.Samples), 0, s.Samples[0].Value, nil, s.Samples[0].Timestamp)
	}
	return lines
}

func TestFewSeriesOfEachProfileAreSelected(t *testing.T) {
	for _, profile := range profiles {
		p := plan(1)
		p.Profile, p.Series = profile, 2000
		matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(profile.Few)
		require.NoError(t, err)
		part, err := profile.Part(p, 0, p.Series)
		require.NoError(t, err)
		few := 0
		for s := range part(0) {
			value := map[string]string{}
			for _, l := range s.Labels {
				value[l.Name] = l.Value
			}
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(value[m.Name]) }) {
				few++
			}
		}
		require.Positive(t, few, profile.Name)
		require.Less(t, few, 100, profile.Name)
	}
}

// Some peers have neither native histograms nor NaN.
func TestNumbersAreWhatEachPeerHas(t *testing.T) {
	l, err := Make(recordedPlan(1))
	require.NoError(t, err)
	numbers := 0
	for _, samples := range decode(t, l) {
		for _, s := range samples {
			if s.Timestamp >= l.Plan.Timestamp(l.Plan.Rounds-1, 0) && !math.IsNaN(s.Value) {
				numbers++
			}
		}
	}
	require.Equal(t, numbers, l.Numbers)
	require.Less(t, l.Numbers, l.Plan.Series)
}
