package promql

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// corpus is one of the files that Prometheus tests its engine with.
type corpus struct {
	name     string
	commands []any // of load, evaluation and clearing
}

// load adds samples, by the labels of their series.
type load struct {
	series []loadedSeries
	gap    time.Duration
}

type loadedSeries struct {
	labels labels.Labels
	values []parser.SequenceValue
}

// evaluated is an expression that is evaluated at an instant, or over a range if the step
// is not 0, in ms.
type evaluated struct {
	line  int
	text  string
	steps span
}

// clearing removes all that was loaded.
type clearing struct{}

var (
	loadLine    = regexp.MustCompile(`^load(?:_with_nhcb)?\s+(.+?)$`)
	instantLine = regexp.MustCompile(`^eval(?:_(?:fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$`)
	rangeLine   = regexp.MustCompile(`^eval(?:_(?:fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$`)
)

// testOptions are those that Prometheus' tests parse with.
var testOptions = parser.Options{
	EnableExperimentalFunctions: true, ExperimentalDurationExpr: true, EnableExtendedRangeSelectors: true, EnableBinopFillModifiers: true,
}

// corpora reads Prometheus' files from its module.
func corpora(t testing.TB) (all []corpus) {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/prometheus/prometheus").Output()
	require.NoError(t, err)
	names, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "promql/promqltest/testdata/*.test"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		all = append(all, readCorpus(t, filepath.Base(name), string(text)))
	}
	return all
}

func readCorpus(t testing.TB, name, text string) corpus {
	t.Helper()
	c := corpus{name: name}
	loading := (*load)(nil)
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			loading = nil
		case line == "clear":
			c.commands, loading = append(c.commands, clearing{}), nil
		case loadLine.MatchString(line):
			loading = &load{gap: duration(t, loadLine.FindStringSubmatch(line)[1])}
			c.commands = append(c.commands, loading)
		case instantLine.MatchString(line):
			m := instantLine.FindStringSubmatch(line)
			at := duration(t, m[1]).Milliseconds()
			c.commands, loading = append(c.commands, evaluated{i + 1, m[2], span{start: at, end: at}}), nil
		case rangeLine.MatchString(line):
			m := rangeLine.FindStringSubmatch(line)
			steps := span{duration(t, m[1]).Milliseconds(), duration(t, m[2]).Milliseconds(), duration(t, m[3]).Milliseconds()}
			c.commands, loading = append(c.commands, evaluated{i + 1, m[4], steps}), nil
		case loading != nil && !strings.Contains(strings.Fields(line)[0], "@st"):
			ls, values, err := parser.NewParser(testOptions).ParseSeriesDesc(line)
			require.NoError(t, err, "%s:%d", name, i+1)
			loading.series = append(loading.series, loadedSeries{ls, values})
		}
	}
	return c
}

func duration(t testing.TB, text string) time.Duration {
	t.Helper()
	if text == "" {
		return 0
	}
	d, err := model.ParseDuration(text)
	require.NoError(t, err)
	return time.Duration(d)
}
