package replica

import "github.com/promgrpc/exporter/internal/segment"

// Owner returns to whom a log belongs, none if that is nobody.
func (rs *Set) Owner(id segment.LogID) ([]string, error) {
	rs.mu.Lock()
	u := rs.unconfirmed[id]
	rs.mu.Unlock()
	if u != nil {
		return u.names, nil
	}
	return rs.store.Owner(id)
}

// setOwner makes a log belong to names.
func (rs *Set) setOwner(r *Replica, names []string) error {
	if err := rs.store.SetOwner(r.ID, names); err != nil {
		return err
	}
	r.owners.Store(&names)
	return nil
}

// Owners are the names that the log belongs to, none if it is nobody's, or if they could
// not be read. It waits for no lock and no disk.
func (r *Replica) Owners() []string {
	if owners := r.owners.Load(); owners != nil {
		return *owners
	}
	return nil
}
