package promgrpc

import (
	"errors"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// errReference is a reference that the server has not given on this stream.
var errReference = errors.New("series with an unknown reference")

// labels are those that the references of one stream stand for.
type labels map[uint64][]*metricsv1.Label

// restore puts the labels back into the series that have a reference in their
// place, and takes the references out.
func (l labels) restore(msg *metricsv1.GetMetricsResponse) error {
	if msg.GetForgetReferences() {
		clear(l)
		msg.ForgetReferences = false
	}
	for _, series := range msg.GetTimeseries() {
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
