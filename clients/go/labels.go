package promgrpc

import (
	"errors"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// errReference is the error of a reference that this stream did not introduce.
var errReference = errors.New("series with an unknown reference")

// labels are what the references of one stream stand for.
type labels map[uint64][]*metricsv1.Label

// restore replaces the references of series by the labels that they stand for. It
// forgets all earlier ones first if the server says so.
func (l labels) restore(forget bool, list []*metricsv1.TimeSeries) error {
	if forget {
		clear(l)
	}
	for _, series := range list {
		if series.GetRef() == 0 {
			continue
		}
		if len(series.GetLabels()) > 0 {
			l[series.GetRef()] = series.GetLabels()
		} else if series.Labels = l[series.GetRef()]; series.Labels == nil {
			return errReference
		}
		series.Ref = 0
	}
	return nil
}
