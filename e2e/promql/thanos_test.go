//go:build thanos

package promql

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/e2e/harness"
)

// fleet is a Prometheus that wrote each of its series to one of two pipelines of two
// servers each, and a Thanos Query that found the servers by their SRV records.
type fleet struct {
	pair
	// sidecar is a Thanos Query over Prometheus' own data. What comes to something else
	// there, as counters do whose resets Thanos takes out, is Thanos' doing.
	sidecar   api
	pipelines []*harness.Cluster
}

const (
	pipelineLabel = "pipeline"
	replicaLabel  = "replica"
)

func newFleet(t *testing.T) *fleet {
	t.Helper()
	consul := harness.StartNameServer(t)
	f := &fleet{}
	var remotes []harness.Remote
	// Both servers of a pipeline have the same samples, so those at one time are one.
	endpoints := []string{"--query.replica-label=" + replicaLabel, "--query.replica-label=" + pipelineLabel}
	for tag, action := range map[string]string{"a": "keep", "b": "drop"} {
		c := harness.NewCluster(t, harness.Options{Consul: consul, Tag: tag, Forwarders: 1, Server: []string{"--store.label=" + pipelineLabel + "=" + tag}})
		f.pipelines = append(f.pipelines, c)
		remotes = append(remotes, harness.Remote{URL: c.WriteURL(), Message: "io.prometheus.write.v2.Request", Settings: []string{
			"write_relabel_configs: [{source_labels: [instance], regex: '" + instances[1] + "', action: " + action + "}, {regex: " + pipelineLabel + ", action: labeldrop}]",
		}})
		endpoints = append(endpoints, "--endpoint=dnssrv+_prometheus-api-server._"+tag+".service.consul")
	}
	// A sidecar wants an external label.
	p := harness.StartPrometheus(t, harness.PrometheusOptions{
		Name: "compared", Labels: pipelineLabel + ": all", Tool: "prometheus3", Target: harness.StartApp(t), Jobs: jobs(t), More: remotes,
	})
	ours := harness.StartThanos(t, consul, endpoints...)
	own := harness.StartThanos(t, consul, "--endpoint="+harness.StartSidecar(t, p), "--query.replica-label="+pipelineLabel)
	time.Sleep(scraped)
	f.at = time.Now().Truncate(time.Second)
	p.Rest(t)
	f.prometheus, f.ours, f.sidecar = api{"prometheus", p.URL()}, api{"thanos", ours.URL}, api{"sidecar", own.URL}
	f.await(t)
	return f
}

// adjusted are functions of counters, for series that go down. Thanos takes resets out of
// what they get, from where its first chunk begins, which is elsewhere at each store.
var adjusted = regexp.MustCompile(`\b(increase|irate|rate|resets)\(demo_(memory_bytes|special|intermittent|mixed|resetting_total)\b`)

// ask evaluates an expression with Thanos' own parameters, which Prometheus ignores.
func (a api) ask(t *testing.T, way asked, partial, dedup bool) *answer {
	t.Helper()
	parameters := maps.Clone(way.parameters)
	if step, seconds := strings.CutSuffix(parameters.Get("step"), "s"); seconds {
		parameters.Set("step", step) // The only form that Thanos reads.
	}
	parameters.Set("partial_response", fmt.Sprint(partial))
	parameters.Set("dedup", fmt.Sprint(dedup))
	return a.query(t, way.path, parameters)
}

// unlike says where two answers differ in what has to be the same: neither annotations nor
// the words of an error are.
func unlike(t *testing.T, want, got *answer) string {
	t.Helper()
	one, other := *want, *got
	for _, a := range []*answer{&one, &other} {
		a.Warnings, a.Infos, a.Error, a.ErrorType = nil, nil, "", ""
	}
	return difference(t, &one, &other, false)
}

// await waits until Thanos answers with all that Prometheus scraped.
func (f *fleet) await(t *testing.T) {
	t.Helper()
	for _, thanos := range []api{f.sidecar, f.ours} {
		for _, text := range []string{`{__name__=~".+"}[2m]`, `{__name__=~".+"}`} {
			all := asked{"", "query", url.Values{"query": {text}, "time": {unix(f.at)}}}
			last := ""
			defer func() {
				if t.Failed() {
					t.Log(last)
				}
			}()
			harness.Eventually(t, "all that was scraped at "+thanos.name, func() bool {
				want := f.prometheus.ask(t, all, false, true)
				require.NotEqual(t, "[]", string(want.Data.Result))
				last = unlike(t, want, thanos.ask(t, all, false, true))
				return last == ""
			})
		}
	}
}

// compare evaluates every so many expressions of the corpus.
func (f *fleet) compare(t *testing.T, every int, partial bool) {
	t.Helper()
	compared, results, excepted, others := 0, 0, 0, map[string]int{}
	for i, text := range corpus(t, f.at.Add(-12*time.Second)) {
		if i%every != 0 {
			continue
		}
		for _, way := range f.ways(text) {
			want, got := f.prometheus.ask(t, way, partial, true), f.ours.ask(t, way, partial, true)
			compared++
			d := unlike(t, want, got)
			switch {
			case d == "":
			case adjusted.MatchString(text), unlike(t, want, f.sidecar.ask(t, way, partial, true)) != "":
				others[text]++
			default:
				t.Errorf("%s\n\t%s: %s", text, way.name, d)
			}
			if want.status == http.StatusOK && string(want.Data.Result) != "[]" {
				results++
			}
		}
	}
	t.Logf("Thanos answers otherwise than Prometheus over Prometheus' own data, too: %q", slices.Sorted(maps.Keys(others)))
	require.Greater(t, results, compared/2, "most have a result")
	for _, n := range others {
		excepted += n
	}
	require.Less(t, excepted, compared/10, "Thanos is no judge")
	t.Logf("%d evaluations compared, of which %d had a result, and %d are such", compared, results, excepted)
}

// TestThanosQuery asks a real Thanos Query over two pipelines of two servers each what
// their Prometheus answers itself.
func TestThanosQuery(t *testing.T) {
	f := newFleet(t)
	t.Run("deduplicated", func(t *testing.T) { f.compare(t, 1, false) })
	t.Run("replicas", f.compareReplicas)
	t.Run("a server killed", func(t *testing.T) {
		f.pipelines[0].Servers[1].Kill()
		f.compare(t, 11, true)
		f.await(t) // Consul leaves it out, and then nothing is missing.
		f.compare(t, 11, false)
	})
}

// compareReplicas evaluates without deduplication: what Prometheus answers comes from both
// servers of the pipeline that has it.
func (f *fleet) compareReplicas(t *testing.T) {
	for _, text := range []string{
		`demo_memory_bytes`, `demo_intermittent`, `demo_special`, `demo_mixed`, `demo_histogram`, `demo_custom_seconds`, `rate(demo_requests_total[10s])`,
		`rate(demo_resetting_histogram[10s])`, `histogram_quantile(0.9, rate(demo_histogram[10s]))`, `up`, `app_value`, `app:latency:rate`,
	} {
		results := 0
		for _, way := range f.ways(text) {
			want, got := f.prometheus.ask(t, way, false, true), f.ours.ask(t, way, false, false)
			results += len(want.points(t)) - 1
			require.Equal(t, http.StatusOK, got.status, "%s, %s: %s", text, way.name, got.Error)
			for _, replica := range []string{"server1", "server2"} {
				require.Empty(t, unlike(t, want, got.of(t, replica)), "%s, %s, of %s", text, way.name, replica)
			}
		}
		require.NotZero(t, results, text)
	}
}

// of returns what an answer has of a replica, without the labels of replicas and pipelines.
func (a *answer) of(t *testing.T, replica string) *answer {
	t.Helper()
	var list, kept []map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(a.Data.Result, &list))
	for _, series := range list {
		var metric map[string]string
		require.NoError(t, json.Unmarshal(series["metric"], &metric))
		if metric[replicaLabel] != replica {
			continue
		}
		// Of three instances, one is in another pipeline than the rest.
		require.Equal(t, metric["instance"] == instances[1], metric[pipelineLabel] == "a", "%v", metric)
		delete(metric, replicaLabel)
		delete(metric, pipelineLabel)
		series["metric"] = json.RawMessage(textOf(metric))
		kept = append(kept, series)
	}
	only := &answer{status: a.status}
	only.Data.ResultType, only.Data.Result = a.Data.ResultType, json.RawMessage(textOf(kept))
	require.NotContains(t, string(only.Data.Result), `"`+replicaLabel+`"`)
	return only
}
