package report

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Markdown is the report.
func (r *Result) Markdown() []byte {
	var b bytes.Buffer
	m := r.Machine
	fmt.Fprintf(&b, "# Results\n\nMeasured %s by `make bench` on %d cores (%s), %.1f GiB, Linux %s, %s.\n",
		r.Began.UTC().Format("2006-01-02 15:04 UTC"), m.Cores, m.CPU, m.MemoryGiB, m.Kernel, m.Go)
	r.versions(&b)
	r.others(&b)
	fmt.Fprint(&b, "\nThe figures are medians, with lowest and highest in parentheses. A CPU-second is one of all processes of the\n"+
		"system together, until they are idle again, in user mode and in the kernel.\n")
	r.targets(&b)
	r.secured(&b)
	r.grouped(&b)
	r.router(&b)
	r.queries(&b)
	for _, p := range plots {
		if r.plot(p) != nil {
			fmt.Fprintf(&b, "\n![%s](%s)\n", p.title, p.file)
		}
	}
	for _, series := range r.sizes() {
		fmt.Fprintf(&b, "\n## All figures, %s series\n", thousands(series))
		r.figures(&b, series)
	}
	fmt.Fprint(&b, "\n## Parameters\n\n| | |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(r.Parameters)) {
		fmt.Fprintf(&b, "| %s | %s |\n", name, r.Parameters[name])
	}
	return b.Bytes()
}

// versions says what was measured. The project's variants are of one version.
func (r *Result) versions(b *bytes.Buffer) {
	programs := map[string]string{}
	for system, version := range r.Versions {
		program, _, _ := strings.Cut(system, ", ")
		programs[program] = program + " " + version
	}
	if len(programs) > 0 {
		fmt.Fprintf(b, "\nVersions: %s.\n", strings.Join(slices.Sorted(maps.Values(programs)), "; "))
	}
}

// others says what share of the machine other programs used.
func (r *Result) others(b *bytes.Buffer) {
	var all Figure
	for _, f := range r.Figures {
		if f.Metric == Others {
			all.Values = append(all.Values, f.Values...)
		}
	}
	if len(all.Values) == 0 {
		return
	}
	const quiet = 5
	_, most := all.Range()
	fmt.Fprintf(b, "\n**Other programs used %.0f %% of the machine meanwhile (the median), and %.0f %% at most.", all.Median(), most)
	if all.Median() > quiet {
		fmt.Fprint(b, " Figures by elapsed time are worth little, and CPU times are higher than on a quiet machine.")
	}
	fmt.Fprint(b, "**\n")
}

// figures writes the medians of one size: a table of metrics by system, and one of
// reading with a row for each way.
func (r *Result) figures(b *bytes.Buffer, series int) {
	var all, read table
	for _, f := range r.Figures {
		if f.Series != series || strings.HasPrefix(f.Metric, Cost) && isBound(f.System) {
			continue
		}
		value, unit := number(f.Median()), f.Unit
		switch unit {
		case "bytes":
			value, unit = number(f.Median()/mib), "MiB"
		case "s":
			value, unit = number(f.Median()*1e3), "ms"
		}
		if metric := strings.TrimRight(f.Metric+", "+unit, ", "); strings.HasPrefix(metric, Latest) {
			read.set(f.System, metric, value)
		} else {
			all.set(metric, f.System, value)
		}
	}
	all.write(b)
	read.write(b)
}

// table is sparse. Its rows and columns keep the order in which they were first set.
type table struct {
	rows, columns []string
	cells         map[[2]string]string
}

func (t *table) set(row, column, text string) {
	if t.cells == nil {
		t.cells = map[[2]string]string{}
	}
	if !slices.Contains(t.rows, row) {
		t.rows = append(t.rows, row)
	}
	if !slices.Contains(t.columns, column) {
		t.columns = append(t.columns, column)
	}
	t.cells[[2]string{row, column}] = text
}

func (t *table) write(b *bytes.Buffer) {
	if len(t.rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| | %s |\n|---|%s\n", strings.Join(t.columns, " | "), strings.Repeat("---:|", len(t.columns)))
	for _, row := range t.rows {
		fmt.Fprintf(b, "| %s |", row)
		for _, column := range t.columns {
			fmt.Fprintf(b, " %s |", t.cells[[2]string{row, column}])
		}
		fmt.Fprintln(b)
	}
}

func (r *Result) sizes() []int {
	sizes := map[int]bool{}
	for _, f := range r.Figures {
		sizes[f.Series] = true
	}
	return slices.Sorted(maps.Keys(sizes))
}

// spread is the median and the range, divided for another unit.
func (f *Figure) spread(divisor float64) string {
	text := number(f.Median() / divisor)
	if len(f.Values) > 1 {
		lowest, highest := f.Range()
		text += fmt.Sprintf(" (%s–%s)", number(lowest/divisor), number(highest/divisor))
	}
	return text
}

// number has three significant digits, and thin spaces between thousands.
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
