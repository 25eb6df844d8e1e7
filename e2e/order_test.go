package e2e

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/promgrpc/exporter/e2e/harness"
)

// kinds makes requests of one series that has floats and histograms, no two of one
// time: so the times say in which order they come.
type kinds struct {
	random *rand.Rand
	times  []int64  // to be given
	want   []string // that were given, in the order in which they are to come
}

func newKinds(samples int) *kinds {
	k := &kinds{random: rand.New(rand.NewPCG(9, 10))}
	first := time.Now().Add(-time.Minute).UnixMilli()
	for _, i := range k.random.Perm(samples) {
		k.times = append(k.times, first+int64(i))
	}
	return k
}

// take returns times for a list, in order as a rule.
func (k *kinds) take(n int) []int64 {
	n = min(n, len(k.times))
	list := slices.Clone(k.times[:n])
	k.times = k.times[n:]
	if k.random.IntN(4) > 0 {
		slices.Sort(list)
	}
	return list
}

// request makes a request of lists of floats and of histograms, which come in order
// of time.
func (k *kinds) request() (floats, histograms [][]int64) {
	for range 1 + k.random.IntN(3) {
		f, h := k.take(k.random.IntN(4)), k.take(k.random.IntN(4))
		if len(f)+len(h) == 0 {
			continue
		}
		floats, histograms = append(floats, f), append(histograms, h)
		for len(f)+len(h) > 0 {
			if len(h) == 0 || len(f) > 0 && f[0] < h[0] {
				k.want, f = append(k.want, timestamp(f[0])), f[1:]
			} else {
				k.want, h = append(k.want, timestamp(h[0])), h[1:]
			}
		}
	}
	return floats, histograms
}

func timestamp(ms int64) string { return strconv.FormatInt(ms, 10) }

var oneObservation = &histogram.Histogram{Count: 1, Sum: 1, PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []int64{1}}

func encodeV1(floats, histograms [][]int64) ([]byte, error) {
	request := &prompb.WriteRequest{}
	for i := range floats {
		s := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "kinds"}}}
		for _, at := range floats[i] {
			s.Samples = append(s.Samples, prompb.Sample{Value: 1, Timestamp: at})
		}
		for _, at := range histograms[i] {
			s.Histograms = append(s.Histograms, prompb.FromIntHistogram(at, oneObservation))
		}
		request.Timeseries = append(request.Timeseries, s)
	}
	return request.Marshal()
}

func encodeV2(floats, histograms [][]int64) ([]byte, error) {
	request := &writev2.Request{Symbols: []string{"", "__name__", "kinds"}}
	for i := range floats {
		s := writev2.TimeSeries{LabelsRefs: []uint32{1, 2}}
		for _, at := range floats[i] {
			s.Samples = append(s.Samples, writev2.Sample{Value: 1, Timestamp: at})
		}
		for _, at := range histograms[i] {
			s.Histograms = append(s.Histograms, writev2.FromIntHistogram(0, at, oneObservation))
		}
		request.Timeseries = append(request.Timeseries, s)
	}
	return request.Marshal()
}

// send writes a request by remote write 1.0 or 2.0.
func (k *kinds) send(t *testing.T, url string) {
	t.Helper()
	encode, contentType, version := encodeV1, "application/x-protobuf", "0.1.0"
	if k.random.IntN(2) == 0 {
		encode, contentType, version = encodeV2, contentType+";proto=io.prometheus.write.v2.Request", "2.0.0"
	}
	body, err := encode(k.request())
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Content-Encoding", "snappy")
	request.Header.Set("X-Prometheus-Remote-Write-Version", version)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusNoContent {
		t.Fatalf("remote write %s: %s", version, answer.Status)
	}
}

var inMilliseconds = regexp.MustCompile(`\b\d{13}\b`)

// printed are the timestamps of what the client printed, a sample a line.
func printed(out []byte) (times []string) {
	for _, digits := range inMilliseconds.FindAll(out, -1) {
		times = append(times, string(digits))
	}
	return times
}

// TestOrder writes a series that has floats and histograms by turns, and reads them
// in the order in which they were written: while they come and afterwards, over each
// protocol, in each output that has a line a sample, from each server, from one that
// was restarted, and from a relay.
func TestOrder(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{})
	relay := harness.Start(t, "relay", harness.Binary(t, "prometheus-grpc-client"), "relay",
		"--upstream="+cluster.RPCs(), "--listen="+harness.Host()+":0", "--storage.path="+t.TempDir())
	k := newKinds(500)
	k.send(t, cluster.WriteURL())
	followers := map[string]*harness.Follower{}
	for _, protocol := range protocols {
		followers[protocol] = harness.Follow(t, cluster.RPCs(), protocol, "kinds", "--since=1h")
	}
	for len(k.times) > 0 {
		k.send(t, cluster.WriteURL())
	}
	same := func(what string, read func() []byte) {
		t.Helper()
		harness.Eventually(t, what, func() bool { return len(printed(read())) >= len(k.want) })
		if got := printed(read()); !slices.Equal(got, k.want) {
			t.Errorf("%s: another order: %v, want %v", what, got, k.want)
		}
	}
	for protocol, f := range followers {
		same("a follower over "+protocol, f.Stdout().Bytes)
	}
	reads := func(what, address string) {
		t.Helper()
		for _, protocol := range protocols {
			for _, output := range []string{"json", "text", "csv"} {
				same(what+" over "+protocol+" as "+output, func() []byte {
					_, out, _ := harness.Client(t, "get", "--address="+address, "--protocol="+protocol, "--output="+output, "--since=1h", "kinds")
					return out
				})
			}
		}
	}
	reads("the first server", cluster.RPC(0))
	reads("the second server", cluster.RPC(1))
	reads("the relay", relay.Listening("rpc"))
	cluster.Servers[0].Kill()
	cluster.Servers[0].Restart()
	cluster.Ready()
	reads("the server after a restart", cluster.RPC(0))
}
