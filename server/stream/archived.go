package stream

import (
	"bytes"
	"cmp"
	"slices"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/server/replica"
)

// startSince reads all logs from a time on, also those that are archived. A cursor has a
// place for so many logs: of more than that, the oldest are left out, and the client is
// told.
func (st *stream) startSince() error {
	if err := st.streams.Replicas.Listed(); err != nil {
		return err
	}
	reach := slices.DeleteFunc(slices.Clone(st.streams.Replicas.Archived()), func(r *replica.Replica) bool { return r.Log.MaxTime() < *st.since })
	slices.SortFunc(reach, func(a, b *replica.Replica) int {
		return cmp.Or(cmp.Compare(b.Time(), a.Time()), bytes.Compare(a.ID[:], b.ID[:]))
	})
	for room := max(cursor.MaxLogs-len(st.streams.Replicas.Serving()), 0); len(reach) > room; {
		r := reach[len(reach)-1]
		reach = reach[:len(reach)-1]
		st.misses(&metricsv1.Gap{
			LogId: r.ID.String(), NextSequence: r.Log.Last() + 1,
			Reason: "the log is older than as many logs as a stream reads at a time",
		})
	}
	for _, r := range reach {
		if err := st.addFromOldest(r); err != nil {
			return err
		}
	}
	if err := st.addNewLogs(); err != nil {
		return err
	}
	return st.tellMissed()
}
