//go:build debian

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestPromAPI asks through HAProxy what people ask a Prometheus, with the tools that they
// have: promtool, its Go client, curl.
func TestPromAPI(t *testing.T) {
	t.Parallel()
	target := harness.NewLocal(t, harness.Options{})
	write(t, target.Cluster,
		series(map[string]string{"__name__": "answer", "job": "tools"}, 42),
		series(map[string]string{"__name__": "answer", "job": "others"}, 1),
	)
	awaitSeries(t, target.Cluster, `answer`, 2)
	at := "http://" + target.HAProxy().RPC
	t.Run("promtool", func(t *testing.T) { testPromtool(t, at) })
	t.Run("its client", func(t *testing.T) { testAPIClient(t, at) })
	t.Run("curl", func(t *testing.T) {
		out := run(t, nil, "curl", "-sS", "--fail-with-body", "--compressed", at+"/api/v1/query", "--data-urlencode", "query=sum(answer)")
		contains(t, out, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[`, `,"43"]}]}}`)
	})
	t.Run("what Grafana asks", func(t *testing.T) { testGrafana(t, at) })
}

// A query that took too long at one server is not made again at the others.
func TestQueriesAreMadeOnce(t *testing.T) {
	t.Parallel()
	target := harness.NewLocal(t, harness.Options{Server: []string{"--limit.query-time=1ns"}})
	write(t, target.Cluster, series(map[string]string{"__name__": "answer"}, 42))
	awaitSeries(t, target.Cluster, `answer`, 1)
	res, err := http.Get("http://" + target.HAProxy().RPC + "/api/v1/query?query=answer")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), `"errorType":"timeout"`) {
		t.Errorf("the query: %s %s %v", res.Status, body, err)
	}
	asked := 0
	for _, s := range target.Servers {
		metrics := string(run(t, nil, "curl", "-sS", "--fail", "http://"+s.Listening("web")+"/metrics"))
		for line := range strings.Lines(metrics) {
			var n int
			if _, err := fmt.Sscanf(line, `promgrpc_server_over_limit_total{limit="query-time"} %d`, &n); err == nil {
				asked += n
			}
		}
	}
	if asked != 1 {
		t.Errorf("it was made %d times", asked)
	}
}

func testPromtool(t *testing.T, at string) {
	promtool := harness.Tool(t, "promtool")
	now := time.Now().Add(time.Second) // in whole seconds still after the samples
	query := func(args ...string) []byte { return run(t, nil, promtool, append([]string{"query"}, args...)...) }
	contains(t, query("instant", at, `answer{job="tools"}`), `answer{job="tools"} => 42 @[`)
	contains(t, query("instant", "-o", "json", at, `sum(answer)`), `"43"`)
	start, end := fmt.Sprint("--start=", now.Unix()), fmt.Sprint("--end=", now.Add(10*time.Second).Unix())
	contains(t, query("range", start, end, "--step=5s", at, `sum(answer)`), "43 @["+fmt.Sprint(now.Unix())+"]")
	contains(t, query("series", "--match=answer", at), `{__name__="answer", job="others"}`, `{__name__="answer", job="tools"}`)
	contains(t, query("labels", at, "job"), "others\ntools\n")
	code, _, stderr := harness.Run(t, promtool, "query", "instant", at, "sum(")
	if code == 0 || !strings.Contains(string(stderr), "parse error: unclosed left parenthesis") {
		t.Errorf("a wrong expression: exit code %d: %s", code, stderr)
	}
}

func testAPIClient(t *testing.T, at string) {
	client, err := api.NewClient(api.Config{Address: at})
	if err != nil {
		t.Fatal(err)
	}
	c := v1.NewAPI(client)
	value, warnings, _, err := c.Query(t.Context(), `sum by (job) (answer) > 10`, time.Now())
	vector, ok := value.(model.Vector)
	if err != nil || len(warnings) > 0 || !ok || len(vector) != 1 || vector[0].Value != 42 || vector[0].Metric["job"] != "tools" {
		t.Errorf("query: %v %v %v", value, warnings, err)
	}
	names, _, _, err := c.LabelNames(t.Context(), []string{"answer"}, time.Now().Add(-time.Hour), time.Now())
	if err != nil || fmt.Sprint(names) != "__name__, job" {
		t.Errorf("label names: %v %v", names, err)
	}
	info, err := c.Buildinfo(t.Context())
	if err != nil || info.Version == "" {
		t.Errorf("build information: %v %v", info, err)
	}
}

// testGrafana makes the requests that Grafana's data source makes, as they are recorded
// with the recipe.
func testGrafana(t *testing.T, at string) {
	for _, r := range grafanaRequests(t) {
		for _, method := range strings.Split(r.Method, "|") {
			parameters := r.parameters(time.Now()).Encode()
			request, err := http.NewRequestWithContext(t.Context(), method, at+r.Path, strings.NewReader(parameters))
			if err != nil {
				t.Fatal(err)
			}
			if method == http.MethodGet {
				request.URL.RawQuery, request.Body = parameters, http.NoBody
			}
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			res, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Status string
				Data   any
			}
			err = json.NewDecoder(res.Body).Decode(&got)
			_ = res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK || got.Status != "success" || got.Data == nil {
				t.Errorf("%s %s, for %s: %s %v %v", method, r.Path, r.For, res.Status, got, err)
			}
		}
	}
}
