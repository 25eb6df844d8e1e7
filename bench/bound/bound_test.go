package bound

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/bench/load"
)

const (
	testSeries = 700
	testRounds = 3
)

func testLoad(t *testing.T, version int) *load.Load {
	t.Helper()
	l, err := load.Make(load.Plan{
		Series: testSeries, Rounds: testRounds, PerRequest: 100, Version: version, Interval: 15 * time.Second,
		Last: time.UnixMilli(1.7e12),
	})
	require.NoError(t, err)
	return l
}

// versions runs a test with each version of remote write.
func versions(t *testing.T, test func(t *testing.T, version int)) {
	for _, version := range []int{1, 2} {
		t.Run("remote write "+strconv.Itoa(version), func(t *testing.T) { test(t, version) })
	}
}

// plain reads a body by the plain library: its samples, and its labels, of
// which it counts the series.
func plain(t *testing.T, version int, body []byte, labels map[string]int) (samples []sample) {
	t.Helper()
	raw, err := snappy.Decode(nil, body)
	require.NoError(t, err)
	if version == 1 {
		var request prompb.WriteRequest
		require.NoError(t, request.Unmarshal(raw))
		for _, s := range request.Timeseries {
			for _, l := range s.Labels {
				labels[l.Name+"="+l.Value]++
			}
			samples = append(samples, sample{s.Samples[0].Timestamp, math.Float64bits(s.Samples[0].Value)})
		}
		return samples
	}
	var request writev2.Request
	require.NoError(t, request.Unmarshal(raw))
	for _, s := range request.Timeseries {
		for pair := range slices.Chunk(s.LabelsRefs, 2) {
			labels[request.Symbols[pair[0]]+"="+request.Symbols[pair[1]]]++
		}
		samples = append(samples, sample{s.Samples[0].Timestamp, math.Float64bits(s.Samples[0].Value)})
	}
	return samples
}

func TestScanReadsTheSamplesOfThePlainLibrary(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		r := request{version: version}
		for _, body := range testLoad(t, version).Bodies {
			require.NoError(t, r.decompress(body))
			require.NoError(t, r.scan())
			require.Equal(t, plain(t, version, body, map[string]int{}), r.samples)
			require.Len(t, r.series, len(r.samples))
			other := request{version: 3 - version, raw: r.raw}
			require.ErrorIs(t, other.scan(), errShape)
		}
	})
}

func TestEverySeriesIsNewOnceWithAllItsLabels(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		l := testLoad(t, version)
		x := newIndex()
		r := request{version: version}
		var p postings
		labels := map[string]int{}
		const perRequest = 5000
		for i, body := range l.Bodies {
			require.NoError(t, r.decompress(body))
			require.NoError(t, r.scan())
			block := x.block(nil, &r, [16]byte{1}, perRequest)
			require.Len(t, block, int(binary.LittleEndian.Uint32(block)))
			p.add(block)
			if i < l.Plan.Requests() {
				plain(t, version, body, labels)
				require.Greater(t, len(block), perRequest)
			} else {
				require.Len(t, block, perRequest, "known series")
			}
		}
		require.EqualValues(t, testSeries, p.series)
		require.Equal(t, x.labels, p.labels)
		var have, want []int
		for _, list := range p.postings {
			require.True(t, slices.IsSorted(list))
			have = append(have, len(list))
		}
		for _, series := range labels {
			want = append(want, series)
		}
		slices.Sort(have)
		slices.Sort(want)
		require.Equal(t, want, have)
	})
}

func TestResponsesAreAsLargeAsTheProjects(t *testing.T) {
	all, err := responses()
	require.NoError(t, err)
	require.InDelta(t, 16<<10, len(all[0]), 2<<10)
	for _, response := range all[1:] {
		require.InDelta(t, 122<<10, len(response), 6<<10)
	}
}

func TestStages(t *testing.T) {
	versions(t, func(t *testing.T, version int) {
		stages, err := Stages(version, testLoad(t, version).Bodies)
		require.NoError(t, err)
		for _, s := range stages {
			require.Positive(t, s.CPU, s.Name)
		}
		_, err = Stages(version, [][]byte{{0xff}})
		require.Error(t, err)
	})
}

func TestArguments(t *testing.T) {
	args, err := Config{Part: "nothing"}.Args()
	require.NoError(t, err)
	require.Equal(t, Command, args[0])
	require.ErrorContains(t, Main(args[1:]), `no part is named "nothing"`)
	require.Error(t, Main([]string{"{"}))
	require.Error(t, Main(nil))
}
