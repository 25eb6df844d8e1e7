package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
)

// plot is a chart of bars: a bar for each system and size.
type plot struct {
	file, title, metric, unit string
	divisor                   float64
}

var plots = []plot{
	{"ingest.svg", "Ingest of known series, million samples per CPU-second", Steady, "M/CPU-s", 1e6},
	{"new-series.svg", "Ingest of new series, thousand per CPU-second", New, "k/CPU-s", 1e3},
	{"read.svg", "Latest sample of all series, thousand series per CPU-second", Latest, "k/CPU-s", 1e3},
	{"first-byte.svg", "Latest sample of all series, milliseconds to the first byte", LatestFirst, "ms", 1e-3},
	{"memory.svg", "Peak memory of a store, reading included, MiB", StoreMemory, "MiB", mib},
}

const (
	barHeight = 18
	barGap    = 8
	labelSide = 300
	barSide   = 380
	margin    = 16
)

// plot draws a chart, or returns nil if there is nothing to draw.
func (r *Result) plot(p plot) []byte {
	var bars []*Figure
	for _, f := range r.Figures {
		if f.Metric == p.metric && !isBound(f.System) {
			bars = append(bars, f)
		}
	}
	if len(bars) == 0 {
		return nil
	}
	slices.SortStableFunc(bars, func(a, b *Figure) int { return a.Series - b.Series })
	longest := 0.0
	for _, f := range bars {
		_, highest := f.Range()
		longest = max(longest, highest)
	}
	if longest == 0 {
		return nil
	}
	width := labelSide + barSide + 130
	height := 2*margin + 24 + len(bars)*(barHeight+barGap)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprint(&b, `<rect width="100%" height="100%" fill="#fff"/>`+"\n")
	text(&b, margin, margin+8, "start", `font-weight="bold"`, p.title)
	y := margin + 24
	for _, f := range bars {
		colour := "#8a97a6"
		if isProject(f.System) {
			colour = "#1f6feb"
		}
		side := func(v float64) float64 { return v / longest * barSide }
		middle := y + barHeight/2
		text(&b, labelSide-8, middle+4, "end", "", fmt.Sprintf("%s, %s", f.System, thousands(f.Series)))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelSide, y, max(side(f.Median()), 1), barHeight, colour)
		lowest, highest := f.Range()
		if len(f.Values) > 1 {
			fmt.Fprintf(&b, `<path d="M%.1f %dH%.1f" stroke="#111" fill="none"/>`+"\n", labelSide+side(lowest), middle, labelSide+side(highest))
		}
		text(&b, labelSide+int(side(highest))+6, middle+4, "start", "", number(f.Median()/p.divisor)+" "+p.unit)
		y += barHeight + barGap
	}
	fmt.Fprint(&b, "</svg>\n")
	return b.Bytes()
}

func text(b *bytes.Buffer, x, y int, anchor, style, content string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s" %s>`, x, y, anchor, style)
	_ = xml.EscapeText(b, []byte(content)) // a buffer takes everything
	fmt.Fprint(b, "</text>\n")
}
