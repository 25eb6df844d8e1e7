package harness

import (
	"context"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// StartApp starts a scrape target inside the test that has what Prometheus'
// own metrics lack: values and labels that are hard to carry, exemplars, native
// histograms, and series that go stale. It returns the address.
func StartApp(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", Host()+":0")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registerHard(registry)
	app := newApp(registry)
	server := &http.Server{
		Handler:           promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}),
		ReadHeaderTimeout: patience,
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	app.step(0)
	go func() { _ = server.Serve(listener) }()
	go func() {
		defer close(done)
		app.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = server.Close()
	})
	return listener.Addr().String()
}

// registerHard registers series whose values and labels are hard to carry.
func registerHard(registry *prometheus.Registry) {
	values := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "app_value", Help: "Values, \"hard\" ones\nfirst."}, []string{"what"})
	for what, v := range map[string]float64{
		"nan": math.NaN(), "infinity": math.Inf(1), "minus infinity": math.Inf(-1),
		"minus zero": math.Copysign(0, -1), "smallest": math.SmallestNonzeroFloat64,
		"largest": math.MaxFloat64, "third": 1.0 / 3, "integer": 1 << 53,
		"été \"quoted\" \\ back\nnew line\ttab 🚀": 1, `{x="y",z}=#`: 2,
	} {
		values.WithLabelValues(what).Set(v)
	}
	registry.MustRegister(values)
}

// app has the series that move.
type app struct {
	requests prometheus.Counter
	latency  prometheus.Histogram
	negative prometheus.Histogram
	classic  prometheus.Histogram
	summary  prometheus.Summary
	episode  *prometheus.GaugeVec
}

func newApp(registry *prometheus.Registry) *app {
	a := &app{
		requests: prometheus.NewCounter(prometheus.CounterOpts{Name: "app_requests_total", Help: "Requests, with exemplars."}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "app_latency_seconds", Help: "A native histogram.",
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 40,
		}),
		negative: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "app_delta_seconds", Help: "A native histogram of both signs that starts again at times.",
			NativeHistogramBucketFactor: 2, NativeHistogramMaxBucketNumber: 10, NativeHistogramMinResetDuration: time.Second,
		}),
		classic: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "app_size_bytes", Help: "A histogram with its own buckets.", Buckets: prometheus.ExponentialBuckets(1, 4, 6),
		}),
		summary: prometheus.NewSummary(prometheus.SummaryOpts{
			Name: "app_quality_ratio", Help: "A summary.", Objectives: map[float64]float64{0.5: 0.05, 0.9: 0.01},
		}),
		episode: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "app_episode", Help: "Series that come and go."}, []string{"number"}),
	}
	registry.MustRegister(a.requests, a.latency, a.negative, a.classic, a.summary, a.episode)
	return a
}

func (a *app) run(ctx context.Context) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
			a.step(n)
		case <-ctx.Done():
			return
		}
	}
}

func (a *app) step(n int) {
	trace := prometheus.Labels{"trace_id": strconv.Itoa(n)}
	a.requests.(prometheus.ExemplarAdder).AddWithExemplar(1, trace)
	a.latency.(prometheus.ExemplarObserver).ObserveWithExemplar(rand.ExpFloat64(), trace)
	a.negative.Observe(math.Exp(float64(n%40)) * rand.NormFloat64())
	a.classic.Observe(1000 * rand.ExpFloat64())
	a.summary.Observe(rand.Float64())
	if n%40 == 0 {
		a.episode.Reset()
	}
	a.episode.WithLabelValues(strconv.Itoa(n / 40)).Set(float64(n))
}
