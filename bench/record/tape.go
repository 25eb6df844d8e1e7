package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// tape keeps what Prometheus writes, by series.
type tape struct {
	mu     sync.Mutex
	series map[string]*series
}

type series struct {
	labels     []string // name, value, name, …
	help       string
	kind       writev2.Metadata_MetricType
	samples    map[int64]float64 // by timestamp
	histograms map[int64]writev2.Histogram
}

func newTape() *tape { return &tape{series: map[string]*series{}} }

// receive is the handler for remote write 2.0.
func (t *tape) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		body, err = snappy.Decode(nil, body)
	}
	var request writev2.Request
	if err == nil {
		err = request.Unmarshal(body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t.add(&request)
	w.WriteHeader(http.StatusNoContent)
}

func (t *tape) add(request *writev2.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, written := range request.Timeseries {
		var labels []string
		for _, ref := range written.LabelsRefs {
			labels = append(labels, request.Symbols[ref])
		}
		key := strings.Join(labels, "\xff")
		s := t.series[key]
		if s == nil {
			s = &series{labels: labels, samples: map[int64]float64{}, histograms: map[int64]writev2.Histogram{}}
			t.series[key] = s
		}
		s.kind, s.help = written.Metadata.Type, request.Symbols[written.Metadata.HelpRef]
		for _, x := range written.Samples {
			s.samples[x.Timestamp] = x.Value
		}
		for _, h := range written.Histograms {
			s.histograms[h.Timestamp] = h
		}
	}
}

// clear forgets what was received so far.
func (t *tape) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.series)
}

// rounds is how many samples there are of each target.
func (t *tape) rounds() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	least := -1
	for _, s := range t.series {
		if s.label("__name__") == "up" && (least < 0 || len(s.samples) < least) {
			least = len(s.samples)
		}
	}
	return max(least, 0)
}

// request is the recording: all samples of the first rounds, without timestamps, series in
// the order of their targets. Left out are series that lack a sample, and native
// histograms whose buckets change their widths.
func (t *tape) request(rounds int) (request *writev2.Request, left int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	times := map[string][]int64{}
	for _, s := range t.series {
		if s.label("__name__") == "up" {
			times[s.label("instance")] = slices.Sorted(maps.Keys(s.samples))[:rounds]
		}
	}
	symbols := writev2.NewSymbolTable()
	request = &writev2.Request{}
	for _, s := range slices.SortedFunc(maps.Values(t.series), compare) {
		kept, ok := s.kept(times[s.label("instance")])
		if !ok {
			left++
			continue
		}
		for _, text := range s.labels {
			kept.LabelsRefs = append(kept.LabelsRefs, symbols.Symbolize(text))
		}
		kept.Metadata = writev2.Metadata{Type: s.kind, HelpRef: symbols.Symbolize(s.help)}
		request.Timeseries = append(request.Timeseries, kept)
	}
	request.Symbols = symbols.Symbols()
	return request, left
}

// compare orders by job, as Prometheus sends the series of one target after the other.
func compare(a, b *series) int {
	return cmp.Or(cmp.Compare(a.label("job"), b.label("job")), slices.Compare(a.labels, b.labels))
}

func (s *series) kept(times []int64) (kept writev2.TimeSeries, ok bool) {
	for _, at := range times {
		if value, ok := s.samples[at]; ok {
			kept.Samples = append(kept.Samples, writev2.Sample{Value: value})
		}
		if h, ok := s.histograms[at]; ok && !h.IsFloatHistogram() {
			h.Timestamp = 0
			kept.Histograms = append(kept.Histograms, h)
		}
	}
	for _, h := range kept.Histograms {
		if h.Schema != kept.Histograms[0].Schema || h.ZeroThreshold != kept.Histograms[0].ZeroThreshold {
			return kept, false
		}
	}
	return kept, len(times) > 0 && max(len(kept.Samples), len(kept.Histograms)) == len(times) && min(len(kept.Samples), len(kept.Histograms)) == 0
}

func (s *series) label(name string) string {
	for i := 0; i < len(s.labels); i += 2 {
		if s.labels[i] == name {
			return s.labels[i+1]
		}
	}
	return ""
}

// refuseNames returns an error if a recording names this machine or one of its folders.
func refuseNames(request *writev2.Request) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	names := regexp.MustCompile(`\b` + regexp.QuoteMeta(host) + `\b|/(tmp|home|root)\b`)
	for _, text := range request.Symbols {
		if name := names.FindString(text); name != "" {
			return fmt.Errorf("the recording would name %q, in %q", name, text)
		}
	}
	return nil
}

func pack(request *writev2.Request) ([]byte, error) {
	raw, err := request.Marshal()
	if err != nil {
		return nil, err
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20))
	if err != nil {
		return nil, err
	}
	return encoder.EncodeAll(raw, nil), encoder.Close()
}
