package promql

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/e2e/harness"
)

// instances of the generated job, by the names that the corpus knows.
var instances = []string{"host:10000", "host:10001", "host:10002"}

// jobs starts the targets, and returns how Prometheus scrapes them. The last one goes
// away at times, and comes back: every sixteenth scrape and the three after it fail.
func jobs(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", harness.Host()+":0")
	require.NoError(t, err)
	mux := http.NewServeMux()
	var targets strings.Builder
	for i, instance := range instances {
		g := newGenerator(i)
		path := fmt.Sprintf("/%d", i)
		flaky := i == len(instances)-1
		page := promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if n := g.scrapes.Add(1); flaky && n%16 < 4 {
				http.Error(w, "away", http.StatusServiceUnavailable)
				return
			}
			g.step()
			page.ServeHTTP(w, r)
		})
		fmt.Fprintf(&targets, "  - targets: ['%s']\n    labels: {instance: '%s', __metrics_path__: '%s'}\n", listener.Addr(), instance, path)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "- job_name: demo\n  static_configs:\n" + targets.String() +
		"- job_name: custom\n  convert_classic_histograms_to_nhcb: true\n  metric_relabel_configs:\n" +
		"  - {source_labels: [__name__], regex: 'demo_custom_seconds|up', action: keep}\n  static_configs:\n" + targets.String()
}

// generator is one target. Its series move at each scrape, by a random of their own.
type generator struct {
	registry *prometheus.Registry
	random   *rand.Rand
	scrapes  atomic.Int64

	requests     *prometheus.CounterVec
	memory       *prometheus.GaugeVec
	intermittent *prometheus.GaugeVec
	special      *prometheus.GaugeVec
	mixed        *mixed
	timestamp    prometheus.Gauge
	native       prometheus.Histogram
	negative     prometheus.Histogram
	classic      prometheus.Histogram
	custom       prometheus.Histogram
	utf8         *prometheus.GaugeVec
	utf8Requests prometheus.Counter
	resetting    *resetting
}

func newGenerator(i int) *generator {
	native := func(name string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: "A native histogram.", NativeHistogramBucketFactor: 1.3})
	}
	g := &generator{
		registry: prometheus.NewRegistry(), random: rand.New(rand.NewPCG(uint64(i), 1)),
		requests:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "demo_requests_total", Help: "Requests, with exemplars."}, []string{"code"}),
		memory:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "demo_memory_bytes", Help: "Memory."}, []string{"type"}),
		intermittent: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "demo_intermittent", Help: "Comes and goes."}, []string{"n"}),
		special:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "demo_special", Help: "Values that are none."}, []string{"what"}),
		timestamp:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "demo_timestamp_seconds", Help: "A time."}),
		native:       native("demo_histogram"), negative: native("demo_negative"),
		classic:      prometheus.NewHistogram(prometheus.HistogramOpts{Name: "demo_duration_seconds", Help: "A classic histogram.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 8)}),
		custom:       prometheus.NewHistogram(prometheus.HistogramOpts{Name: "demo_custom_seconds", Help: "One that becomes native.", Buckets: []float64{0.1, 0.5, 1, 2}}),
		utf8:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "demo.utf8/name", Help: "Ünicode."}, []string{"label with spaces", "größe"}),
		utf8Requests: prometheus.NewCounter(prometheus.CounterOpts{Name: "demo.utf8/requests", Help: "Requests by another name."}),
		resetting:    &resetting{native: native("demo_resetting_histogram")}, mixed: &mixed{native: native("demo_mixed")},
	}
	cpus := prometheus.NewGauge(prometheus.GaugeOpts{Name: "demo_cpus", Help: "Processors."})
	cpus.Set(float64(2 + i))
	g.registry.MustRegister(cpus, g.requests, g.memory, g.intermittent, g.special, g.timestamp, g.native, g.negative, g.classic, g.custom, g.utf8, g.utf8Requests, g.resetting, g.mixed)
	return g
}

func (g *generator) step() {
	n := g.scrapes.Load()
	for _, code := range []string{"200", "404", "500"} {
		g.requests.WithLabelValues(code).(prometheus.ExemplarAdder).AddWithExemplar(float64(g.random.IntN(50)), prometheus.Labels{"trace_id": strconv.FormatInt(n, 16) + code})
	}
	for _, kind := range []string{"used", "free", "cached"} {
		g.memory.WithLabelValues(kind).Set(math.Round(1e9 * g.random.Float64()))
	}
	g.intermittent.Reset()
	if n%7 < 4 {
		g.intermittent.WithLabelValues(strconv.FormatInt(n/14%2, 10)).Set(float64(n))
	}
	for what, v := range map[string]float64{"nan": math.NaN(), "infinite": math.Inf(1), "below": math.Inf(-1), "negative": -2.5, "changing": []float64{1, math.NaN(), -1, math.Inf(1)}[n%4]} {
		g.special.WithLabelValues(what).Set(v)
	}
	g.timestamp.Set(float64(1.7e9 + n*3600*7))
	for range 20 {
		g.native.(prometheus.ExemplarObserver).ObserveWithExemplar(g.random.ExpFloat64()/5, prometheus.Labels{"trace_id": strconv.FormatUint(g.random.Uint64(), 16)})
		g.negative.Observe(g.random.NormFloat64())
		g.classic.Observe(g.random.ExpFloat64() / 5)
		g.custom.Observe(g.random.ExpFloat64() / 2)
	}
	g.utf8.WithLabelValues("ü", "klein").Set(float64(n % 5))
	g.utf8.WithLabelValues("\"quoted\" \\", "groß").Set(g.random.Float64())
	g.utf8Requests.Add(3)
	g.resetting.step(n, g.random)
	g.mixed.step(n, g.random)
}

// resetting is a counter and a native histogram that start again at every ninth scrape.
type resetting struct {
	total  float64
	native prometheus.Histogram
}

var resettingTotal = prometheus.NewDesc("demo_resetting_total", "A counter that starts again.", nil, nil)

func (r *resetting) step(n int64, random *rand.Rand) {
	if n%9 == 0 {
		r.total = 0
		r.native = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "demo_resetting_histogram", Help: "A native histogram.", NativeHistogramBucketFactor: 1.3})
	}
	r.total += float64(random.IntN(10))
	for range 5 {
		r.native.Observe(random.ExpFloat64())
	}
}

// Describe implements [prometheus.Collector].
func (r *resetting) Describe(to chan<- *prometheus.Desc) {
	to <- resettingTotal
	r.native.Describe(to)
}

// Collect implements [prometheus.Collector].
func (r *resetting) Collect(to chan<- prometheus.Metric) {
	to <- prometheus.MustNewConstMetric(resettingTotal, prometheus.CounterValue, r.total)
	r.native.Collect(to)
}

// mixed is a series that is a native histogram at times, and a gauge at others.
type mixed struct {
	native prometheus.Histogram
	float  bool
	value  float64
}

var mixedGauge = prometheus.NewDesc("demo_mixed", "A native histogram.", nil, nil)

func (m *mixed) step(n int64, random *rand.Rand) {
	m.float, m.value = n%10 < 3, random.Float64()
	m.native.Observe(m.value)
}

// Describe implements [prometheus.Collector].
func (m *mixed) Describe(to chan<- *prometheus.Desc) { m.native.Describe(to) }

// Collect implements [prometheus.Collector].
func (m *mixed) Collect(to chan<- prometheus.Metric) {
	if m.float {
		to <- prometheus.MustNewConstMetric(mixedGauge, prometheus.GaugeValue, m.value)
		return
	}
	m.native.Collect(to)
}
