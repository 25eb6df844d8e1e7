package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// PrometheusOptions say which Prometheus to run and what it is to do.
type PrometheusOptions struct {
	Name    string // label `sender` of all its series
	Labels  string // external labels, in YAML
	Tool    string // prometheus2 or prometheus3
	Message string // protobuf_message to write by, if not the default
	URL     string // to write to
	Target  string // host:port to scrape beside itself
	Jobs    string // more scrape configs, as a list in YAML
	More    []Remote
}

// Remote is one more place to write to.
type Remote struct {
	URL      string
	Message  string   // as of the options
	Settings []string // more fields of a remote_write, one each
}

// Prometheus is one that scrapes itself and a target every second, and writes
// all of it to a URL. Prometheus 3 evaluates a rule that makes float histograms
// as well; 2.42 would answer range queries for them with the same one always.
type Prometheus struct {
	*Process

	options PrometheusOptions
	address string
	user    string // with its password, before the address in a URL; "": it asks for none
	config  string
}

// StartPrometheus starts one and waits until it is ready.
func StartPrometheus(t testing.TB, o PrometheusOptions) *Prometheus {
	t.Helper()
	dir := t.TempDir()
	p := &Prometheus{
		options: o,
		address: Address(t, Host()),
		config:  filepath.Join(dir, "prometheus.yml"),
	}
	p.configure(t)
	features, rules := "exemplar-storage,metadata-wal-records", fmt.Sprintf(ruleFile, o.Name)
	if o.Tool == "prometheus2" {
		features, rules = "exemplar-storage,native-histograms", ""
	}
	if err := os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Process = Start(t, o.Name, Tool(t, o.Tool),
		"--config.file="+p.config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.address,
		"--enable-feature="+features)
	p.Ready(p.address)
	return p
}

const ruleFile = `
groups:
- name: histograms
  rules:
  - record: app:latency:rate
    expr: rate(app_latency_seconds[5s])
    labels: {sender: %s}
`

func (p *Prometheus) configure(t testing.TB) {
	t.Helper()
	o := p.options
	native, nhcb := "", ""
	if o.Tool == "prometheus3" {
		native = "scrape_native_histograms: true"
	}
	if o.Message != "" {
		nhcb = "convert_classic_histograms_to_nhcb: true" // 1.0 has no custom buckets
	}
	config := fmt.Sprintf(`
global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
  external_labels: {%[7]s}
  %[1]s
rule_files: [rules.yml]
scrape_configs:
- job_name: prometheus
  static_configs: [{targets: ['%[2]s'], labels: {sender: %[3]s}}]
- job_name: app
  %[4]s
  static_configs: [{targets: ['%[5]s'], labels: {sender: %[3]s}}]
%[6]s
`, native, p.address, o.Name, nhcb, o.Target, o.Jobs, o.Labels)
	p.write(t, config)
}

// write writes the configuration, with where to write to after it.
func (p *Prometheus) write(t testing.TB, config string) {
	t.Helper()
	o := p.options
	config += "remote_write:\n"
	if o.URL != "" {
		config += remoteWrite(Remote{URL: o.URL, Message: o.Message})
	}
	for _, w := range o.More {
		config += remoteWrite(w)
	}
	if err := os.WriteFile(p.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Rest ends all scrapes and rules, and returns when they have. What there is is written on.
func (p *Prometheus) Rest(t testing.TB) {
	t.Helper()
	p.write(t, "global: {}\n")
	p.Signal(syscall.SIGHUP)
	Eventually(t, p.Name+" at rest", func() bool {
		var targets struct{ ActiveTargets []any }
		var rules struct{ Groups []any }
		p.api(t, "targets", nil, &targets)
		p.api(t, "rules", nil, &rules)
		return len(targets.ActiveTargets)+len(rules.Groups) == 0
	})
}

func remoteWrite(w Remote) string {
	if w.Message != "" {
		w.Settings = append(w.Settings, "protobuf_message: "+w.Message)
	}
	return fmt.Sprintf(`- url: %s
  send_exemplars: true
  send_native_histograms: true
  queue_config: {batch_send_deadline: 200ms, min_backoff: 50ms, max_backoff: 1s}
  metadata_config: {send: true, send_interval: 1s}
  %s
`, w.URL, strings.Join(w.Settings, "\n  "))
}

// URL is the root of its HTTP API.
func (p *Prometheus) URL() string { return "http://" + p.address }

// at returns what a path is asked with, and its URL.
func (p *Prometheus) at(path string) (*http.Client, string) {
	if p.web == nil {
		return http.DefaultClient, "http://" + p.address + path
	}
	return p.web, "https://" + p.user + p.address + path
}

// api asks the HTTP API and decodes the answer's data.
func (p *Prometheus) api(t testing.TB, path string, query url.Values, data any) {
	t.Helper()
	client, url := p.at("/api/v1/" + path + "?" + query.Encode())
	res, err := client.Get(url)
	if err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	defer func() { _ = res.Body.Close() }()
	answer := struct{ Data any }{data}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s: %v", p.Name, path, res.Status, err)
	}
}

// apiSeries is a series in the answer to a query.
type apiSeries struct {
	Metric     map[string]string
	Values     []apiSample
	Histograms []apiSample
}

// apiSample is an array of a time in seconds and a value, which is an object
// for histograms.
type apiSample struct {
	Time  int64
	Value string // as in a point
}

func (s *apiSample) UnmarshalJSON(data []byte) error {
	var seconds float64
	var raw json.RawMessage
	if err := json.Unmarshal(data, &[]any{&seconds, &raw}); err != nil {
		return err
	}
	s.Time = int64(seconds*1000 + 0.5)
	if bytes.HasPrefix(raw, []byte("{")) {
		s.Value = apiHistogram(raw)
		return nil
	}
	v, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	if v == 0 {
		v = 0 // without its sign
	}
	s.Value = Float(v)
	return err
}

// Query evaluates a range selector at an instant, which gives raw samples as
// they were scraped, without stale markers. Zeros have no sign, since remote
// write by Prometheus has none.
func (p *Prometheus) Query(t testing.TB, selector string, at time.Time) Points {
	t.Helper()
	var answer struct{ Result []apiSeries }
	p.api(t, "query", url.Values{"query": {selector}, "time": {unix(at)}}, &answer)
	points := Points{}
	for _, s := range answer.Result {
		for _, sample := range append(s.Values, s.Histograms...) {
			points.Add(Series(s.Metric), sample.Time, sample.Value)
		}
	}
	return points
}

// Exemplars returns the exemplars of all series that match. The value of a
// point has the exemplar's labels in it.
func (p *Prometheus) Exemplars(t testing.TB, selector string, from, to time.Time) Points {
	t.Helper()
	var answer []struct {
		SeriesLabels map[string]string
		Exemplars    []struct {
			Labels    map[string]string
			Value     string
			Timestamp float64
		}
	}
	p.api(t, "query_exemplars", url.Values{"query": {selector}, "start": {unix(from)}, "end": {unix(to)}}, &answer)
	points := Points{}
	for _, s := range answer {
		for _, e := range s.Exemplars {
			v, err := strconv.ParseFloat(e.Value, 64)
			if err != nil {
				t.Fatalf("%s: exemplar: %v", p.Name, err)
			}
			points.Add(Series(s.SeriesLabels), int64(e.Timestamp*1000+0.5), Series(e.Labels)+" "+Float(v))
		}
	}
	return points
}

// Metadata returns what is known of each metric family. A family whose targets
// differ has several.
func (p *Prometheus) Metadata(t testing.TB) map[string][]Metadata {
	t.Helper()
	metadata := map[string][]Metadata{}
	p.api(t, "metadata", nil, &metadata)
	return metadata
}

// Metadata of a metric family. The type is in lower case.
type Metadata struct{ Type, Help, Unit string }

// Read returns all samples of an interval by remote read: bit for bit, with
// stale markers and, from Prometheus 3, native histograms.
func (p *Prometheus) Read(t testing.TB, matcher map[string]string, from, to time.Time) Points {
	t.Helper()
	query := &prompb.Query{StartTimestampMs: from.UnixMilli(), EndTimestampMs: to.UnixMilli()}
	for _, name := range slices.Sorted(maps.Keys(matcher)) {
		query.Matchers = append(query.Matchers, &prompb.LabelMatcher{Name: name, Value: matcher[name]})
	}
	body, err := (&prompb.ReadRequest{Queries: []*prompb.Query{query}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	client, url := p.at("/api/v1/read")
	res, err := client.Post(url, "application/x-protobuf", bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: remote read: %s: %v: %s", p.Name, res.Status, err, data)
	}
	if data, err = snappy.Decode(nil, data); err != nil {
		t.Fatalf("%s: remote read: %v", p.Name, err)
	}
	var answer prompb.ReadResponse
	if err := answer.Unmarshal(data); err != nil {
		t.Fatalf("%s: remote read: %v", p.Name, err)
	}
	points := Points{}
	for _, s := range answer.Results[0].Timeseries {
		series := Series(labelMap(s.Labels))
		for _, sample := range s.Samples {
			points.Add(series, sample.Timestamp, Float(sample.Value))
		}
		for _, h := range s.Histograms {
			points.Add(series, h.Timestamp, Histogram(h))
		}
	}
	return points
}

func unix(at time.Time) string {
	return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)
}
