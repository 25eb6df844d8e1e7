package pushdown

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

var testParser = parser.NewParser(parser.Options{EnableExperimentalFunctions: true, ExperimentalDurationExpr: true, EnableExtendedRangeSelectors: true})

func TestSplit(t *testing.T) {
	for text, want := range map[string][]string{
		"x":                                          {`{__leaf__=~"0"}`, "x"},
		"sum by (job) (rate(x[1m]))":                 {`{__leaf__=~"0"}`, "sum by (job) (rate(x[1m]))"},
		"avg(x)":                                     {`{__leaf__=~"0"}`, "sum(x)", "count(x)"},
		"min(x) + on () max(y)":                      {`{__leaf__=~"0"} + on () {__leaf__=~"1"}`, "min(x)", "max(y)"},
		"sum(x / on (job) y)":                        {`sum({__leaf__=~"0"} / on (job) {__leaf__=~"1"})`, "x", "y"},
		"rate(x[1m]) * 2 > time() - 5":               {`{__leaf__=~"0"}`, "rate(x[1m]) * 2 > time() - 5"},
		"x > scalar(sum(y))":                         {`{__leaf__=~"0"} > scalar({__leaf__=~"1"})`, "x", "sum(y)"},
		"topk(5, sum by (job) (x))":                  {`topk(5, {__leaf__=~"0"})`, "sum by (job) (x)"},
		"topk(5, sum by (job) (x) * 2)":              {`topk(5, sum by (job) ({__leaf__=~"0"}) * 2)`, "x"},
		"topk(5, -rate(x[1m]))":                      {`topk(5, {__leaf__=~"0"})`, "-rate(x[1m])"},
		"stddev(max by (job) (x))":                   {`stddev(max by (job) ({__leaf__=~"0"}))`, "x"},
		"sort(x)":                                    {`sort({__leaf__=~"0"})`, "x"},
		`rate({job="a"}[1m])`:                        {`{__leaf__=~"0"}`, `rate({job="a"}[1m])`},
		`sum(rate({job="a"}[1m]))`:                   {`sum({__leaf__=~"0"})`, `rate({job="a"}[1m])`},
		`abs(rate({job="a"}[1m]))`:                   {`abs({__leaf__=~"0"})`, `rate({job="a"}[1m])`},
		`topk(1, rate({job="a"}[1m]))`:               {`topk(1, rate({job="a"}[1m]))`},
		`count({job="a"} > 1)`:                       {`{__leaf__=~"0"}`, `count({job="a"} > 1)`},
		"max_over_time(rate(x[1m])[1h:1m])":          {`{__leaf__=~"0"}`, "max_over_time(rate(x[1m])[1h:1m])"},
		"max_over_time(sum(x)[1h:1m])":               {"max_over_time(sum(x)[1h:1m])"},
		"absent(x)":                                  {`absent({__leaf__=~"0",__name__="x"})`, "group(x)"},
		`absent(x{job="a"})`:                         {`absent({__leaf__=~"0",__name__="x",job="a"})`, `group(x{job="a"})`},
		"absent(sum(x))":                             {`absent({__leaf__=~"0"})`, "sum(x)"},
		"absent_over_time(x[1m])":                    {"absent_over_time(x[1m])"},
		"x @ end()":                                  {"x @ end()"},
		"sum(x @ 100 offset 5m)":                     {`{__leaf__=~"0"}`, "sum(x @ 100.000 offset 5m)"},
		"rate(x[step()])":                            {"rate(x[step()])"},
		"rate(x[1m] smoothed)":                       {"rate(x[1m] smoothed)"},
		"day_of_week()":                              {"day_of_week()"},
		"day_of_week(x) or vector(0)":                {`{__leaf__=~"0"} or vector(0)`, "day_of_week(x)"},
		`label_replace(x, "a", "b", "c", "d")`:       {`label_replace({__leaf__=~"0"}, "a", "b", "c", "d")`, "x"},
		`sum(label_replace(x, "a", "b", "c", "d"))`:  {`sum(label_replace({__leaf__=~"0"}, "a", "b", "c", "d"))`, "x"},
		"histogram_quantile(0.9, sum by (le) (x))":   {`histogram_quantile(0.9, {__leaf__=~"0"})`, "sum by (le) (x)"},
		"histogram_quantile(scalar(y), rate(x[1m]))": {`histogram_quantile(scalar({__leaf__=~"0"}), {__leaf__=~"1"})`, "y", "rate(x[1m])"},
		"info(x)":                                    {"info(x)"},
		`count_values("v", x)`:                       {`{__leaf__=~"0"}`, `count_values("v", x)`},
		"quantile(0.5, x)":                           {`quantile(0.5, {__leaf__=~"0"})`, "x"},
		"((x))":                                      {`(({__leaf__=~"0"}))`, "x"},
		"1 + time()":                                 {"1 + time()"},
	} {
		expr, err := testParser.ParseExpr(text)
		require.NoError(t, err, text)
		p := Split(expr)
		got := []string{p.Expr.String()}
		for _, l := range p.Leaves {
			texts, err := l.Texts(testParser, nil)
			require.NoError(t, err)
			got = append(got, texts...)
		}
		require.Equal(t, want, got, text)
	}
}

// What is asked for somebody who may not see all has the matchers of what it may see.
func TestTexts(t *testing.T) {
	matchers := func(text string) []*labels.Matcher {
		all, err := testParser.ParseMetricSelector(text)
		require.NoError(t, err)
		return all
	}
	for _, c := range []struct{ text, allowed, want string }{
		{`sum(rate(x{a="b"}[1m]))`, `{tenant="t",c!="d"}`, `sum(rate(x{a="b",c!="d",tenant="t"}[1m]))`},
		{"x", `{__name__=~"y.*"}`, `{__name__="x",__name__=~"y.*"}`},
		{"max_over_time(x[5m:1m] offset 3m)", "y", `max_over_time({__name__="x",__name__="y"}[5m:1m] offset 3m)`},
	} {
		expr, err := testParser.ParseExpr(c.text)
		require.NoError(t, err)
		texts, err := Split(expr).Leaves[0].Texts(testParser, matchers(c.allowed))
		require.NoError(t, err)
		parsed, err := testParser.ParseExpr(texts[0])
		require.NoError(t, err)
		require.Equal(t, parsed.String(), texts[0])
		require.Equal(t, c.want, texts[0])
	}
}

// A matcher of an expression is never taken for that of a leaf.
func TestLeafOf(t *testing.T) {
	expr, err := testParser.ParseExpr(`max_over_time(sum(x{__leaf__=~"0"})[1h:1m]) + sum(y)`)
	require.NoError(t, err)
	p := Split(expr)
	found := map[bool]int{}
	parser.Inspect(p.Expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			_, ok := LeafOf(s.LabelMatchers)
			found[ok]++
		}
		return nil
	})
	require.Equal(t, map[bool]int{true: 1, false: 1}, found)
}
