package load

import (
	"fmt"
	"iter"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// Profile is the data of a load: which series there are, and how their values go on.
// The same plan gets the same series with the same values each time.
type Profile struct {
	Name string
	// Few is a selector of a few series, of any load of 2000 series or more.
	Few string
	// Churn is the share of the targets that are replaced from one round to the next, if
	// nothing else is wanted.
	Churn float64
	// Part prepares the series of a plan from first up to, but not including, end. What
	// it returns yields them with their samples of a round; it is called for each round,
	// in order. A plan's churn replaces series, but not how many there are.
	Part func(p Plan, first, end int) (func(round int) iter.Seq[Series], error)
}

// Series is a series with the sample of a round.
type Series struct {
	Labels []prompb.Label // sorted, and not changed afterwards
	Type   writev2.Metadata_MetricType
	Help   string
	Value  float64
	// Histogram is the sample of a native histogram, in place of Value. Nil: none.
	Histogram *histogram.Histogram
}

var profiles = []*Profile{Synthetic, Recorded, Fleet}

// Find returns the profile of a name.
func Find(name string) (*Profile, error) {
	var names []string
	for _, p := range profiles {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return nil, fmt.Errorf("profile %q is not known, want one of: %s", name, strings.Join(names, ", "))
}
