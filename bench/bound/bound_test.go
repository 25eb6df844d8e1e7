package bound

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/read"
)

const testSeries, testRounds = 700, 3

// plain reads a body by the plain library: the values, and how many series have each label.
func plain(t *testing.T, version int, body []byte, labels map[string]int) (values []int64) {
	t.Helper()
	raw, err := snappy.Decode(nil, body)
	require.NoError(t, err)
	var one prompb.WriteRequest
	var two writev2.Request
	if version == 1 {
		require.NoError(t, one.Unmarshal(raw))
	} else {
		require.NoError(t, two.Unmarshal(raw))
	}
	for _, s := range one.Timeseries {
		for _, l := range s.Labels {
			labels[l.Name+"="+l.Value]++
		}
		values = append(values, int64(s.Samples[0].Value))
	}
	for _, s := range two.Timeseries {
		for pair := range slices.Chunk(s.LabelsRefs, 2) {
			labels[two.Symbols[pair[0]]+"="+two.Symbols[pair[1]]]++
		}
		values = append(values, int64(s.Samples[0].Value))
	}
	return values
}

func TestFloorsDoTheWork(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprintf("remote write %d", version), func(t *testing.T) {
			l, err := load.Make(load.Plan{
				Series: testSeries, Rounds: testRounds, PerRequest: 100, Version: version, Interval: 15 * time.Second, Last: time.Now(),
			})
			require.NoError(t, err)
			p, err := NewPipeline(version, 3, t.TempDir())
			require.NoError(t, err)
			defer p.Close()
			labels := map[string]int{}
			for round := range testRounds {
				floors, err := p.Run(l.Rounds(round, round+1))
				require.NoError(t, err)
				for _, f := range floors {
					require.Positive(t, f.CPU, f.Step)
				}
				clear(labels)
				var values, have []int64
				for _, body := range l.Rounds(round, round+1) {
					values = append(values, plain(t, version, body, labels)...)
				}
				for _, s := range p.known {
					have = append(have, s.value)
				}
				require.Equal(t, values, have)
			}
			var have []int
			for _, series := range p.postings {
				require.True(t, slices.IsSorted(series))
				have = append(have, len(series))
			}
			var want []int
			for _, series := range labels {
				want = append(want, series)
			}
			require.ElementsMatch(t, want, have)
			log, err := os.ReadFile(p.logs[0].Name())
			require.NoError(t, err)
			require.Greater(t, len(log), testSeries*testRounds)
			replica, err := os.ReadFile(p.logs[1].Name())
			require.NoError(t, err)
			require.Equal(t, log, replica)

			other := request{version: 3 - version, raw: p.request.raw}
			require.ErrorIs(t, other.scan(), errShape)
			_, err = p.Run([][]byte{{0xff}})
			require.Error(t, err)
		})
	}
}

func TestMainServesWhatIsReady(t *testing.T) {
	var addresses [2]string
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		addresses[i] = l.Addr().String()
		require.NoError(t, l.Close())
	}
	go func() { _ = Main(addresses[0], addresses[1], strconv.Itoa(testSeries)) }()
	require.Eventually(t, func() bool {
		response, err := http.Post("http://"+addresses[0], "", strings.NewReader(strings.Repeat("a", 1<<20)))
		return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusNoContent
	}, time.Minute, 10*time.Millisecond)
	for _, address := range addresses {
		r, err := read.Snapshot(t.Context(), address)
		require.NoError(t, err)
		require.GreaterOrEqual(t, r.Series, testSeries)
		require.Less(t, r.Series, testSeries+perMessage)
		require.Equal(t, r.Series, r.Samples)
		require.Positive(t, r.FirstByte)
	}
	require.Error(t, Main("", "", "many"))
}
