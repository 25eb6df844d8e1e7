package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
)

// plot is a bar chart with a bar for each system and size.
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
	line      = 24 // from one bar to the next
	barHeight = 16
	nameSide  = 290
	barSide   = 340
	width     = 760
)

// style has colours for light and dark pages.
const style = `<style>
text{fill:#1f2328}.title{font-weight:bold}.quiet{fill:#59636e}.bar{fill:#8c959f}.project{fill:#0969da}path{stroke:#1f2328}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.quiet{fill:#9198a1}.bar{fill:#656c76}.project{fill:#4493f8}path{stroke:#f0f6fc}}
</style>
`

// plot draws a chart, or returns nil if there is nothing to draw.
func (r *Result) plot(p plot) []byte {
	var bars []*Figure
	longest := 0.0
	for _, f := range r.Figures {
		if f.Metric == p.metric && !isBound(f.System) {
			bars = append(bars, f)
			_, highest := f.Range()
			longest = max(longest, highest)
		}
	}
	if longest == 0 {
		return nil
	}
	slices.SortStableFunc(bars, func(a, b *Figure) int { return a.Series - b.Series })
	var body bytes.Buffer
	y, size := line, 0
	for _, f := range bars {
		if f.Series != size {
			y += line
			size = f.Series
			text(&body, nameSide, y, "start", "quiet", thousands(size)+" series")
			y += line / 2
		}
		class := "bar"
		if isProject(f.System) {
			class = "project"
		}
		side := func(v float64) float64 { return nameSide + v/longest*barSide }
		lowest, highest := f.Range()
		text(&body, nameSide-8, y+12, "end", "", f.System)
		fmt.Fprintf(&body, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n",
			class, nameSide, y, max(side(f.Median())-nameSide, 1), barHeight)
		if lowest < highest {
			fmt.Fprintf(&body, `<path d="M%.1f %dH%.1f"/>`+"\n", side(lowest), y+barHeight/2, side(highest))
		}
		text(&body, int(side(highest))+6, y+12, "start", "", number(f.Median()/p.divisor)+" "+p.unit)
		y += line
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" font-family="sans-serif" font-size="13">`+"\n", width, y)
	b.WriteString(style)
	text(&b, 0, 16, "start", "title", p.title)
	b.Write(body.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func text(b *bytes.Buffer, x, y int, anchor, class, content string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s" class="%s">`, x, y, anchor, class)
	_ = xml.EscapeText(b, []byte(content)) // a buffer takes everything
	fmt.Fprint(b, "</text>\n")
}
