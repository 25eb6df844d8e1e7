package e2e

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/promgrpc/exporter/e2e/harness"
)

// flat is by how much a process may grow while it refuses what is not for it.
// Claims of the requests are far above.
const flat = 200 << 20

// TestBadInput sends what no sender should, to the real receiver.
func TestBadInput(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{Servers: 1})
	url := cluster.WriteURL()
	valid := harness.Encode(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{
		series(map[string]string{"__name__": "fine"}, 1),
	}})
	// Claims to have 4 GiB less one byte, in a body of no size.
	bomb := append(binary.AppendUvarint(nil, 1<<32-1), bytes.Repeat([]byte{0xfe, 1, 0}, 1000)...)
	// A body that does decompress, to a gigabyte that is too much.
	large := append(binary.AppendUvarint(nil, 1<<30), snappy.Encode(nil, make([]byte, 32<<20))[4:]...)

	// Within the limits, and nothing in it.
	zeros := snappy.Encode(nil, make([]byte, 20<<20))

	cases := []struct {
		name     string
		method   string
		header   map[string]string
		body     []byte
		status   int
		answer   string // part of the answer, in any case
		repeated int
	}{
		{name: "junk", body: []byte("this is not snappy at all"), status: 400, answer: "snappy"},
		{name: "junk in snappy", body: snappy.Encode(nil, []byte("this is not protobuf")), status: 400},
		{name: "cut off", body: valid[:len(valid)-3], status: 400},
		{name: "empty", body: nil, status: 400},
		{name: "bomb of 4 GiB", body: bomb, status: 413, repeated: 50},
		{name: "bomb of 1 GiB", body: large, status: 413, repeated: 20},
		{name: "20 MiB of zeros", body: zeros, status: 400, repeated: 5},
		{name: "oversized", body: make([]byte, 100<<20), status: 413, repeated: 3},
		{name: "json", header: map[string]string{"Content-Type": "application/json"}, body: []byte("{}"), status: 415, answer: "application/x-protobuf"},
		{name: "unknown message", header: map[string]string{"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"}, body: valid, status: 415},
		{name: "gzip", header: map[string]string{"Content-Encoding": "gzip"}, body: valid, status: 415, answer: "snappy"},
		{name: "deflate", header: map[string]string{"Content-Encoding": "deflate"}, body: valid, status: 415, answer: "snappy"},
		{name: "GET", method: http.MethodGet, status: 405},
		{name: "PUT", method: http.MethodPut, body: valid, status: 405},
		{name: "valid", body: valid, status: 204},
		// As the reference receiver has it: early senders lack these.
		{name: "no type", header: map[string]string{"Content-Type": ""}, body: valid, status: 204},
		{name: "no encoding", header: map[string]string{"Content-Encoding": ""}, body: valid, status: 204},
	}
	processes := append([]*harness.Process{cluster.Receiver}, cluster.Forwarders...)
	before := map[*harness.Process]int64{}
	for _, p := range processes {
		before[p] = p.Memory().RSS
		p.ResetPeak()
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for range max(1, c.repeated) {
				status, header, answer := request(t, url, c.method, c.header, c.body)
				if status != c.status {
					t.Fatalf("status %d, want %d: %s", status, c.status, answer)
				}
				if text := strings.TrimSpace(answer); (text == "") != (c.status == 204) {
					t.Errorf("answer %q", answer)
				}
				if !strings.Contains(strings.ToLower(answer), strings.ToLower(c.answer)) {
					t.Errorf("no %q in the answer: %s", c.answer, answer)
				}
				if c.status == 405 && header.Get("Allow") != http.MethodPost {
					t.Errorf("Allow: %q", header.Get("Allow"))
				}
			}
		})
	}
	for _, p := range processes {
		m := p.Memory()
		t.Logf("%s: %d MiB before, %d MiB after, at most %d MiB", p.Name, before[p]>>20, m.RSS>>20, m.Peak>>20)
		if m.Peak > before[p]+flat {
			t.Errorf("%s used %d MiB, %d MiB before", p.Name, m.Peak>>20, before[p]>>20)
		}
	}
}

// TestOneBadSeries has one bad series in a request of a hundred.
func TestOneBadSeries(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{Servers: 1})
	bad := map[string]prompb.TimeSeries{
		"duplicate label": {Labels: []prompb.Label{{Name: "__name__", Value: "culprit_0"}, {Name: "a", Value: "1"}, {Name: "a", Value: "2"}}},
		"empty name":      {Labels: []prompb.Label{{Name: "", Value: "1"}, {Name: "__name__", Value: "culprit_2"}}},
		"not UTF8":        {Labels: []prompb.Label{{Name: "__name__", Value: "culprit_3"}, {Name: "a", Value: "\xff\xfe"}}},
	}
	for name, culprit := range bad {
		t.Run(name, func(t *testing.T) {
			metric := strings.ReplaceAll(name, " ", "_")
			culprit.Samples = []prompb.Sample{{Value: 1, Timestamp: 1}}
			var list []prompb.TimeSeries
			for i := range 100 {
				if i == 50 {
					list = append(list, culprit)
					continue
				}
				list = append(list, series(map[string]string{"__name__": metric, "i": strconv.Itoa(i)}, float64(i)))
			}
			body := harness.Encode(t, &prompb.WriteRequest{Timeseries: list})
			status, answer, err := harness.Write(cluster.WriteURL(), body)
			if err != nil || status != http.StatusBadRequest {
				t.Fatalf("status %d, %v: %s", status, err, answer)
			}
			contains(t, []byte(answer), "culprit")
			t.Log(answer)
			awaitSeries(t, cluster, metric, 99)
		})
	}
	if got := harness.Get(t, cluster.RPC(0), "grpc", `{__name__=~"culprit.*"}`).Points; len(got) != 0 {
		t.Errorf("a bad series was stored: %v", got)
	}
}

// request sends a write request that differs from a proper one in the headers
// given; an empty header is left out.
func request(t *testing.T, url, method string, header map[string]string, body []byte) (int, http.Header, string) {
	t.Helper()
	if method == "" {
		method = http.MethodPost
	}
	r, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "snappy")
	for name, value := range header {
		if r.Header.Set(name, value); value == "" {
			r.Header.Del(name)
		}
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(answer)
}
