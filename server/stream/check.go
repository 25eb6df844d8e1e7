package stream

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/invariant"
)

// checkResponse checks what is about to be sent: that the assembled bytes are a
// message with the samples that were counted, and the order of the cursor's logs. It skips
// the large responses of long streams, which would take too long.
func (st *stream) checkResponse() {
	if len(st.out.message()) > 2*firstSize {
		return
	}
	var r metricsv1.GetMetricsResponse
	err := proto.Unmarshal(st.out.message(), &r)
	invariant.Check(err == nil, "an assembled response is no message: %v", err)
	samples := 0
	for _, series := range r.GetTimeseries() {
		samples += len(series.GetSamples()) + len(series.GetHistograms())
		invariant.Check(len(series.GetLabels()) > 0 || series.GetRef() != 0, "a series has neither labels nor a reference")
	}
	invariant.Check(samples == st.out.samples, "%d samples were assembled, %d are in the message", st.out.samples, samples)
	sorted := slices.IsSortedFunc(st.sources, func(a, b *source) int { return bytes.Compare(a.replica.ID[:], b.replica.ID[:]) })
	invariant.Check(sorted, "the sources of a cursor are not in the order of the logs' ids")
}

// checkNext checks that a source moves forward.
func (src *source) checkNext(sequence uint64) {
	invariant.Check(sequence > src.sequence, "block %d of log %s comes after block %d", sequence, src.replica.ID, src.sequence)
}

// checkHeld checks that what is held back is what was counted.
func (c *conflation) checkHeld(sources []*source) {
	held := 0
	for _, src := range sources {
		held += src.deferred.len
	}
	invariant.Check(held == c.series, "%d series are held back, %d were counted", held, c.series)
}
