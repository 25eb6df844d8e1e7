package report

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Markdown is the result for people.
func (r *Result) Markdown() []byte {
	var b bytes.Buffer
	m := r.Machine
	fmt.Fprintf(&b, "# Results\n\nMeasured %s by `make bench` on %d cores (%s), %.1f GiB, Linux %s, %s.\n",
		r.Began.UTC().Format("2006-01-02 15:04 UTC"), m.Cores, m.CPU, m.MemoryGiB, m.Kernel, m.Go)
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\n**%s**\n", note)
	}
	fmt.Fprint(&b, "\nThe figures are medians, with lowest and highest in parentheses. A CPU-second is one of all processes of the\n"+
		"system together, until they are idle again, in user mode and in the kernel.\n\n## Targets\n\n")
	r.targets(&b)
	r.bounds(&b)
	for _, p := range plots {
		if r.plot(p) != nil {
			fmt.Fprintf(&b, "\n![%s](%s)\n", p.title, p.file)
		}
	}
	for _, series := range r.sizes() {
		fmt.Fprintf(&b, "\n## All figures, %s series\n\n", thousands(series))
		r.figures(&b, series)
	}
	fmt.Fprint(&b, "\n## Parameters\n\n| | |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(r.Parameters)) {
		fmt.Fprintf(&b, "| %s | %s |\n", name, r.Parameters[name])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		fmt.Fprintf(&b, "| version of %s | %s |\n", name, r.Versions[name])
	}
	return b.Bytes()
}

func (r *Result) targets(b *bytes.Buffer) {
	fmt.Fprint(b, "| what | series | target | measured | | best peer | ratio |\n|---|---|---|---|---|---|---|\n")
	for i := range targets {
		t := &targets[i]
		f := r.Find(t.series, t.system, t.metric)
		if f == nil {
			continue
		}
		sign, mark, peer, ratio := "≥", "missed", "–", "–"
		if t.atMost {
			sign = "≤"
		}
		if t.met(f.Median() / t.divisor) {
			mark = "met"
		}
		if best := r.best(t); best != nil {
			peer = fmt.Sprintf("%s %s", best.spread(t.divisor), best.System)
			times := f.Median() / best.Median()
			if t.atMost {
				times = 1 / times
			}
			ratio = number(times) + " × better"
			if times < 1 {
				ratio = number(1/times) + " × worse"
			}
		}
		fmt.Fprintf(b, "| %s | %s | %s %s %s | %s | %s | %s | %s |\n",
			t.what, thousands(t.series), sign, number(t.bound), t.unit, f.spread(t.divisor), mark, peer, ratio)
	}
}

func (r *Result) figures(b *bytes.Buffer, series int) {
	var metrics []string
	for _, f := range r.Figures {
		if f.Series != series {
			continue
		}
		if !slices.Contains(metrics, f.Metric) {
			metrics = append(metrics, f.Metric)
		}
	}
	fmt.Fprint(b, "| metric | system | median (range) |\n|---|---|---|\n")
	for _, metric := range metrics {
		for _, f := range r.Figures {
			if f.Series == series && f.Metric == metric {
				value, unit := f.spread(1), f.Unit
				switch unit {
				case "bytes":
					value, unit = f.spread(mib), "MiB"
				case "s":
					value, unit = f.spread(1e-3), "ms"
				}
				fmt.Fprintf(b, "| %s | %s | %s %s |\n", metric, f.System, value, unit)
			}
		}
	}
}

func (r *Result) sizes() []int {
	sizes := map[int]bool{}
	for _, f := range r.Figures {
		sizes[f.Series] = true
	}
	return slices.Sorted(maps.Keys(sizes))
}

// spread is the median with the range, in a unit that is a multiple.
func (f *Figure) spread(divisor float64) string {
	text := number(f.Median() / divisor)
	if len(f.Values) > 1 {
		lowest, highest := f.Range()
		text += fmt.Sprintf(" (%s–%s)", number(lowest/divisor), number(highest/divisor))
	}
	return text
}

// number has three digits that matter, and thin spaces between thousands.
func number(v float64) string {
	switch size := math.Abs(v); {
	case v == math.Trunc(v) && size < 1000:
		return fmt.Sprintf("%.0f", v)
	case size >= 1000:
		return thousands(int(math.Round(v)))
	case size >= 100:
		return fmt.Sprintf("%.0f", v)
	case size >= 10:
		return fmt.Sprintf("%.1f", v)
	case size >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func thousands(n int) string {
	text := fmt.Sprint(n)
	var parts []string
	for len(text) > 3 {
		parts = append([]string{text[len(text)-3:]}, parts...)
		text = text[:len(text)-3]
	}
	return strings.Join(append([]string{text}, parts...), " ")
}
