package selection

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/regexp/syntax"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
)

// longestSelector is what the rules of requests allow.
const longestSelector = 16384

// filledSelector repeats a part of an expression until its selector is as long as
// allowed.
func filledSelector(before, part, after string) string {
	around := `{a=~""}` + before + after
	return `{a=~"` + before + strings.Repeat(part, (longestSelector-len(around))/len(part)) + after + `"}`
}

// instances is a selector with the alternatives that a dashboard makes of a
// variable with many values.
func instances() string {
	var b strings.Builder
	for i := 0; b.Len() < longestSelector-60; i++ {
		_, _ = fmt.Fprintf(&b, `|10\\.%d\\.%d\\.%d:9090`, i/7%200, i%250, i*37%250)
	}
	return `{instance=~"` + b.String()[1:] + `"}`
}

// What people write is within the limit.
func TestSelectorsWithinTheSize(t *testing.T) {
	for name, text := range map[string]string{
		"instances": instances(),
		"literals":  filledSelector("", "service-a|", "x"),
		"letters":   filledSelector("", "a|", "b"),
		"text":      filledSelector("", "text-of-an-expression", ""),
		"paths":     `{path=~"/api/[^/]+/v[0-9]+/[^/]+/.*|(?i)/static/.*\\.(css|js|png|[a-z]{2,4})"}`,
		"windows":   filledSelector("", `C:\\\\Program Files\\\\prometheus|`, "x"),
		"dashes":    filledSelector("(?i)", "production-eu-1|", "x"),
		"names":     `{name=~"\\pL[\\pL\\pN_-]*"}`,
		"equal":     `{a="` + strings.Repeat("x", longestSelector-10) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseSelection(text)
			require.NoError(t, err)
		})
	}
}

// What costs more than its text suggests is refused before it is compiled.
func TestSelectorsBeyondTheSize(t *testing.T) {
	for name, text := range map[string]string{
		"repeats":            filledSelector("", "x0.{1000}", ""),
		"nested":             filledSelector("", "((x{10}){10}){9}", ""),
		"optional":           filledSelector("", "(x0?){0,900}", ""),
		"letters":            filledSelector("", `\\pL`, ""),
		"choice of letters":  filledSelector("", `\\pL|`, "x"),
		"any case of ranges": filledSelector("(?i)[", `B-\\x{10000}`, "]"),
		"any case of runes":  filledSelector("(?i)[", `A-𐀀`, "]"),
		"inverted":           filledSelector("", "[^1]", ""),
		"many literals":      filledSelector("[a-d][a-d][a-d][a-d]", "(a)", ""),
		"and what follows":   filledSelector("[a-d][a-d][a-d][a-d]", "(a)", ".*"),
		"in the middle":      filledSelector(".*[a-d][a-d][a-d][a-d]", "(a)", ".*"),
		"after a comment":    "{a=~ # it is\n" + strings.TrimPrefix(filledSelector("", "x{1000}", ""), "{a=~"),
		"in a broken one":    strings.TrimSuffix(filledSelector("", "x{1000}", ""), "}"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseSelection(text)
			requireOver(t, "selector-size", err)
		})
	}
	t.Run("together", func(t *testing.T) {
		_, err := parseSelection(filledSelector("", "a.", ""), filledSelector("", "a.", ""))
		requireOver(t, "selector-size", err)
	})
	t.Run("many matchers", func(t *testing.T) {
		matchers := "{" + strings.Repeat(`a!="",`, (longestSelector-2)/6) + "}"
		_, err := parseSelection(slices.Repeat([]string{matchers}, 8)...)
		requireOver(t, "selector-size", err)
	})
}

func requireOver(t *testing.T, name string, err error) {
	t.Helper()
	var over *limit.Error
	require.ErrorAs(t, err, &over)
	require.Equal(t, name, over.Name)
	require.False(t, over.Passing)
}

// FuzzRegexpSize compiles expressions as Prometheus does.
func FuzzRegexpSize(f *testing.F) {
	for _, text := range []string{
		"", "a", "a|b", "(a)(b)", "a{0}", "a{3}", "a{2,}", "(a{2,5}){0,3}", "(?i)a|A", "[^/]+", "(|a)*", "(a|)+?", "$^", `\bx\B`, "(?-s:.)(?s:.)(?m:^a$)",
		`\Qa.b\E{2}`, "(?P<x>a)|x*", "((((a|b)c|d)e|f)g)*", `[\pL-]|[^\pN]`, `(?i)[B-\x{10000}k]`, "a?b??c*?d+?", "(.*a.*|.*b.*)", "abc|abd|ab|a|",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const most = 100_000
		size := regexpSize(text, most)
		parsed, err := syntax.Parse(text, syntax.Perl|syntax.DotNL)
		if err != nil || size > most {
			return
		}
		again, err := syntax.Parse("^(?s:"+parsed.String()+")$", syntax.Perl)
		require.NoError(t, err)
		program, err := syntax.Compile(again.Simplify())
		require.NoError(t, err)
		require.LessOrEqual(t, int64(len(program.Inst)), size)
	})
}

// FuzzSelectorSize looks for expressions that the size misses.
func FuzzSelectorSize(f *testing.F) {
	for _, s := range []string{`up{a="1"}`, `{a=~"1|2"}`, `{a!~".+"}`, `{a=~"|1"}`, `{a=~"[12]",b!="3"}`, `{a=~"(?i)1"}`} {
		f.Add(s)
	}
	f.Add("m{# x\n a =~ # y\n 'x{9}', \"b\" !~ `\\d{9}`,on=~\"a{9}\"")
	f.Add(`{"m", a=~"a{9}"`)
	f.Fuzz(func(t *testing.T, text string) {
		matchers, _ := selectorParser.ParseMetricSelector(text)
		var least int64
		for _, m := range matchers {
			if m != nil && (m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp) {
				least += regexpSize(m.Value, 1<<40)
			}
		}
		require.LessOrEqual(t, least, selectorSize(text, 1<<40))
	})
}

// BenchmarkSelector parses the largest selectors of some kinds that are allowed.
func BenchmarkSelector(b *testing.B) {
	most := DefaultLimits().SelectorSize
	for name, part := range map[string]string{"literals": "service-a|", "any": ".?", "inverted": "[^1]", "letters": `\\pL`, "repeats": "x0.{1000}", "groups": "(a)"} {
		b.Run(name, func(b *testing.B) {
			n := longestSelector / len(part)
			text := func() string { return `{a=~"` + strings.Repeat(part, n) + `x"}` }
			for selectorSize(text(), most) > most {
				n--
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parseSelection(text()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("instances", func(b *testing.B) {
		text := instances()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := parseSelection(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
