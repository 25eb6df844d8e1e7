package promql

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/e2e/harness"
)

// scraped is for how long Prometheus scrapes every second.
const scraped = 50 * time.Second

// pair is a Prometheus and a server that has what it wrote.
type pair struct {
	prometheus, ours api
	at               time.Time // the last time of which both have everything
}

func newPair(t *testing.T, server ...string) *pair {
	t.Helper()
	cluster := harness.NewCluster(t, harness.Options{Servers: 1, Server: server})
	p := harness.StartPrometheus(t, harness.PrometheusOptions{
		Name: "compared", Tool: "prometheus3", Message: "io.prometheus.write.v2.Request", URL: cluster.WriteURL(), Target: harness.StartApp(t), Jobs: jobs(t),
	})
	time.Sleep(scraped)
	at := time.Now().Truncate(time.Second)
	p.Rest(t)
	both := &pair{prometheus: api{"prometheus", p.URL()}, ours: api{"server", "http://" + cluster.RPC(0)}, at: at}
	both.await(t)
	return both
}

// await waits until the server has what Prometheus scraped up to then: every sample, and
// every marker of a series that is gone.
func (p *pair) await(t *testing.T) {
	t.Helper()
	for _, text := range []string{`{__name__=~".+"}[2m]`, `{__name__=~".+"}`} {
		all, last := url.Values{"query": {text}, "time": {unix(p.at)}}, ""
		defer func() {
			if t.Failed() {
				t.Log(last)
			}
		}()
		harness.Eventually(t, "all that was scraped", func() bool {
			want := p.prometheus.query(t, "query", all)
			require.Equal(t, http.StatusOK, want.status)
			require.NotEqual(t, "[]", string(want.Data.Result))
			last = difference(t, want, p.ours.query(t, "query", all), false)
			return last == ""
		})
	}
}

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// asked is one way to evaluate an expression.
type asked struct {
	name, path string
	parameters url.Values
}

func (p *pair) ways(text string) []asked {
	span := func(from, to time.Duration, step string) url.Values {
		return url.Values{"query": {text}, "start": {unix(p.at.Add(-from))}, "end": {unix(p.at.Add(-to))}, "step": {step}}
	}
	return []asked{
		{"instant", "query", url.Values{"query": {text}, "time": {unix(p.at)}}},
		{"instant before", "query", url.Values{"query": {text}, "time": {strconv.FormatFloat(float64(p.at.UnixMilli()-17300)/1000, 'f', 3, 64)}}},
		{"range", "query_range", span(25*time.Second, 0, "1")},
		{"sparse range", "query_range", span(60*time.Second, 5*time.Second, "7.5s")},
	}
}

// exceptions are the expressions that differ, each with why.
func exceptions(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/exceptions.txt")
	require.NoError(t, err)
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		expression, why, ok := strings.Cut(line, "  # ")
		require.True(t, ok, "an exception without a reason: %s", line)
		all[strings.TrimSpace(expression)] = why
	}
	return all
}

// Every expression of the corpus comes to what it does at Prometheus, whatever the server
// reads it from. Those that do not are listed, and all that are listed do not.
func TestEqualToPrometheus(t *testing.T) {
	for name, flags := range map[string][]string{"window": nil, "files": {"--query.window=0"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, flags...)
			p.compare(t)
			p.compareLookups(t, lookups)
			if name == "window" {
				p.compareLookups(t, exemplars) // Only it has them.
			}
		})
	}
}

func (p *pair) compare(t *testing.T) {
	t.Helper()
	excepted := exceptions(t)
	compared, results, failed := 0, 0, 0
	for _, text := range corpus(t, p.at.Add(-12*time.Second)) {
		different := ""
		for _, way := range p.ways(text) {
			want, got := p.prometheus.query(t, way.path, way.parameters), p.ours.query(t, way.path, way.parameters)
			ordered := way.path == "query" && strings.HasPrefix(text, "sort") && want.status == http.StatusOK
			if d := difference(t, want, got, ordered); d != "" && different == "" {
				different = way.name + ": " + d
			}
			compared++
			if want.status == http.StatusOK && string(want.Data.Result) != "[]" {
				results++
			}
		}
		_, listed := excepted[text]
		delete(excepted, text)
		switch {
		case different != "" && !listed:
			if failed++; failed <= 100 {
				t.Errorf("%s\n\t%s", text, different)
			}
		case different == "" && listed:
			t.Errorf("%s\n\tis equal, though it is listed as an exception", text)
		}
	}
	require.Empty(t, excepted, "exceptions that the corpus does not have")
	require.Greater(t, results, compared/2, "most have a result")
	t.Logf("%d evaluations compared, of which %d had a result; %d expressions differ", compared, results, failed)
}

// lookup is a request for what there is.
type lookup struct {
	path       string
	within     bool // in the last 40 seconds
	parameters url.Values
}

// of returns a lookup by names and values.
func of(path string, within bool, pairs ...string) lookup {
	l := lookup{path, within, url.Values{}}
	for i := 0; i < len(pairs); i += 2 {
		l.parameters.Add(pairs[i], pairs[i+1])
	}
	return l
}

// lookups of series, labels and metadata, and of what is wrong.
var lookups = []lookup{
	of("series", true, "match[]", "demo_memory_bytes"),
	of("series", true, "match[]", `{__name__=~"demo_.*"}`, "match[]", "up"),
	of("series", true, "match[]", `{"demo.utf8/name"}`),
	of("series", true, "match[]", `nothing_of_the_kind`),
	of("series", true, "match[]", `up`, "match[]", `{job="demo"}`),
	of("labels", true, "match[]", `{job="demo"}`),
	of("labels", true, "match[]", `up`),
	of("label/instance/values", true),
	of("label/type/values", true, "match[]", `demo_memory_bytes{type!="free"}`),
	of("label/__name__/values", true, "match[]", `{job="demo"}`),
	of("label/U__label_20_with_20_spaces/values", true),
	of("label/nothing/values", true),
	of("query_exemplars", true, "query", `demo_cpus`),
	of("format_query", false, "query", `sum by(a)(rate(x{b="c"}[5m]))/on(d)group_left(e) y offset 1m`),
	of("parse_query", false, "query", `sum by (a) (rate(x{b="c"}[5m] @ end())) / on (d) group_left (e) y offset 1m > bool -1`),
	of("parse_query", false, "query", `max_over_time(abs(x)[1h:5m] offset 3m) or topk(3, (y)) and count_values("a", z) or vector(1)`),
	of("parse_query", false, "query", `sum(`),
	of("query_exemplars", true, "query", `sum(`),
	of("series", true, "match[]", `{`),
	of("series", true),
	of("labels", true, "match[]", `{a=~".*"}`),
	of("labels", true, "match[]", `{a="`),
	of("label/a/values", true, "limit", "x"),
	of("metadata", false, "metric", "nothing_of_the_kind"),
	of("metadata", false, "limit", "x"),
	of("query", false, "query", "up", "time", "x"),
	of("query", false, "query", "up", "timeout", "x"),
	of("query", false, "query", "up", "limit", "-1"),
	of("query", false, "query", "up", "lookback_delta", "x"),
	of("query_range", false, "query", "up", "start", "1", "end", "2", "step", "0"),
	of("query_range", false, "query", "up", "start", "2", "end", "1", "step", "1"),
	of("query_range", false, "query", "up", "start", "1", "end", "20000", "step", "1"),
	of("alerts", false),
	of("rules", false),
}

var exemplars = []lookup{
	of("query_exemplars", true, "query", `demo_requests_total`),
	of("query_exemplars", true, "query", `rate(demo_requests_total{code="200"}[1m]) + on() group_left() demo_histogram`),
}

// compareLookups compares what there is of series and the like.
func (p *pair) compareLookups(t *testing.T, all []lookup) {
	t.Helper()
	for _, l := range all {
		if l.within {
			l.parameters = maps.Clone(l.parameters)
			l.parameters.Set("start", unix(p.at.Add(-40*time.Second)))
			l.parameters.Set("end", unix(p.at))
		}
		wantStatus, wantBody := p.prometheus.get(t, l.path, l.parameters)
		status, body := p.ours.get(t, l.path, l.parameters)
		name := fmt.Sprintf("%s %v", l.path, l.parameters)
		require.Equal(t, wantStatus, status, "%s: %s", name, body)
		require.Equal(t, unordered(t, wantBody), unordered(t, body), name)
	}
}

// unordered is an answer whose lists have no order.
func unordered(t testing.TB, body []byte) string {
	t.Helper()
	if len(body) == 0 {
		return ""
	}
	text, err := json.Marshal(sortedLists(decoded(t, body)))
	require.NoError(t, err)
	return string(text)
}
