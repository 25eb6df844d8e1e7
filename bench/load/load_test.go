package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func plan(version int) Plan {
	return Plan{
		Profile: Synthetic, Series: 4700, Rounds: 6, PerRequest: 2000, Version: version, Interval: 15 * time.Second,
		Last: time.UnixMilli(1.7e12),
	}
}

// decode returns the samples by series, in order, with the plain library.
func decode(t *testing.T, l *Load) map[string][]prompb.Sample {
	t.Helper()
	samples := map[string][]prompb.Sample{}
	for _, body := range l.Bodies {
		raw, err := snappy.Decode(nil, body)
		require.NoError(t, err)
		if l.Plan.Version == 1 {
			var request prompb.WriteRequest
			require.NoError(t, request.Unmarshal(raw))
			for _, s := range request.Timeseries {
				key := ""
				for _, l := range s.Labels {
					key += l.Name + "=" + l.Value + ","
				}
				samples[key] = append(samples[key], s.Samples...)
			}
			continue
		}
		var request writev2.Request
		require.NoError(t, request.Unmarshal(raw))
		for _, s := range request.Timeseries {
			key := ""
			for i := 0; i < len(s.LabelsRefs); i += 2 {
				key += request.Symbols[s.LabelsRefs[i]] + "=" + request.Symbols[s.LabelsRefs[i+1]] + ","
			}
			require.NotEmpty(t, request.Symbols[s.Metadata.HelpRef])
			for _, x := range s.Samples {
				samples[key] = append(samples[key], prompb.Sample{Value: x.Value, Timestamp: x.Timestamp})
			}
		}
	}
	return samples
}

func TestLoadIsWhatItSays(t *testing.T) {
	first, err := Make(plan(1))
	require.NoError(t, err)
	samples := decode(t, first)
	require.Len(t, samples, 4700)
	constant := 0
	for key, all := range samples {
		require.Len(t, all, 6, key)
		changes := 0
		for i := range all[1:] {
			require.EqualValues(t, 15000, all[i+1].Timestamp-all[i].Timestamp)
			if all[i].Value != all[i+1].Value {
				changes++
			}
		}
		if changes == 0 {
			constant++
		}
	}
	require.InDelta(t, 0.4, float64(constant)/4700, 0.1)
	labels := 0
	for key := range samples {
		labels += strings.Count(key, ",")
	}
	require.InDelta(t, 10.6, float64(labels)/4700, 0.1)
	require.InDelta(t, 346, float64(first.RawBytes)/float64(4700*6), 15)

	second, err := Make(plan(2))
	require.NoError(t, err)
	require.Equal(t, samples, decode(t, second))
}

func TestChurn(t *testing.T) {
	p := plan(1)
	p.Churn = 0.5
	l, err := Make(p)
	require.NoError(t, err)
	require.InDelta(t, 4700*(1+0.5*5), len(decode(t, l)), 1500)
}

func TestSendRepeatsWhatIsRefused(t *testing.T) {
	var asked, bytes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		bytes.Add(n)
	}))
	defer server.Close()
	l, err := Make(plan(1))
	require.NoError(t, err)
	s := Sender{URL: server.URL, Version: 1, Connections: 2, Round: l.Plan.Requests()}
	sent, err := s.Send(t.Context(), l.Bodies)
	require.NoError(t, err)
	require.Positive(t, sent.Retries)
	require.Equal(t, l.Bytes(0, l.Plan.Rounds), bytes.Load())
}

func TestSendKeepsTheOrderOfEachSeries(t *testing.T) {
	const round, rounds = 3, 4
	var mu sync.Mutex
	answered := map[int]int{} // rounds, by position in the round
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		i := int(body[0])
		if i == 0 {
			time.Sleep(100 * time.Millisecond) // the others would overtake it
		}
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, i/round, answered[i%round], "request %d", i)
		answered[i%round]++
	}))
	defer server.Close()
	var bodies [][]byte
	for i := range round * rounds {
		bodies = append(bodies, []byte{byte(i)})
	}
	s := Sender{URL: server.URL, Version: 1, Connections: 2, Round: round}
	_, err := s.Send(t.Context(), bodies)
	require.NoError(t, err)
	require.Equal(t, map[int]int{0: rounds, 1: rounds, 2: rounds}, answered)
}

func TestFindNamesTheProfiles(t *testing.T) {
	p, err := Find("synthetic")
	require.NoError(t, err)
	require.Same(t, Synthetic, p)
	_, err = Find("real")
	require.ErrorContains(t, err, `profile "real" is not known, want one of: synthetic`)
}
