package promql

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// variants are what stands for a name in the corpus.
var variants = map[string][]string{
	"aggregate":  {"sum", "avg", "max", "min", "count", "stddev", "stdvar", "group"},
	"arithmetic": {"+", "-", "*", "/", "%", "^"},
	"best":       {"topk", "bottomk"},
	"clamp":      {"clamp_min", "clamp_max"},
	"compare":    {"==", "!=", "<", ">", "<=", ">="},
	"date":       {"day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"},
	"offset":     {"3s", "10s"},
	"operator":   {"+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">="},
	"of_range": {
		"avg_over_time", "changes", "count_over_time", "delta", "deriv", "first_over_time", "idelta", "increase", "irate", "last_over_time", "max_over_time",
		"min_over_time", "present_over_time", "rate", "resets", "stddev_over_time", "stdvar_over_time", "sum_over_time", "absent_over_time",
	},
	"of_value": {
		"abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "deg", "exp", "floor", "ln", "log10", "log2", "rad", "round", "sgn",
		"sin", "sinh", "sqrt", "tan", "tanh",
	},
	"quantile": {"-0.5", "0", "0.1", "0.5", "0.9", "1", "1.5"},
	"range":    {"1s", "3s", "10s", "30s", "1m"},
	"set":      {"and", "or", "unless"},
}

// corpus is the expressions of the file, with what <at> stands for.
func corpus(t testing.TB, at time.Time) (all []string) {
	text, err := os.ReadFile("testdata/corpus.txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			line = strings.ReplaceAll(line, "<at>", strconv.FormatInt(at.Unix(), 10))
			all = append(all, expand(line)...)
		}
	}
	return all
}

// expand returns an expression with each combination of what its names stand for.
func expand(text string) []string {
	for name, values := range variants {
		before, after, found := strings.Cut(text, "<"+name+">")
		if !found {
			continue
		}
		var all []string
		for _, value := range values {
			all = append(all, expand(before+value+after)...)
		}
		return all
	}
	return []string{text}
}

func TestCorpus(t *testing.T) {
	all := corpus(t, time.Unix(1500, 0))
	require.Contains(t, all, "demo_memory_bytes @ 1500 offset 10s")
	require.Contains(t, all, "sum_over_time(demo_histogram[1m])")
	seen := map[string]bool{}
	for _, text := range all {
		require.NotRegexp(t, `<[a-z_]+>[^:]*$`, strings.ReplaceAll(text, "(?P<name>", ""), "a name stands for nothing")
		assert.False(t, seen[text], "twice: %s", text)
		seen[text] = true
	}
	t.Logf("%d expressions", len(all))
}
