package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// scenario is a file of rules, and series with a value a minute: a number, _ for none, or
// stale.
type scenario struct {
	rules  string
	series map[string]string
}

// minutes of a scenario that have a value.
func (s scenario) minutes() (n int) {
	for _, values := range s.series {
		n = max(n, len(strings.Fields(values)))
	}
	return n
}

var scenarios = map[string]scenario{
	"pending, firing, kept, resolved": {
		`groups: [{name: g, rules: [
  {alert: High, expr: load > 5, for: 2m, keep_firing_for: 3m, labels: {severity: page}, annotations: {summary: '{{ $labels.instance }} is high'}},
  {alert: AtOnce, expr: load > 5}, {alert: Kept, expr: load > 5, keep_firing_for: 2m}]}]`,
		map[string]string{
			`load{instance="a"}`: "1 6 6 6 6 1 1 1 1 1 6 6 6 1 6 1 1 1 1 1",
			`load{instance="b"}`: "6 6 1 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 1 1",
		},
	},
	"flapping": {
		`groups: [{name: g, rules: [{alert: Flaps, expr: m == 1, for: 1m, keep_firing_for: 1m}, {alert: Slow, expr: m == 1, for: 3m}]}]`,
		map[string]string{
			`m{i="1"}`: "1 0 1 0 1 1 0 1 1 0 0 1 1 0 1 0 0 0 1 1",
			`m{i="2"}`: "1 1 0 0 1 1 0 0 1 1 0 0 1 1 1 1 1 1 1 1",
			`m{i="3"}`: "_ 1 _ 1 1 1 stale 1 1 1 stale _ _ 1 1 1 0 1 0 1",
		},
	},
	"labels and annotations": {
		`groups: [{name: g, labels: {of: group, severity: low}, rules: [
  {alert: A, expr: used / on (disk) size > 0.5, for: 1m,
   labels: {severity: '{{ if gt $value 0.8 }}page{{ else }}ticket{{ end }}', disk: '{{ $labels.disk | toUpper }}', gone: ''},
   annotations: {text: '{{ $labels.disk }} has {{ $value | humanizePercentage }} of {{ with printf "size{disk=%q}" $labels.disk | query }}{{ . | first | value | humanize1024 }}B{{ end }}',
     all: '{{ range query "sort_desc(size > 4)" }}{{ .Labels.disk }}={{ .Value }} {{ end }}'}}]}]`,
		map[string]string{
			`used{disk="a"}`: "1 3 3 3 3 3 3 3 1 1",
			`used{disk="b"}`: "3 3 3 3 1 1 4 4 4 4",
			`size{disk="a"}`: "4 4 4 4 4 4 4 4 4 4",
			`size{disk="b"}`: "4 4 4 4 4 4 4 4 4 4",
			`size{disk="c"}`: "8 8 8 8 8 8 8 8 8 8",
			`size{disk="d"}`: "9 9 9 9 9 9 9 9 9 9",
		},
	},
	"records that later rules read": {
		`groups: [{name: g, rules: [
  {record: 'job:load:sum', expr: sum by (job) (load), labels: {tier: gold}}, {record: 'all:load:max', expr: max(job:load:sum)},
  {alert: Much, expr: 'job:load:sum > on () group_left () (all:load:max / 2)', for: 1m}, {alert: None, expr: absent(job:load:sum)}]}]`,
		map[string]string{
			`load{i="1",job="x"}`: "1 2 3 4 stale _ _ _ 5 6 7 8",
			`load{i="2",job="x"}`: "1 1 1 1 stale _ _ _ _ _ 1 1",
			`load{i="1",job="y"}`: "9 8 7 1 1 stale _ _ 5 4 9 9",
		},
	},
	"series that go": {
		`groups: [{name: g, rules: [
  {record: 'm:rate', expr: 'rate(m[3m])'}, {alert: Gone, expr: 'absent_over_time(m{i="1"}[2m])', for: 2m, keep_firing_for: 1m},
  {alert: There, expr: m, for: 1m}, {alert: Lost, expr: m offset 2m unless m}]}]`,
		map[string]string{
			`m{i="1"}`: "1 2 3 stale _ _ _ _ _ 1 2 3 _ _ _ _ _ _ _ _",
			`m{i="2"}`: "1 2 3 4 5 _ _ _ _ _ _ _ _ _ 1 2 stale 3 4 5",
		},
	},
	"limit that is not exceeded": {
		`groups: [{name: g, limit: 2, rules: [{alert: L, expr: m > 0, for: 1m}, {record: 'm:r', expr: m > 0}]}]`,
		map[string]string{`m{i="1"}`: "1 1 1 0 0 1 1", `m{i="2"}`: "0 0 1 1 1 1 1", `m{i="3"}`: "0 0 0 0 0 0 0"},
	},
	"limit of alerts": {
		`groups: [{name: g, limit: 1, rules: [{alert: L, expr: m > 0, for: 1m}]}]`,
		map[string]string{`m{i="1"}`: "1 1 1 0 0 1 1", `m{i="2"}`: "0 0 0 0 1 1 1"},
	},
	"limit of series": {
		`groups: [{name: g, limit: 1, rules: [{record: 'm:r', expr: m > 0}]}]`,
		map[string]string{`m{i="1"}`: "1 1 1 0 0 1 1", `m{i="2"}`: "0 0 0 1 1 1 1"},
	},
}

// source writes the series of a scenario, as they would come.
func (s scenario) source(t *testing.T) *source {
	src := newSourceAt(t, t0-second)
	for i := range s.minutes() {
		at := t0 + int64(i)*60*second
		var points []point
		for _, series := range slices.Sorted(maps.Keys(s.series)) {
			switch v := strings.Fields(s.series[series])[i]; v {
			case "_":
			case "stale":
				points = append(points, point{series: series, t: at, v: staleNaN})
			default:
				f, err := strconv.ParseFloat(v, 64)
				require.NoError(t, err)
				points = append(points, point{series: series, t: at, v: f})
			}
		}
		src.writeAt(at+100, points...)
		src.tickAt(at + 30*second)
	}
	return src
}

// unitTest is a file of promtool's unit tests.
type unitTest struct {
	RuleFiles          []string    `json:"rule_files"`
	EvaluationInterval string      `json:"evaluation_interval"`
	Tests              []testGroup `json:"tests"`
}

type testGroup struct {
	Interval    string           `json:"interval"`
	InputSeries []inputSeries    `json:"input_series"`
	Alerts      []alertTest      `json:"alert_rule_test"`
	Expressions []expressionTest `json:"promql_expr_test"`
}

type inputSeries struct {
	Series string `json:"series"`
	Values string `json:"values"`
}

type alertTest struct {
	At     string          `json:"eval_time"`
	Name   string          `json:"alertname"`
	Alerts []expectedAlert `json:"exp_alerts"`
}

type expectedAlert struct {
	Labels      map[string]string `json:"exp_labels"`
	Annotations map[string]string `json:"exp_annotations"`
}

type expressionTest struct {
	Expression string           `json:"expr"`
	At         string           `json:"eval_time"`
	Samples    []expectedSample `json:"exp_samples"`
}

type expectedSample struct {
	Labels string  `json:"labels"`
	Value  float64 `json:"value"`
}

// followed is what a client knows of rules that it follows.
type followed struct {
	names   map[string]bool // of alerts
	alerts  map[string]*queryv1.Alert
	records map[string]float64
}

func (f *followed) take(m *queryv1.EvaluateRulesResponse) {
	for _, ts := range m.GetTimeseries() {
		key, sample := metricText(ts.GetLabels()), ts.GetSamples()[0]
		if f.records[key] = sample.GetValue(); sample.GetValue() != sample.GetValue() {
			delete(f.records, key)
		}
	}
	for _, a := range m.GetAlerts() {
		key := metricText(a.GetLabels())
		if f.alerts[key] = a; a.GetState() == queryv1.Alert_STATE_INACTIVE {
			delete(f.alerts, key)
		}
		f.names[labelMap(a.GetLabels())["alertname"]] = true
	}
}

func labelMap(all []*metricsv1.Label) map[string]string {
	m := map[string]string{}
	for _, l := range all {
		m[l.GetName()] = l.GetValue()
	}
	return m
}

// metricText is a series as PromQL has it.
func metricText(all []*metricsv1.Label, more ...string) string {
	texts := slices.Clone(more)
	for _, l := range all {
		texts = append(texts, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// expect adds what promtool has to come to after so many minutes.
func (g *testGroup) expect(f *followed, minute int) {
	at := fmt.Sprintf("%dm", minute)
	alerts, state := expressionTest{Expression: "ALERTS", At: at}, expressionTest{Expression: "ALERTS_FOR_STATE", At: at}
	firing := map[string][]expectedAlert{}
	for _, key := range slices.Sorted(maps.Keys(f.alerts)) {
		a := f.alerts[key]
		short := strings.ToLower(strings.TrimPrefix(a.GetState().String(), "STATE_"))
		alerts.Samples = append(alerts.Samples, expectedSample{metricText(a.GetLabels(), `__name__="ALERTS"`, fmt.Sprintf("alertstate=%q", short)), 1})
		since := float64(a.GetActiveAt().AsTime().UnixMilli()-t0) / second
		state.Samples = append(state.Samples, expectedSample{metricText(a.GetLabels(), `__name__="ALERTS_FOR_STATE"`), since})
		if a.GetState() == queryv1.Alert_STATE_FIRING {
			labels := labelMap(a.GetLabels())
			name := labels["alertname"]
			firing[name] = append(firing[name], expectedAlert{labels, labelMap(a.GetAnnotations())})
		}
	}
	for name := range f.names {
		g.Alerts = append(g.Alerts, alertTest{at, name, firing[name]})
	}
	records := expressionTest{Expression: `{__name__=~".+:.+"}`, At: at}
	for _, key := range slices.Sorted(maps.Keys(f.records)) {
		records.Samples = append(records.Samples, expectedSample{key, f.records[key]})
	}
	g.Expressions = append(g.Expressions, alerts, state, records)
}

// TestRulesAsPromtoolHasThem compares what rules come to with what Prometheus' own unit
// tests of rules come to, at each minute: alerts with their states, since when they are
// active, labels, annotations; records; which rule fails first, and when.
func TestRulesAsPromtoolHasThem(t *testing.T) {
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := startFed(t, testConfig(t), s.source(t))
			last := s.minutes() - 1
			got := (&rulings{t: t}).messages(srv.evaluate(t, &rulesRequest{
				Rules: s.rules, Interval: secs(60), Delay: secs(2), Start: sinceRules(t0), End: timestamppb.New(time.UnixMilli(t0 + int64(last)*60*second)),
			}))
			group := testGroup{Interval: "1m"}
			for series, values := range s.series {
				group.InputSeries = append(group.InputSeries, inputSeries{series, values})
			}
			f := &followed{names: map[string]bool{}, alerts: map[string]*queryv1.Alert{}, records: map[string]float64{}}
			failed := ""
			for minute := 0; minute <= last && failed == ""; minute++ {
				for _, m := range got[minute] {
					f.take(m)
					for _, failure := range m.GetFailures() {
						failed = fmt.Sprintf("rule: %s, time: %s", failure.GetRule(), time.Duration(minute)*time.Minute)
					}
				}
				if failed == "" {
					group.expect(f, minute)
				}
			}
			if failed != "" {
				// It evaluates as far as it expects something.
				group.Expressions = append(group.Expressions, expressionTest{Expression: "vector(1)", At: fmt.Sprintf("%dm", last), Samples: []expectedSample{{"{}", 1}}})
				require.Equal(t, []string{failed}, failedRules(promtool(t, s.rules, group)))
				return
			}
			require.Contains(t, promtool(t, s.rules, group), "SUCCESS")
			// It would say what differs.
			group.Expressions[len(group.Expressions)/2].Samples = []expectedSample{{`{a="b"}`, 1}}
			require.Contains(t, promtool(t, s.rules, group), "FAILED")
		})
	}
}

// messages receives until the end, and returns what came by the minute of its step.
func (r *rulings) messages(recv rulesReceiver) map[int][]*rulesResponse {
	all := map[int][]*rulesResponse{}
	var parts []*rulesResponse
	for {
		m, err := recv()
		require.NoError(r.t, err)
		if m.GetEnd() != nil {
			require.Empty(r.t, parts)
			return all
		}
		if parts = append(parts, m); m.GetEvaluated() != nil {
			minute := int(m.GetEvaluated().AsTime().UnixMilli()-t0) / (60 * second)
			all[minute] = append(all[minute], parts...)
			parts = nil
		}
	}
}

var failedRule = regexp.MustCompile(`rule: .*, time: [^,]+`)

func failedRules(output string) []string { return failedRule.FindAllString(output, -1) }

// promtool runs unit tests of rules, and returns what it prints.
func promtool(t *testing.T, rules string, group testGroup) string {
	path := os.Getenv("PROMTOOL")
	if path == "" {
		path = filepath.Join("..", ".tools", "promtool")
	}
	_, err := os.Stat(path)
	require.NoError(t, err, "promtool is needed: run `make tools`")
	text, err := json.MarshalIndent(unitTest{[]string{"rules.yml"}, "1m", []testGroup{group}}, "", " ")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(rules), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tests.yml"), text, 0o600))
	cmd := exec.Command(path, "test", "rules", filepath.Join(dir, "tests.yml"))
	output, err := cmd.CombinedOutput()
	require.NotNil(t, cmd.ProcessState, "%s: %v", path, err)
	return string(output)
}
