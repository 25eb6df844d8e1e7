package load

import (
	"iter"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// Synthetic is a load of pods that are all alike, made without anything to start from.
var Synthetic = &Profile{
	Name: "synthetic",
	Few:  `{instance="10.0.0.7:9090",handler="/api/v1/items/3"}`,
	Part: pods,
}

// A target is one pod's scrape, with its series in an exporter's order.
const (
	histograms      = 15
	buckets         = 10
	counters        = 40
	gauges          = 30
	histogramSeries = buckets + 2 // and the sum and the count
	targetSeries    = histograms*histogramSeries + counters + gauges
)

var (
	bounds     = [buckets]string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"}
	methods    = []string{"GET", "POST", "PUT", "DELETE"}
	namespaces = []string{"checkout-production", "payments-production", "search-production", "identity-production", "monitoring"}
	services   = []string{"frontend-gateway", "order-service", "invoice-worker", "catalogue-index", "session-store", "mail-relay", "audit-log"}
)

// target holds the labels and current values of one pod's series.
type target struct {
	number     int
	generation int
	labels     [targetSeries][]prompb.Label
	values     [targetSeries]float64
	kinds      [targetSeries]int // for the metadata of remote write 2.0
}

const (
	kindCounter = iota
	kindGauge
	kindHistogram
)

var help = []string{
	kindCounter:   "Connections that the client has opened since it started, by pool.",
	kindGauge:     "Bytes of the memory pool that are in use.",
	kindHistogram: "Time from the first byte of a request to the last of its answer.",
}

var types = []writev2.Metadata_MetricType{
	kindCounter:   writev2.Metadata_METRIC_TYPE_COUNTER,
	kindGauge:     writev2.Metadata_METRIC_TYPE_GAUGE,
	kindHistogram: writev2.Metadata_METRIC_TYPE_HISTOGRAM,
}

// pods returns the series of a part of all pods, by round.
func pods(p Plan, first, end int) (func(round int) iter.Seq[Series], error) {
	targets := make([]target, (end-1)/targetSeries-first/targetSeries+1)
	for i := range targets {
		targets[i].restart(first/targetSeries+i, 0)
	}
	return func(round int) iter.Seq[Series] {
		return func(yield func(Series) bool) {
			for i := range targets {
				t := &targets[i]
				phase := source(t.number)
				if g := int(math.Floor(float64(round)*p.Churn + phase.float())); g != t.generation {
					t.restart(t.number, g)
				}
				t.advance(round)
				base := t.number * targetSeries
				for s := max(first, base) - base; s < min(end-base, targetSeries); s++ {
					if !yield(Series{Labels: t.labels[s], Type: types[t.kinds[s]], Help: help[t.kinds[s]], Value: t.values[s]}) {
						return
					}
				}
			}
		}
	}, nil
}

// restart makes the target the pod of a generation.
func (t *target) restart(number, generation int) {
	t.number, t.generation = number, generation
	random := source(uint64(number)<<20 | uint64(generation))
	service := services[number%len(services)]
	pod := service + "-" + strconv.FormatUint(random.next()>>32, 36) + "-" + strconv.Itoa(number)
	label := func(name, value string) prompb.Label { return prompb.Label{Name: name, Value: value} }
	shared := []prompb.Label{
		label("cluster", "eu-west-1-production"),
		label("container", service),
		label("instance", "10."+strconv.Itoa(number>>16&255)+"."+strconv.Itoa(number>>8&255)+"."+strconv.Itoa(number&255)+":9090"),
		label("job", "kubernetes-pods/"+service),
		label("namespace", namespaces[number%len(namespaces)]),
		label("node", "worker-"+strconv.Itoa(number/20)+".eu-west-1"),
		label("pod", pod),
	}
	for i := range t.labels {
		name, le, extra, kind := describe(i)
		ls := append(make([]prompb.Label, 0, 11), label("__name__", name), shared[0], shared[1],
			label("handler", "/api/v1/items/"+strconv.Itoa(extra)), shared[2], shared[3])
		if le != "" {
			ls = append(ls, label("le", le))
		}
		ls = append(ls, label("method", methods[extra%len(methods)]))
		t.labels[i], t.kinds[i] = append(ls, shared[4:]...), kind
		t.values[i] = 0
		if kind != kindHistogram {
			t.values[i] = math.Floor(random.float() * 1e6)
		}
	}
}

// describe returns what is the same for a series in every target.
func describe(i int) (name, le string, extra, kind int) {
	if i < histograms*histogramSeries {
		histogram, part := i/histogramSeries, i%histogramSeries
		name = "http_server_request_duration_seconds"
		switch {
		case part < buckets:
			return name + "_bucket", bounds[part], histogram, kindHistogram
		case part == buckets:
			return name + "_sum", "", histogram, kindHistogram
		}
		return name + "_count", "", histogram, kindHistogram
	}
	i -= histograms * histogramSeries
	if i < counters {
		return "http_client_connections_" + strconv.Itoa(i%8) + "_opened_total", "", i, kindCounter
	}
	i -= counters
	return "process_runtime_memory_pool_" + strconv.Itoa(i%6) + "_used_bytes", "", i, kindGauge
}

// advance sets the values of a round. A third of the histograms and gauges and half of
// the counters never change.
func (t *target) advance(round int) {
	random := source(uint64(t.number)<<32 ^ uint64(round)<<8 ^ 0x5bd1e995)
	for h := range histograms {
		if h%3 == 0 {
			continue
		}
		at := h * histogramSeries
		observed := 0.0
		for b := range buckets {
			observed += float64(random.next() % 7)
			t.values[at+b] += observed
		}
		t.values[at+buckets] += observed * (0.02 + random.float()/10)
		t.values[at+buckets+1] += observed
	}
	at := histograms * histogramSeries
	for c := range counters {
		if c%2 == 0 {
			t.values[at+c] += float64(random.next() % 5000)
		}
	}
	at += counters
	for g := range gauges {
		switch g % 3 {
		case 0: // a float with noise
			t.values[at+g] += (random.float() - 0.5) * 1000
		case 1: // bytes, a page at a time
			t.values[at+g] += float64(int(random.next()%64)-32) * 4096
		}
	}
}

// source is a small random generator, whose seed determines all that follows.
type source uint64

func (s *source) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s *source) float() float64 { return float64(s.next()>>11) / (1 << 53) }
