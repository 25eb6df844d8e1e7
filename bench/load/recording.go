package load

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// packed is what bench/record has written: one compressed request of remote write 2.0,
// which has all samples of each series, without timestamps.
//
//go:embed recording.zst
var packed []byte

var recorded = sync.OnceValues(func() ([]page, error) { return unpack(packed) })

// A page is what a scrape of one exporter gave.
type page []curve

// A curve is a series with all that was recorded of it: values, or native histograms.
type curve struct {
	labels     []prompb.Label
	kind       writev2.Metadata_MetricType
	help       string
	values     []float64
	histograms []*histogram.Histogram
	rises      bool    // never falls, as a counter
	scale      float64 // values have as many decimals as this power of ten has zeros; 0 for any number
}

// unpack returns the pages of a recording.
func unpack(compressed []byte) (pages []page, err error) {
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	raw, err := decoder.DecodeAll(compressed, nil)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	var request writev2.Request
	if err := request.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	job := ""
	for i := range request.Timeseries {
		c := newCurve(&request, &request.Timeseries[i])
		if c.length() < 2 {
			return nil, fmt.Errorf("recording: series %d has %d samples, want at least 2", i, c.length())
		}
		if of := c.label("job"); of != job || len(pages) == 0 {
			job, pages = of, append(pages, nil)
		}
		pages[len(pages)-1] = append(pages[len(pages)-1], c)
	}
	if len(pages) == 0 {
		return nil, errors.New("recording: no series")
	}
	return pages, nil
}

func newCurve(request *writev2.Request, s *writev2.TimeSeries) curve {
	c := curve{kind: s.Metadata.Type, help: request.Symbols[s.Metadata.HelpRef]}
	for i := 0; i < len(s.LabelsRefs); i += 2 {
		c.labels = append(c.labels, prompb.Label{Name: request.Symbols[s.LabelsRefs[i]], Value: request.Symbols[s.LabelsRefs[i+1]]})
	}
	for _, x := range s.Samples {
		c.values = append(c.values, x.Value)
	}
	for _, h := range s.Histograms {
		c.histograms = append(c.histograms, h.ToIntHistogram())
	}
	c.rises, c.scale = rises(c.values), scale(c.values)
	return c
}

func (c *curve) length() int { return max(len(c.values), len(c.histograms)) }

func (c *curve) label(name string) string {
	for _, l := range c.labels {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

func rises(values []float64) bool {
	for i := range values {
		if math.IsNaN(values[i]) || i > 0 && values[i] < values[i-1] {
			return false
		}
	}
	return true
}

// scale is the power of ten that makes all values whole, 0 if that takes more than nine
// decimals.
func scale(values []float64) float64 {
	most := 0
	for _, v := range values {
		_, decimals, _ := strings.Cut(strconv.FormatFloat(v, 'f', -1, 64), ".")
		most = max(most, len(decimals))
	}
	if most > 9 {
		return 0
	}
	return math.Pow10(most)
}
