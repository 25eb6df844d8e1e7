package rule

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/template"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/promql"
)

var errPattern = errors.New("the pattern is too large")

// newTestExpansion is of an alert whose queries result in many samples.
func newTestExpansion(t testing.TB, s promql.Sample) *expansion {
	x := newExpansion(t.Context(), "Alert", s)
	x.externalLabels, x.externalURL = map[string]string{"cluster": "a"}, &url.URL{Scheme: "http", Host: "prometheus:9090", Path: "/p"}
	x.at, x.most = 1000, int64(DefaultLimits().TemplateSize)
	x.query = func(_ context.Context, q string, _ time.Time) (promql.Vector, error) {
		v := make(promql.Vector, maxSteps+1)
		for i := range v {
			v[i] = promql.Sample{F: float64(i), Metric: labels.FromStrings("q", q)}
		}
		return v, nil
	}
	x.pattern = func(_ context.Context, p string) error {
		if len(p) > 100 {
			return errPattern
		}
		return nil
	}
	return x
}

var testSample = promql.Sample{F: 1234.5, Metric: labels.FromStrings("__name__", "m", "instance", "host:9100", "long", strings.Repeat("<", 5000))}

// What templates are for comes to what Prometheus makes of it.
func TestTemplates(t *testing.T) {
	for _, value := range []string{
		"plain",
		"{{ $value }} {{ $labels.instance }} {{ $labels.none }} {{ .Labels.instance }}",
		"{{ $externalLabels.cluster }} {{ $externalURL }} {{ externalURL }} {{ pathPrefix }}",
		`{{ if gt $value 1.0 }}high{{ else if eq $value 0.0 }}zero{{ else }}low{{ end }}`,
		`{{ with query "up" }}{{ . | first | value | humanize }}{{ else }}none{{ end }}`,
		`{{ query "up" | first | label "q" }}`,
		`{{ query "up" | first }}`,
		`{{ range $i, $s := slice (query "up") 0 3 }}{{ if $i }}, {{ end }}{{ .Labels.q }}={{ .Value }}{{ end }}`,
		`{{ range $k, $v := slice (query "up") 0 9 }}{{ if gt $k 1 }}{{ break }}{{ end }}{{ continue }}{{ end }}`,
		`{{ range $i := 3 }}{{ $i }}{{ end }}`,
		"{{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage 0.25 }} {{ humanizeTimestamp $value }}",
		"{{ toTime $value }} {{ toDuration $value }} {{ (toTime $value).Format \"2006\" }} {{ now }} {{ parseDuration \"1h\" }}",
		`{{ printf "%.2f%% of %5.1f and %-8s|" $value $value "x" }} {{ print 1 "a" }} {{ println "b" }}`,
		`{{ reReplaceAll "(.*):\\d+" "$1 and $1" $labels.instance }} {{ match "^host" $labels.instance }} {{ reReplaceAll "x*" "-" "abc" }}`,
		`{{ stripPort $labels.instance }} {{ stripDomain "a.b:80" }} {{ toUpper "x" }} {{ title "a b" }} {{ safeHtml "<b>" }}`,
		`{{ graphLink "up" }} {{ tableLink "up" }} {{ html "<" }} {{ js "'" }} {{ urlquery "a b" }} {{ urlQueryEscape "a b" }}`,
		"{{ $x := 5 }}{{ $x = 6 }}{{ $x }}{{- /* a comment */ -}} {{ \"{{\" }}",
		`{{ (args 1 "b").arg1 }} {{ (args 1).arg7 }} {{ index $labels "instance" }} {{ len $labels.instance }}`,
		`{{ sortByLabel "q" (query "up") | first | value }} {{ strvalue (first (query "up")) }}`,
		`{{ fails }}`, `{{ first (slice (query "up") 0 0) }}`, `{{ index $labels 7 }}`, `{{ reReplaceAll "(" "" "" }}`,
		`{{ if and (gt $value 1.0) (lt $value 1e9) }}{{ not true }}{{ end }}`,
	} {
		x := newTestExpansion(t, testSample)
		data := template.AlertTemplateData(testSample.Metric.Map(), x.externalLabels, x.externalURL.String(), testSample)
		want, err := template.NewTemplateExpander(t.Context(), definitions+value, "__alert_Alert", data, 1000, x.query, x.externalURL, nil).Expand()
		made, ourError := newText("a", value, x.most)
		require.NoError(t, ourError, value)
		got := x.expand(made)
		if err != nil {
			require.Contains(t, got, "<error expanding template: ", value)
			continue
		}
		require.Equal(t, want, got, value)
	}
}

func TestTemplateOfHistogram(t *testing.T) {
	h := &histogram.FloatHistogram{Count: 4, Sum: 8}
	x := newTestExpansion(t, promql.Sample{H: h})
	made, err := newText("a", "{{ $value }} {{ ($value.Mul 2.0).Count }}", x.most)
	require.NoError(t, err)
	require.Equal(t, h.String()+" 8", x.expand(made))
	require.Equal(t, 4.0, h.Count, "the histogram that others use is as it was")
}

// Whatever a template says, it ends, with as much memory as is allowed.
func TestTemplatesThatNeverEnd(t *testing.T) {
	most := int64(DefaultLimits().TemplateSize)
	for name, tt := range map[string]struct{ value, want string }{
		"many passes":           {`{{ range 1000000000000 }}{{ end }}`, "more than 10000 passes"},
		"loops in loops":        {`{{ range 9999 }}{{ range 9999 }}{{ end }}{{ end }}`, "more than 10000 passes"},
		"of a query":            {`{{ range query "up" }}{{ end }}`, "more than 10000 passes"},
		"continue":              {`{{ range 1000000000000 }}{{ continue }}{{ end }}`, "more than 10000 passes"},
		"text in a loop":        {`{{ range 9999 }}` + strings.Repeat("x", 9999) + `{{ end }}`, "prints more than"},
		"text in a condition":   {`{{ range 9999 }}{{ if true }}` + strings.Repeat("x", 9999) + `{{ end }}{{ end }}`, "prints more than"},
		"text in with's else":   {`{{ range 9999 }}{{ with false }}{{ else }}` + strings.Repeat("x", 9999) + `{{ end }}{{ end }}`, "prints more than"},
		"values in a loop":      {`{{ range 9999 }}{{ $labels.long }}{{ end }}`, "prints more than"},
		"values after another":  {strings.Repeat(`{{ $labels.long }}`, 9), "prints more than"},
		"doubling":              {`{{ $x := "xx" }}` + strings.Repeat(`{{ $x = print $x $x }}`, 60), "prints more than"},
		"doubling in printf":    {`{{ $x := "xx" }}` + strings.Repeat(`{{ $x = printf "%s%s" $x $x }}`, 60), "prints more than"},
		"doubling in js":        {"{{ `\\` " + strings.Repeat("| js ", 60) + "}}", "prints more than"},
		"doubling in a pattern": {`{{ $x := "xx" }}` + strings.Repeat(`{{ $x = reReplaceAll "x" "xx" $x }}`, 60), "prints more than"},
		"growing":               {"{{ $labels.long | html | html | html | html | html }}", "prints more than"},
		"growing links":         {`{{ "` + strings.Repeat("%", 4000) + `" ` + strings.Repeat("| tableLink ", 900) + `}}`, "prints more than"},
		"much work":             {`{{ $x := "` + strings.Repeat("x", 9999) + `" }}{{ range 9999 }}{{ $x = toUpper $x }}{{ end }}`, "its functions come to more than"},
		"a wide verb":           {`{{ printf "%1000000000d" 1 }}`, "a width is above"},
		"a precise verb":        {`{{ printf "%.1000000000f" 1.0 }}`, "a width is above"},
		"a width beyond all":    {`{{ printf "%99999999999999999999d" 1 }}`, "a width is above"},
		"a width of a value":    {`{{ printf "%*d" 1000000000 1 }}`, "is not evaluated"},
		"a large pattern":       {`{{ match "` + strings.Repeat("x", 101) + `" "" }}`, errPattern.Error()},
		"a large replacement":   {`{{ reReplaceAll "` + strings.Repeat("x", 101) + `" "" "" }}`, errPattern.Error()},
		"a query's result":      {`{{ query "up" }}`, "cannot be printed"},
	} {
		x := newTestExpansion(t, testSample)
		made, err := newText("a", tt.value, most)
		require.NoError(t, err, name)
		got := x.expand(made)
		require.Contains(t, got, tt.want, name)
		require.LessOrEqual(t, int64(len(got)), most, name)
	}
}

func TestTemplatesThatAreRefused(t *testing.T) {
	most := int64(DefaultLimits().TemplateSize)
	for _, value := range []string{
		`{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}`, `{{ block "x" . }}{{ end }}`,
		`{{ if true }}{{ template "x" }}{{ end }}`, `{{ range 3 }}{{ with 1 }}{{ else }}{{ template "x" }}{{ end }}{{ end }}`,
	} {
		_, err := newText("a", value, most)
		require.ErrorContains(t, err, "define, block and template", value)
	}
	_, err := newText("a", "{{ 1 }}"+strings.Repeat("x", int(most)), most)
	var over *limit.Error
	require.ErrorAs(t, err, &over)
	require.Equal(t, limit.Name(FlagTemplateSize), over.Name)
}

func FuzzTemplate(f *testing.F) {
	for _, value := range []string{
		`{{ range query "up" }}{{ .Value }}{{ else }}x{{ end }}`, `{{ $x := 1 }}{{ if $x }}{{ printf "%5d" $x }}{{ end }}`,
		`{{ with $labels }}{{ .instance | html | js }}{{ end }}`, `{{ range 1000000000 }}{{ continue }}{{ end }}`,
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		x := newTestExpansion(t, testSample)
		made, err := newText("a", value, x.most)
		if err != nil {
			return
		}
		require.LessOrEqual(t, int64(len(x.expand(made))), max(x.most, int64(len(value)))+1000)
	})
}
