package server_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server"
)

const promAPIPrefix = "/api/v1/"

// asked is a request to Prometheus' HTTP API.
type asked struct {
	method, path string // below /api/v1/
	parameters   url.Values
	header       map[string]string
}

func parameters(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

func (a asked) request(t testing.TB, s *instance) *http.Request {
	t.Helper()
	target, body := "http://"+s.RPCAddr().String()+promAPIPrefix+a.path, ""
	if a.method == http.MethodPost {
		body = a.parameters.Encode()
	} else if len(a.parameters) > 0 {
		target += "?" + a.parameters.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), a.method, target, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range a.header {
		r.Header.Set(name, value)
	}
	return r
}

// by sends the request over HTTP/2 or HTTP/1.1.
func (a asked) by(t testing.TB, s *instance, h2 bool) (status int, header http.Header, body string) {
	t.Helper()
	client, stop := httpClient(h2)
	defer stop()
	res, err := client.Do(a.request(t, s))
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, res.Header, string(text)
}

func (a asked) of(t testing.TB, s *instance) (status int, header http.Header, body string) {
	t.Helper()
	return a.by(t, s, false)
}

// promAPI is a server with a few series of each kind, all at the time at in ms.
func promAPI(t testing.TB, c server.Config) (s *instance, at int64) {
	src := newSource(t)
	at = now()/1000*1000 - 5000
	b := src.block(
		point{series: `up{job="a"}`, t: at, v: 1},
		point{series: `up{job="b"}`, t: at, v: 0},
		point{series: `requests_total{job="a"}`, t: at, v: 42},
	)
	b.Metadata = []segment.Metadata{{Family: "requests", Type: 1, Help: `Requests "all".`}, {Family: "up", Type: 2, Help: "Up.", Unit: "bool"}}
	src.append(b)
	utf8 := src.block(point{series: "of.utf8", t: at, v: 7})
	utf8.Series = segment.TableOf(segment.Series{Ref: src.refs["of.utf8"], Labels: segment.Labels{{Name: "__name__", Value: "of.utf8"}, {Name: "label.with.dots", Value: "ü"}}})
	src.append(utf8)
	return startFed(t, c, src), at
}

func seconds(ms int64) string { return fmt.Sprintf("%d", ms/1000) }

func TestPromAPI(t *testing.T) {
	s, at := promAPI(t, testConfig(t))
	when := seconds(at)
	for name, test := range map[string]struct {
		path       string
		parameters url.Values
		getOnly    bool
		want       string // of data, and what comes after it
	}{
		"instant": {"query", parameters("query", `up`, "time", when), false,
			`{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[` + when + `,"1"]},{"metric":{"__name__":"up","job":"b"},"value":[` + when + `,"0"]}]}`},
		"scalar": {"query", parameters("query", `1+1`, "time", "4"), false, `{"resultType":"scalar","result":[4,"2"]}`},
		"string": {"query", parameters("query", `"a\"b"`, "time", "4"), false, `{"resultType":"string","result":[4,"a\"b"]}`},
		"limit":  {"query", parameters("query", `up`, "time", when, "limit", "1"), false, `{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[` + when + `,"1"]}]},"warnings":["results truncated due to limit"]`},
		"range": {"query_range", parameters("query", `sum(up)`, "start", when, "end", seconds(at+2000), "step", "1s", "timeout", "30s"), false,
			`{"resultType":"matrix","result":[{"metric":{},"values":[[` + when + `,"1"],[` + seconds(at+1000) + `,"1"],[` + seconds(at+2000) + `,"1"]]}]}`},
		"range of one step": {"query_range", parameters("query", `vector(1)`, "start", "4", "end", "4", "step", "60"), false, `{"resultType":"matrix","result":[{"metric":{},"values":[[4,"1"]]}]}`},
		"lookback":          {"query", parameters("query", `up`, "time", seconds(at+3000), "lookback_delta", "2s"), false, `{"resultType":"vector","result":[]}`},
		"series":            {"series", parameters("match[]", `up{job="b"}`, "match[]", `{"of.utf8"}`), false, `[{"__name__":"of.utf8","label.with.dots":"ü"},{"__name__":"up","job":"b"}]`},
		"series, limited":   {"series", parameters("match[]", `up`, "limit", "1"), false, `[{"__name__":"up","job":"a"}],"warnings":["results truncated due to limit"]`},
		"series of before":  {"series", parameters("match[]", `up`, "end", "1"), false, `[]`},
		"labels":            {"labels", nil, false, `["__name__","job","label.with.dots"]`},
		"labels of some":    {"labels", parameters("match[]", "up"), false, `["__name__","job"]`},
		"labels, limited":   {"labels", parameters("limit", "2"), false, `["__name__","job"],"warnings":["results truncated due to limit"]`},
		"values":            {"label/job/values", nil, true, `["a","b"]`},
		"values of some":    {"label/job/values", parameters("match[]", "requests_total"), true, `["a"]`},
		"values of UTF-8":   {"label/U__label_2e_with_2e_dots/values", nil, true, `["ü"]`},
		"values of nothing": {"label/none/values", nil, true, `[]`},
		"names":             {"label/__name__/values", nil, true, `["of.utf8","requests_total","up"]`},
		"metadata":          {"metadata", nil, true, `{"requests":[{"type":"counter","unit":"","help":"Requests \"all\"."}],"up":[{"type":"gauge","unit":"bool","help":"Up."}]}`},
		"metadata of one":   {"metadata", parameters("metric", "up", "limit", "5", "limit_per_metric", "1"), true, `{"up":[{"type":"gauge","unit":"bool","help":"Up."}]}`},
		"metadata, limited": {"metadata", parameters("limit", "1"), true, `{"requests":[{"type":"counter","unit":"","help":"Requests \"all\"."}]}`},
		"formatted":         {"format_query", parameters("query", `sum by(job)(up)`), false, `"sum by (job) (up)"`},
		"tree":              {"parse_query", parameters("query", `-1`), false, `{"type":"numberLiteral","val":"-1"}`},
		"no exemplars":      {"query_exemplars", parameters("query", `up`, "start", "1", "end", "2"), false, `[]`},
		"rules":             {"rules", nil, true, `{"groups":[]}`},
		"alerts":            {"alerts", nil, true, `{"alerts":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			methods := []string{http.MethodGet, http.MethodPost}
			if test.getOnly {
				methods = methods[:1]
			}
			for _, method := range methods {
				for _, h2 := range []bool{false, true} {
					status, header, body := asked{method, test.path, test.parameters, nil}.by(t, s, h2)
					require.Equal(t, http.StatusOK, status, body)
					require.Equal(t, "application/json", header.Get("Content-Type"))
					require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
					require.JSONEq(t, `{"status":"success","data":`+test.want+`}`, body)
				}
			}
		})
	}
}

func TestPromAPIErrors(t *testing.T) {
	c := testConfig(t)
	c.Engine.Samples = 6
	s, at := promAPI(t, c)
	long := strings.Repeat("x", int(c.RequestBytes))
	for name, test := range map[string]struct {
		asked
		status           int
		errorType, error string
	}{
		"no expression":   {asked{path: "query"}, 400, "bad_data", `invalid parameter "query": unknown position: parse error: no expression found in input`},
		"wrong":           {asked{path: "query", parameters: parameters("query", "sum(")}, 400, "bad_data", `invalid parameter "query": 1:5: parse error: unclosed left parenthesis`},
		"in line 2":       {asked{path: "query", parameters: parameters("query", "up +\n  foo bar")}, 400, "bad_data", `invalid parameter "query": 2:7: parse error: unexpected identifier "bar"`},
		"time":            {asked{path: "query", parameters: parameters("query", "up", "time", "x")}, 400, "bad_data", `invalid parameter "time": invalid time value for 'time': cannot parse "x" to a valid timestamp`},
		"timeout":         {asked{path: "query", parameters: parameters("query", "up", "timeout", "x")}, 400, "bad_data", `invalid parameter "timeout": cannot parse "x" to a valid duration`},
		"limit":           {asked{path: "query", parameters: parameters("query", "up", "limit", "-1")}, 400, "bad_data", `invalid parameter "limit": limit must be non-negative`},
		"lookback":        {asked{path: "query", parameters: parameters("query", "up", "lookback_delta", "x")}, 400, "bad_data", `error parsing lookback delta duration: cannot parse "x" to a valid duration`},
		"range of ranges": {asked{path: "query_range", parameters: parameters("query", "up[1m]", "start", "1", "end", "2", "step", "1")}, 400, "bad_data", `invalid parameter "query": invalid expression type "range vector" for range query, must be Scalar or instant Vector`},
		"too late":        {asked{path: "query", parameters: parameters("query", "up", "timeout", "0.000000001")}, 503, "timeout", "query timed out in expression evaluation"},
		"execution":       {asked{path: "query", parameters: parameters("query", `up{job="a"} + on() up`, "time", seconds(at))}, 422, "execution", "found duplicate series for the match group {} on the right hand-side of the operation"},
		"too much":        {asked{path: "query", parameters: parameters("query", `up or up or up or up or up or up`, "time", seconds(at))}, 422, "execution", "the evaluation holds more than 6 samples (--limit.query-samples)"},
		"regexp":          {asked{path: "query", parameters: parameters("query", `up{job=~"`+strings.Repeat("x{1000}", 30)+`"}`)}, 422, "execution", "(--limit.selector-size)"},
		"no selector":     {asked{path: "series"}, 400, "bad_data", "no match[] parameter provided"},
		"wrong selector":  {asked{path: "series", parameters: parameters("match[]", "up{")}, 400, "bad_data", `invalid parameter "match[]": 1:4: parse error: unexpected end of input inside braces`},
		"all":             {asked{path: "series", parameters: parameters("match[]", `{a=~".*"}`)}, 400, "bad_data", "match[] must contain at least one non-empty matcher"},
		"label":           {asked{path: "label/%ff/values"}, 400, "bad_data", "invalid label name"},
		"metadata":        {asked{path: "metadata", parameters: parameters("limit", "x")}, 400, "bad_data", "limit must be a number"},
		"exemplars":       {asked{path: "query_exemplars", parameters: parameters("query", "up", "start", "2", "end", "1")}, 400, "bad_data", "end timestamp must not be before start timestamp"},
		"what is not":     {asked{path: "targets"}, 404, "not_found", "there is nothing at this path"},
		"to write":        {asked{method: "POST", path: "write"}, 404, "not_found", "there is nothing at this path"},
		"method":          {asked{method: "POST", path: "metadata"}, 405, "bad_data", "the method is none of GET"},
		"another":         {asked{method: "DELETE", path: "series"}, 405, "bad_data", "the method is none of GET, POST"},
		"no form":         {asked{method: "POST", path: "query", parameters: parameters("query", "up"), header: map[string]string{"Content-Type": "application/json"}}, 415, "bad_data", "parameters are posted as application/x-www-form-urlencoded"},
		"compressed":      {asked{method: "POST", path: "query", parameters: parameters("query", "up"), header: map[string]string{"Content-Encoding": "gzip"}}, 415, "bad_data", "a compressed request is not understood"},
		"large":           {asked{method: "POST", path: "query", parameters: parameters("query", long)}, 413, "bad_data", "(--limit.call-request-bytes)"},
		"escapes":         {asked{method: "POST", path: "query", parameters: nil, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}, 400, "bad_data", "no expression found"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.method == "" {
				test.method = http.MethodGet
			}
			status, header, body := test.of(t, s)
			var got struct{ Status, ErrorType, Error string }
			require.NoError(t, json.Unmarshal([]byte(body), &got), body)
			require.Equal(t, "application/json", header.Get("Content-Type"))
			require.Equal(t, test.status, status, body)
			require.Equal(t, "error", got.Status)
			require.Equal(t, test.errorType, got.ErrorType)
			require.Contains(t, got.Error, test.error)
		})
	}
	for _, name := range []string{"query-samples", "selector-size", "call-request-bytes"} {
		require.Positive(t, s.metricOf(t, "promgrpc_server_over_limit_total", name), name)
	}
}

// Large answers are compressed, if that is understood, and are the same then.
func TestPromAPICompresses(t *testing.T) {
	src := newSource(t)
	points := make([]point, 5000)
	for i := range points {
		points[i] = point{series: name(i), t: now(), v: float64(i)}
	}
	src.write(points...)
	s := startFed(t, testConfig(t), src)
	all := asked{method: http.MethodGet, path: "series", parameters: parameters("match[]", "m")}
	read := func(encoding string, a asked) (string, string) {
		r := a.request(t, s)
		r.Header.Set("Accept-Encoding", encoding)
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		require.NoError(t, err)
		defer res.Body.Close()
		body := io.Reader(res.Body)
		if res.Header.Get("Content-Encoding") == "gzip" {
			body, err = gzip.NewReader(res.Body)
			require.NoError(t, err)
		}
		text, err := io.ReadAll(body)
		require.NoError(t, err)
		require.Equal(t, "Accept-Encoding", res.Header.Get("Vary"))
		return string(text), res.Header.Get("Content-Encoding")
	}
	plain, encoding := read("identity", all)
	require.Empty(t, encoding)
	require.Contains(t, plain, `"i":"04999"`)
	zipped, encoding := read("deflate, gzip", all)
	require.Equal(t, "gzip", encoding)
	require.Equal(t, plain, zipped)
	_, encoding = read("gzip", asked{method: http.MethodGet, path: "status/buildinfo"})
	require.Empty(t, encoding, "that would take longer")
}

// Prometheus' own client works.
func TestPromAPIByItsClient(t *testing.T) {
	s, at := promAPI(t, testConfig(t))
	client, err := api.NewClient(api.Config{Address: "http://" + s.RPCAddr().String(), RoundTripper: &http.Transport{DisableKeepAlives: true}})
	require.NoError(t, err)
	c, ctx := v1.NewAPI(client), t.Context()
	when := time.UnixMilli(at)
	value, warnings, _, err := c.Query(ctx, "sum(up)", when)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, model.Vector{{Metric: model.Metric{}, Value: 1, Timestamp: model.Time(at)}}, value)
	value, _, _, err = c.QueryRange(ctx, `up{job="a"}`, v1.Range{Start: when, End: when.Add(time.Second), Step: time.Second}, v1.WithTimeout(time.Minute), v1.WithLookbackDelta(time.Minute))
	require.NoError(t, err)
	require.Equal(t, model.Matrix{{Metric: model.Metric{"__name__": "up", "job": "a"}, Values: []model.SamplePair{{Timestamp: model.Time(at), Value: 1}, {Timestamp: model.Time(at + 1000), Value: 1}}}}, value)
	_, _, _, err = c.Query(ctx, "sum(", when)
	var failed *v1.Error
	require.ErrorAs(t, err, &failed)
	require.Equal(t, v1.ErrBadData, failed.Type)
	series, _, _, err := c.Series(ctx, []string{"up"}, time.Time{}, when.Add(time.Minute))
	require.NoError(t, err)
	require.Len(t, series, 2)
	names, _, _, err := c.LabelNames(ctx, []string{"up"}, when.Add(-time.Minute), when.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, model.LabelNames{"__name__", "job"}, names)
	values, _, _, err := c.LabelValues(ctx, "job", nil, when.Add(-time.Minute), when.Add(time.Minute), v1.WithLimit(1))
	require.NoError(t, err)
	require.Equal(t, model.LabelValues{"a"}, values)
	metadata, err := c.Metadata(ctx, "up", "")
	require.NoError(t, err)
	require.Equal(t, map[string][]v1.Metadata{"up": {{Type: "gauge", Help: "Up.", Unit: "bool"}}}, metadata)
	_, err = c.QueryExemplars(ctx, "up", when.Add(-time.Minute), when)
	require.NoError(t, err)
	rules, err := c.Rules(ctx, nil)
	require.NoError(t, err)
	require.Empty(t, rules.Groups)
	alerts, err := c.Alerts(ctx)
	require.NoError(t, err)
	require.Empty(t, alerts.Alerts)
	info, err := c.Buildinfo(ctx)
	require.NoError(t, err)
	require.Regexp(t, `^3\.`, info.Version)
}

// promAPIPaths are all that is served, and whether any policy will do, without the right
// to read.
var promAPIPaths = map[string]bool{
	"query?query=up": false, "query_range?query=up&start=1&end=2&step=1": false, "query_exemplars?query=up": false, "format_query?query=up": false,
	"parse_query?query=up": false, "series?match[]=up": false, "labels": false, "label/team/values": false, "metadata": false, "rules": false, "alerts": false,
	"status/buildinfo": true,
}

func TestPromAPIRights(t *testing.T) {
	s := startFed(t, restricted(t, twoTeams), ofTwoTeams(t))
	for path, anybody := range promAPIPaths {
		for token, want := range map[string]int{
			"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, "a": http.StatusOK, "b": http.StatusOK, "all": http.StatusOK, "writer": http.StatusForbidden,
		} {
			if anybody && token == "writer" {
				want = http.StatusOK
			}
			a := asked{method: http.MethodGet, path: path}
			if token != "" {
				a.header = map[string]string{"Authorization": "Bearer " + token}
			}
			status, header, body := a.of(t, s)
			require.Equal(t, want, status, "%s by %q: %s", path, token, body)
			require.Equal(t, "application/json", header.Get("Content-Type"))
			if want == http.StatusUnauthorized {
				require.Equal(t, "Bearer", header.Get("WWW-Authenticate"))
			}
			if token == "a" {
				require.NotContains(t, body, "of-b")
				require.NotContains(t, body, "of_b")
				require.NotContains(t, body, "nobodys")
			}
		}
	}
	// What is not there is nobody's, either.
	status, _, _ := asked{method: http.MethodGet, path: "targets"}.of(t, s)
	require.Equal(t, http.StatusUnauthorized, status)
	_, _, body := asked{method: http.MethodGet, path: "query", parameters: parameters("query", `count({__name__=~".+"})`), header: map[string]string{"Authorization": "Bearer a"}}.of(t, s)
	require.Contains(t, body, `"2"]`)
}

// askPromAPI asks both worlds the same, which get the same answer.
func (w *worlds) askPromAPI() {
	selectors := append(guesses, `metric_1`, `{__name__="hidden_1"}`)
	some := func() string { return selectors[w.random.IntN(len(selectors))] }
	expression := strings.ReplaceAll([]string{
		"S", "count(S)", "count by (__name__) ({__name__=~\".+\"})", "count_over_time(S[5m])", "absent(S)", "S + on() S", "sum(rate(S[1m]))", "topk(2, S)", "label_replace(S, \"x\", \"$1\", \"hidden\", \"(.*)\")",
	}[w.random.IntN(9)], "S", some())
	at := seconds(now())
	a := asked{method: http.MethodGet, header: map[string]string{"Authorization": "Bearer a"}}
	switch w.random.IntN(7) {
	case 0, 1:
		a.path, a.parameters = "query", parameters("query", expression, "time", at)
	case 2:
		a.path, a.parameters = "query_range", parameters("query", expression, "start", seconds(now()-60000), "end", at, "step", "15")
	case 3:
		a.path, a.parameters = "series", parameters("match[]", some(), "match[]", some(), "limit", fmt.Sprint(w.random.IntN(4)))
	case 4:
		a.path, a.parameters = "labels", parameters("match[]", some())
	case 5:
		a.path = []string{"label/hidden/values", "label/__name__/values", "label/team/values", "metadata", "metadata?metric=hidden_1"}[w.random.IntN(5)]
	case 6:
		a.path, a.parameters = "query_exemplars", parameters("query", expression, "end", at)
	}
	alone, _, one := a.of(w.t, w.servers[0])
	among, _, other := a.of(w.t, w.servers[1])
	require.Equal(w.t, alone, among, "%v: %s", a, other)
	require.Empty(w.t, difference(one, other), "%v", a)
}

// A page of another origin gets nothing, nor does a form that it sends.
func TestPromAPIForPagesOfOthers(t *testing.T) {
	c := testConfig(t)
	c.CORSOrigins = []string{"https://good.example"}
	s, _ := promAPI(t, c)
	for origin, want := range map[string]int{"https://evil.example": http.StatusForbidden, "null": http.StatusForbidden, "https://good.example": http.StatusOK, "": http.StatusOK} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			a := asked{method, "query", parameters("query", "up"), map[string]string{}}
			if origin != "" {
				a.header = map[string]string{"Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
			}
			status, header, body := a.of(t, s)
			require.Equal(t, want, status, "%s %q: %s", method, origin, body)
			require.Equal(t, "application/json", header.Get("Content-Type"))
			require.Equal(t, origin == "https://good.example", header.Get("Access-Control-Allow-Origin") != "")
		}
	}
	r := asked{method: http.MethodGet, path: "query", parameters: parameters("query", "up")}.request(t, s)
	r.Host = "evil.example"
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusMisdirectedRequest, res.StatusCode)
}

// Whatever others have taken is a reason to come again, and says so.
func TestPromAPIIsRefused(t *testing.T) {
	c := testConfig(t)
	s, at := promAPI(t, c)
	release, err := s.TakeQueryBytes()
	require.NoError(t, err)
	a := asked{method: http.MethodGet, path: "query", parameters: parameters("query", "up", "time", seconds(at))}
	status, header, body := a.of(t, s)
	require.Equal(t, http.StatusServiceUnavailable, status, body)
	require.Equal(t, "1", header.Get("Retry-After"))
	require.Contains(t, body, `"errorType":"too_many_requests"`)
	require.Contains(t, body, "--limit.query-bytes")
	require.EqualValues(t, 1, s.metricOf(t, "promgrpc_server_over_limit_total", "query-bytes"))
	release()
	status, _, _ = a.of(t, s)
	require.Equal(t, http.StatusOK, status)
}

// What would take the memory of the machine is refused, and the server goes on.
func TestPromAPIRefusesEvilExpressions(t *testing.T) {
	s, at := promAPI(t, testConfig(t))
	doubled := "up"
	for range 40 {
		doubled = `label_replace(` + doubled + `, "job", "$1$1", "job", "(.*)")`
	}
	for _, text := range []string{"max_over_time(up[10y:1ms])", "max_over_time(max_over_time(up[9y:1s])[9y:1s])", "max_over_time(up[10y:1ms] @ 5)", doubled} {
		for path, p := range map[string]url.Values{
			"query":       parameters("query", text, "time", seconds(at)),
			"query_range": parameters("query", text, "start", seconds(at-60_000), "end", seconds(at), "step", "1"),
		} {
			status, _, body := asked{method: http.MethodPost, path: path, parameters: p}.of(t, s)
			require.GreaterOrEqual(t, status, http.StatusBadRequest, "%s: %s", text, body)
			require.Contains(t, body, "--limit.query-", text)
		}
	}
	status, _, body := asked{method: http.MethodGet, path: "query", parameters: parameters("query", "up", "time", seconds(at))}.of(t, s)
	require.Equal(t, http.StatusOK, status, body)
}

// A server without a log says that it cannot be asked, not that there is nothing.
func TestPromAPIWithoutALog(t *testing.T) {
	s := start(t, testConfig(t))
	for path := range promAPIPaths {
		status, header, body := asked{method: http.MethodGet, path: path}.of(t, s)
		switch strings.Split(path, "?")[0] {
		case "status/buildinfo", "rules", "alerts", "format_query", "parse_query":
			require.Equal(t, http.StatusOK, status)
		default:
			require.Equal(t, http.StatusServiceUnavailable, status, path)
			require.Contains(t, body, `"errorType":"unavailable"`)
			require.Equal(t, "1", header.Get("Retry-After"))
		}
	}
}

// Who does not take an answer is cut off, and what it was made from is given back.
func TestPromAPIAnswersThatNobodyTakes(t *testing.T) {
	src := newSource(t)
	const series, bytes = 20000, 1000 // more than the buffers of a connection hold
	for i := 0; i < series; i += 1000 {
		var points []point
		for j := i; j < i+1000; j++ {
			points = append(points, point{series: fmt.Sprintf(`m{i="%05d%s"}`, j, strings.Repeat("x", bytes)), t: now(), v: 1})
		}
		src.write(points...)
	}
	c := testConfig(t)
	c.StallTimeout, c.MinRate = 300*time.Millisecond, 16*units.MiB
	s := startFed(t, c, src)
	conn, err := net.Dial("tcp", s.RPCAddr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /api/v1/query?query=m HTTP/1.1\r\nHost: test\r\n\r\n")
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	require.NoError(t, err)
	require.Greater(t, s.metric(t, "promgrpc_server_query_bytes"), float64(series*bytes))
	require.Eventually(t, func() bool {
		return s.metric(t, "promgrpc_server_connections") == 0 && s.metric(t, "promgrpc_server_query_bytes") < series*bytes
	}, patience, 10*time.Millisecond)
}
