package rule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

// newEngine returns an engine on replicas, which may be nil for one that only parses.
func newEngine(replicas *replica.Set) *promql.Engine {
	c, l := promql.DefaultConfig(), selection.DefaultLimits()
	budget := func(flag string, n int64) *limit.Budget { return limit.NewBudget(flag, "units", n, n) }
	evaluations := selection.NewEvaluations(l, budget(selection.FlagEvaluationBytes, int64(l.EvaluationBytes)))
	return promql.New(c, promql.Shared{
		Source: &samples.Store{Replicas: replicas, Evaluations: evaluations}, Evaluations: evaluations,
		Bytes: budget(promql.FlagBytes, int64(c.Bytes)), Turns: budget(promql.FlagQueries, int64(c.Queries)),
	})
}

func readFile(t testing.TB, e *promql.Engine, l Limits, req *queryv1.EvaluateRulesRequest) (*file, error) {
	r := &reader{ctx: t.Context(), engine: e, viewer: selection.Viewer{Peer: "peer"}, limits: l, request: req, grow: func(int64) error { return nil }}
	return r.read()
}

func TestFile(t *testing.T) {
	f, err := readFile(t, newEngine(nil), DefaultLimits(), &queryv1.EvaluateRulesRequest{
		Rules: `
groups:
- name: a
  interval: 30s
  query_offset: 1m
  limit: 7
  labels: {team: x, tier: gold}
  rules:
  - {record: "job:up:sum", expr: "sum by (job) (up)", labels: {tier: silver}}
  - {alert: Down, expr: "job:up:sum == 0", for: 5m, keep_firing_for: 90s, annotations: {summary: "{{ $labels.job }} is down", link: x}}
- name: b
  rules:
  - {alert: Zero, expr: "vector(1)"}
`,
		Interval: durationpb.New(2 * time.Minute), Delay: durationpb.New(3 * time.Second),
		ExternalLabels: map[string]string{"cluster": "c"}, ExternalUrl: "http://x/",
	})
	require.NoError(t, err)
	a, b := f.groups[0], f.groups[1]
	require.Equal(t, []int64{30000, 60000, 7}, []int64{a.interval, a.delay, int64(a.limit)})
	require.Equal(t, []int64{120000, 3000, 0}, []int64{b.interval, b.delay, int64(b.limit)})
	require.True(t, a.overlaid)
	require.False(t, b.overlaid)
	require.Equal(t, `{team="x", tier="silver"}`, a.rules[0].labels.String())
	require.Equal(t, `{team="x", tier="gold"}`, a.rules[1].labels.String())
	require.Equal(t, []int64{300000, 90000}, []int64{a.rules[1].hold, a.rules[1].keep})
	require.Equal(t, []string{"link", "summary"}, []string{a.rules[1].annotations[0].name, a.rules[1].annotations[1].name})
}

// What is hashed is all that evaluations depend on.
func TestFileHash(t *testing.T) {
	seen := map[uint64]string{}
	for name, change := range map[string]func(*queryv1.EvaluateRulesRequest){
		"nothing":  func(*queryv1.EvaluateRulesRequest) {},
		"rules":    func(r *queryv1.EvaluateRulesRequest) { r.Rules += "\n" },
		"interval": func(r *queryv1.EvaluateRulesRequest) { r.Interval = durationpb.New(time.Second) },
		"delay":    func(r *queryv1.EvaluateRulesRequest) { r.Delay = durationpb.New(0) },
		"labels":   func(r *queryv1.EvaluateRulesRequest) { r.ExternalLabels = map[string]string{"a": "b"} },
		"url":      func(r *queryv1.EvaluateRulesRequest) { r.ExternalUrl = "http://x" },
	} {
		req := &queryv1.EvaluateRulesRequest{Rules: "x"}
		change(req)
		h := hashOf(req)
		require.Empty(t, seen[h], name)
		seen[h] = name
		req.Follow = true
		require.Equal(t, h, hashOf(req), name)
	}
}

// ruleFile is one with a group of rules.
func ruleFile(rules ...string) string {
	return "groups:\n- name: g\n  rules:\n  - " + strings.Join(rules, "\n  - ") + "\n"
}

func TestFileRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		rules, want, group, rule string
		start, end               uint32
	}{
		"no YAML":         {"{", "did not find", "", "", 0, 0},
		"unknown field":   {"group: 1", "field group not found", "", "", 0, 0},
		"nothing":         {"groups: []", "there are none", "", "", 0, 0},
		"no name":         {"groups: [{rules: [{record: a, expr: b}]}]", "Groupname must not be empty", "", "", 0, 0},
		"syntax":          {ruleFile(`{alert: A, expr: "sum(up"}`), `4:22: group "g", rule 1, "A"`, "g", "A", 6, 6},
		"no expression":   {ruleFile(`{record: a}`), "'expr' must be set", "g", "a", 0, 0},
		"range vector":    {ruleFile(`{record: a, expr: "up[5m]"}`), "range vector", "g", "a", 0, 0},
		"string":          {ruleFile(`{record: a, expr: "'x'"}`), "string", "g", "a", 0, 0},
		"template":        {ruleFile(`{alert: A, expr: up, annotations: {a: "{{ x }}"}}`), "function \"x\" not defined", "g", "A", 0, 0},
		"define":          {ruleFile(`{alert: A, expr: up, labels: {a: "{{ define \"x\" }}{{ end }}"}}`), "define, block and template", "g", "A", 0, 0},
		"short interval":  {"groups: [{name: g, interval: 500ms, rules: [{record: a, expr: b}]}]", "its interval has to be", "g", "", 0, 0},
		"long offset":     {"groups: [{name: g, query_offset: 2h, rules: [{record: a, expr: b}]}]", "its query_offset has to be", "g", "", 0, 0},
		"a group twice":   {"groups: [{name: g, rules: [{record: a, expr: b}]}, {name: g}]", "is repeated", "", "", 0, 0},
		"range of record": {ruleFile(`{record: a, expr: b}`, `{record: c, expr: "rate(a[5m])"}`), `rule "c": a may select what rule "a" of group "g" results in: that is recorded in this file`, "g", "c", 0, 0},
		"offset":          {ruleFile(`{record: a, expr: b}`, `{record: c, expr: "a offset 1m"}`), "without a range", "g", "c", 0, 0},
		"at":              {ruleFile(`{record: a, expr: b}`, `{record: c, expr: "a @ 5"}`), "without a range", "g", "c", 0, 0},
		"subquery":        {ruleFile(`{record: a, expr: b}`, `{record: c, expr: "max_over_time(a[5m:1m])"}`), "without a range", "g", "c", 0, 0},
		"later record":    {ruleFile(`{record: c, expr: a}`, `{record: a, expr: b}`), "by this rule or a later one", "g", "c", 0, 0},
		"itself":          {ruleFile(`{record: c, expr: "c or b"}`), "by this rule or a later one", "g", "c", 0, 0},
		"by a pattern":    {ruleFile(`{record: "x:a", expr: b}`, `{record: c, expr: '{__name__=~"x:.*"} offset 1m'}`), "without a range", "g", "c", 0, 0},
		"another group":   {ruleFile(`{record: a, expr: b}`) + "- {name: h, rules: [{record: c, expr: a}]}", "in another group", "h", "c", 0, 0},
		"no name at all":  {ruleFile(`{record: a, expr: b}`) + `- {name: h, rules: [{alert: A, expr: '{job="x"}'}]}`, "in another group", "h", "A", 0, 0},
		"an alert":        {ruleFile(`{alert: A, expr: b}`, `{record: c, expr: 'ALERTS{alertname="A"}'}`), "the state of an alert", "g", "c", 0, 0},
	} {
		_, err := readFile(t, newEngine(nil), DefaultLimits(), &queryv1.EvaluateRulesRequest{Rules: tt.rules})
		var invalid *invalidError
		require.ErrorAs(t, err, &invalid, name)
		require.ErrorContains(t, err, tt.want, name)
		d := invalid.detail()
		require.Equal(t, []any{tt.group, tt.rule, tt.start, tt.end}, []any{d.GetGroup(), d.GetRule(), d.GetStart(), d.GetEnd()}, name)
	}
}

// What a rule may read of its file, and what is none of its business.
func TestFileReads(t *testing.T) {
	for _, rules := range [][]string{
		{`{record: a, expr: b}`, `{record: c, expr: "a + a"}`, `{alert: A, expr: "c > 1"}`},
		{`{record: a, expr: b, labels: {l: x}}`, `{record: c, expr: 'rate(a{l="y"}[5m])'}`},
		{`{alert: A, expr: b}`, `{record: c, expr: 'ALERTS{alertname="B"}'}`},
		{`{alert: A, expr: b, labels: {severity: page}}`, `{record: c, expr: 'count(ALERTS{severity="ticket"})'}`},
		{`{alert: A, expr: b}`, `{alert: B, expr: 'count({job="x"})'}`},
	} {
		_, err := readFile(t, newEngine(nil), DefaultLimits(), &queryv1.EvaluateRulesRequest{Rules: ruleFile(rules...)})
		require.NoError(t, err, rules)
	}
}

func TestFileLimits(t *testing.T) {
	l := DefaultLimits()
	many := func(n int, expression string) string {
		rules := make([]string, n)
		for i := range rules {
			rules[i] = fmt.Sprintf(`{record: a, expr: '%s'}`, strings.ReplaceAll(expression, "N", fmt.Sprint(i)))
		}
		return ruleFile(rules...)
	}
	_, err := readFile(t, newEngine(nil), l, &queryv1.EvaluateRulesRequest{Rules: many(l.Rules, "bN")})
	require.NoError(t, err)
	for name, tt := range map[string]struct{ rules, limit string }{
		"rules":          {many(l.Rules+1, "bN"), FlagRules},
		"the same rules": {many(l.Rules+1, "b"), FlagRules},
		"a selector":     {many(1, `{a=~"`+strings.Repeat("x{1000}", 50)+`"}`), selection.FlagSelectorSize},
		"operators":      {many(1, strings.Repeat("-", promql.DefaultConfig().Operations)+"-b"), promql.FlagOperations},
		"a template":     {ruleFile(`{alert: A, expr: b, annotations: {a: "{{ 1 }}` + strings.Repeat("x", int(l.TemplateSize)) + `"}}`), FlagTemplateSize},
	} {
		_, err := readFile(t, newEngine(nil), l, &queryv1.EvaluateRulesRequest{Rules: tt.rules})
		var over *limit.Error
		require.ErrorAs(t, err, &over, name)
		require.Equal(t, limit.Name(tt.limit), over.Name, name)
	}
}

// Memory for a file is taken before it is read, and for its expressions as they are.
func TestFileMemory(t *testing.T) {
	req := &queryv1.EvaluateRulesRequest{Rules: ruleFile(`{record: a, expr: '{a=~"x{500}"}'}`, `{record: c, expr: '{a=~"y{500}"}'}`)}
	var taken []int64
	for refuse := range 3 {
		taken = taken[:0]
		busy := limit.Busy("--limit.stream-bytes", "it is reached")
		r := &reader{ctx: t.Context(), engine: newEngine(nil), limits: DefaultLimits(), request: req, grow: func(n int64) error {
			taken = append(taken, n)
			if len(taken) > refuse {
				return busy
			}
			return nil
		}}
		_, err := r.read()
		require.ErrorIs(t, err, busy)
	}
	require.Greater(t, taken[1], int64(500*100))
}
