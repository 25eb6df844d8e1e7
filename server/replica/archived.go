package replica

import (
	"context"

	"github.com/promgrpc/exporter/internal/segment"
)

// SetArchived says which block is the last that the bucket has, with all before it that
// are here.
func (r *Replica) SetArchived(sequence uint64) { r.inBucket.Store(sequence) }

// Archived is the last block that the bucket has, with all before it that are here. 0: it
// has none.
func (r *Replica) Archived() uint64 { return r.inBucket.Load() }

// Local says whether a log is on this disk.
func (rs *Set) Local(id segment.LogID) bool {
	_, found := rs.find(id)
	return found
}

// LeaseOwned is Lease for the server itself, which has a part of a log from where only its
// owner can have put it: the log stays whose it is.
func (rs *Set) LeaseOwned(ctx context.Context, id segment.LogID, from Feeder) (*Feeding, error) {
	owner, err := rs.Owner(id)
	if err != nil {
		return nil, err
	}
	return rs.Lease(ctx, id, Source{Feeder: from, Names: owner})
}
