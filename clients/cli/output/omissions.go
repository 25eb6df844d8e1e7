package output

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What formats cannot express.
const (
	staleMarkers      = "stale markers"
	startTimestamps   = "start timestamps"
	exemplarsOfAll    = "exemplars"
	exemplarsOfOthers = "exemplars of what may have none"
	exemplarsCrowded  = "exemplars beyond one a sample"
	exemplarsLong     = "exemplars that are too long"
	negativeSums      = "sums of histograms with negative buckets"
	histograms        = "histograms"
	invalidHistograms = "histograms that are not valid"
	namelessSeries    = "samples of series without a name"
)

// omissions counts what an output received and could not write, by kind.
type omissions map[string]int

func (o *omissions) omit(what string, n int) {
	if n == 0 {
		return
	}
	if *o == nil {
		*o = omissions{}
	}
	(*o)[what] += n
}

func (o *omissions) omitStart(timestamp int64) {
	if timestamp != 0 {
		o.omit(startTimestamps, 1)
	}
}

func (o *omissions) Omitted() string {
	var all []string
	for _, what := range slices.Sorted(maps.Keys(*o)) {
		all = append(all, fmt.Sprintf("%d %s", (*o)[what], what))
	}
	return strings.Join(all, ", ")
}
