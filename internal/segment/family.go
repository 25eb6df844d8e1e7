package segment

import "slices"

// familySuffixes are those that a series of a family may have in any format and whatever
// its type, and none.
var familySuffixes = []string{
	"", "_total", "_bucket", "_count", "_sum", "_gcount", "_gsum", "_created", "_info",
}

// HasSeries says whether any series of the family is there, by the name of its metric.
func (m *Metadata) HasSeries(is func(name string) bool) bool {
	return slices.ContainsFunc(familySuffixes, func(suffix string) bool { return is(m.Family + suffix) })
}
