package bound

import (
	"fmt"
	"maps"
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
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/read"
)

const testSeries, testRounds = 700, 3

func makeLoad(t *testing.T, version int) *load.Load {
	t.Helper()
	l, err := load.Make(load.Plan{
		Profile: load.Synthetic, Series: testSeries, Rounds: testRounds, PerRequest: 100, Version: version, Interval: 15 * time.Second, Last: time.Now(),
	})
	require.NoError(t, err)
	return l
}

// plain returns the values of a round, and how many series have each label, by the
// plain library. Those of 2.0 are the same.
func plain(t *testing.T, round int) (values []int64, labels map[string]int) {
	t.Helper()
	labels = map[string]int{}
	for _, body := range makeLoad(t, 1).Rounds(round, round+1) {
		raw, err := snappy.Decode(nil, body)
		require.NoError(t, err)
		var request prompb.WriteRequest
		require.NoError(t, request.Unmarshal(raw))
		for _, s := range request.Timeseries {
			for _, l := range s.Labels {
				labels[l.Name+"="+l.Value]++
			}
			values = append(values, int64(s.Samples[0].Value))
		}
	}
	return values, labels
}

func TestFloorsDoTheWork(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprintf("remote write %d", version), func(t *testing.T) {
			l := makeLoad(t, version)
			p, err := NewPipeline(version, 3, t.TempDir())
			require.NoError(t, err)
			defer p.Close()
			for round := range testRounds {
				floors, err := p.Run(l.Rounds(round, round+1))
				require.NoError(t, err)
				for _, f := range floors {
					require.Positive(t, f.CPU, f.Step)
				}
				values, _ := plain(t, round)
				var have []int64
				for _, s := range p.known {
					have = append(have, s.value)
				}
				require.Equal(t, values, have)
			}
			_, labels := plain(t, 0)
			var have []int
			for _, series := range p.postings {
				require.True(t, slices.IsSorted(series))
				have = append(have, len(series))
			}
			require.ElementsMatch(t, slices.Collect(maps.Values(labels)), have)
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

// free returns addresses on which nobody listens.
func free(t *testing.T, n int) (addresses []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }() // only then, so that all differ
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

// await waits until an address answers requests.
func await(t *testing.T, address string, status int) {
	t.Helper()
	require.Eventually(t, func() bool {
		response, err := http.Post("http://"+address, "", strings.NewReader(strings.Repeat("a", 1<<20)))
		return err == nil && response.Body.Close() == nil && response.StatusCode == status
	}, time.Minute, 10*time.Millisecond)
}

// Real exporters have native histograms, too, whose labels alone are in the floors; a fleet
// has long labels, NaN, and another order in each round.
func TestFloorsOfUnlikeSeries(t *testing.T) {
	const all = 3000 // more than one target of each kind
	for _, profile := range []*load.Profile{load.Recorded, load.Fleet} {
		for _, version := range []int{1, 2} {
			l, err := load.Make(load.Plan{
				Profile: profile, Series: all, Rounds: 2, PerRequest: 500, Version: version, Interval: 15 * time.Second, Last: time.Now(),
			})
			require.NoError(t, err)
			p, err := NewPipeline(version, 1, t.TempDir())
			require.NoError(t, err)
			defer p.Close()
			for round := range 2 {
				_, err := p.Run(l.Rounds(round, round+1))
				require.NoError(t, err)
				require.Len(t, p.known, all)
			}
		}
	}
}

func TestMainServesWhatIsReady(t *testing.T) {
	addresses := free(t, 2)
	go func() { _ = Main(addresses[0], addresses[1], load.Synthetic.Name, strconv.Itoa(testSeries)) }()
	await(t, addresses[0], http.StatusNoContent)
	for _, address := range addresses {
		r, err := read.Snapshot(t.Context(), read.Server{Address: address})
		require.NoError(t, err)
		require.GreaterOrEqual(t, r.Series, testSeries)
		require.Less(t, r.Series, testSeries+perMessage)
		require.Equal(t, r.Series, r.Samples)
		require.Positive(t, r.FirstByte)
	}
	require.Error(t, Main("", "", load.Synthetic.Name, "many"))
	require.ErrorContains(t, Main("", "", "real", "1"), "real")
}

func TestPassHandsOnWhatAllServersSend(t *testing.T) {
	a := free(t, 5)
	go func() { _ = Main(a[0], a[1], load.Synthetic.Name, strconv.Itoa(testSeries)) }()
	await(t, a[0], http.StatusNoContent)
	go func() { _ = Pass(a[2], a[3], []string{a[1], a[1]}) }()
	await(t, a[2], http.StatusOK)
	one, err := read.Snapshot(t.Context(), read.Server{Address: a[1]})
	require.NoError(t, err)
	both, err := read.Snapshot(t.Context(), read.Server{Address: a[3]})
	require.NoError(t, err)
	require.Equal(t, 2*one.Series, both.Series)
	require.Equal(t, 2*one.Bytes, both.Bytes)

	require.Error(t, Pass(a[4], a[3], nil), "the address is taken")
}
