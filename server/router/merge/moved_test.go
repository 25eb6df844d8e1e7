package merge

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/segment"
)

func added(t *testing.T, at time.Time, by placement.Spread, labels ...string) *placement.Placement {
	p, err := placement.New(2, by, labels, []placement.Epoch{
		{From: placement.Ever, Groups: []string{"a", "b"}},
		{From: at.UnixMilli(), Groups: []string{"a", "b", "c"}},
	})
	require.NoError(t, err)
	return p
}

func room(bytes int64) *limit.Hold {
	return limit.NewBudget("stream-bytes", "bytes", bytes, 0).Hold("peer")
}

// snapshotOf is a response within a snapshot, with series whose label i has these values.
func snapshotOf(t *testing.T, values ...int) response {
	m := &metricsv1.GetMetricsResponse{}
	for _, v := range values {
		m.Timeseries = append(m.Timeseries, &metricsv1.TimeSeries{
			Labels:  []*metricsv1.Label{{Name: "__name__", Value: "m"}, {Name: "i", Value: fmt.Sprint(v)}},
			Samples: []*metricsv1.Sample{{Value: 1, Timestamp: 1}},
		})
	}
	r, err := parse(wire(t, m))
	require.NoError(t, err)
	return r
}

func valuesOf(t *testing.T, series []byte) (values []string) {
	var m metricsv1.GetMetricsResponse
	require.NoError(t, proto.Unmarshal(series, &m))
	for _, ts := range m.GetTimeseries() {
		values = append(values, ts.GetLabels()[1].GetValue())
	}
	return values
}

// After an instant the snapshot of the group that was added comes first, and what it has is
// left out of the others, of which all else stays.
func TestMovedSeriesComeOnce(t *testing.T) {
	for _, by := range []placement.Spread{placement.ByLabels, placement.ByTenant} {
		now := time.Now()
		var labels []string
		if by == placement.ByLabels {
			labels = []string{"i"}
		}
		p := added(t, now.Add(-time.Minute), by, labels...)
		m := newMoved(p, now, 5*time.Minute, room(1<<20))
		require.NotNil(t, m)
		require.Equal(t, []string{"c", "a", "b"}, m.order)
		require.Empty(t, m.earlier("c"))
		require.Len(t, m.earlier("b"), 2)
		var moved, stayed []int
		for i := range 100 {
			if p.Group(placement.KeyOf(fmt.Sprint(i)), now.UnixMilli()) == "c" {
				moved = append(moved, i)
			} else {
				stayed = append(stayed, i)
			}
		}
		require.NotEmpty(t, moved)
		first, err := m.filter("c", snapshotOf(t, moved[1:]...))
		require.NoError(t, err)
		require.Len(t, valuesOf(t, first), len(moved)-1)
		m.passed("c")
		rest, err := m.filter("a", snapshotOf(t, append(moved, stayed...)...))
		require.NoError(t, err)
		require.Len(t, valuesOf(t, rest), len(stayed)+1, "what has no sample in its new group yet is shown as it was")
		require.Contains(t, valuesOf(t, rest), fmt.Sprint(moved[0]))
		m.passed("a")
		after, err := m.filter("a", snapshotOf(t, moved...))
		require.NoError(t, err)
		require.Len(t, valuesOf(t, after), len(moved), "what comes after the snapshot comes through")
	}
}

func TestNoSeriesHasMoved(t *testing.T) {
	now := time.Now()
	require.Nil(t, newMoved(nil, now, time.Minute, nil))
	require.NotNil(t, newMoved(added(t, now.Add(-119*time.Second), placement.ByTenant), now, time.Minute, nil), "it may have got a late sample")
	require.Nil(t, newMoved(added(t, now.Add(-2*time.Minute), placement.ByTenant), now, time.Minute, nil), "long ago")
	require.Nil(t, newMoved(added(t, now.Add(time.Hour), placement.ByTenant), now, time.Minute, nil), "not yet")
}

// What there is no memory for is refused.
func TestTooManyMoved(t *testing.T) {
	now := time.Now()
	m := newMoved(added(t, now.Add(-time.Second), placement.ByTenant), now, time.Minute, room(seenBytes))
	_, err := m.filter("c", snapshotOf(t, 1, 2))
	require.ErrorIs(t, err, errTooManyMoved)
	require.Equal(t, final, kindOf(err))
}

// A snapshot is over with a cursor that is not within one, and with the end.
func TestPastSnapshot(t *testing.T) {
	within := (&cursor.Cursor{Positions: []cursor.Position{{Log: segment.LogID{1}, SnapshotRef: 1, SnapshotTime: 1}}}).String()
	past := (&cursor.Cursor{Positions: []cursor.Position{{Log: segment.LogID{1}}}}).String()
	require.False(t, isPastSnapshot(response{}))
	require.False(t, isPastSnapshot(response{cursor: []byte(within)}))
	require.True(t, isPastSnapshot(response{cursor: []byte(past)}))
	require.True(t, isPastSnapshot(response{event: fieldEnd}))
}
