package torture

import (
	"os"
	"path/filepath"
	"slices"
)

// A machine is lost with its disk, one of each group at a time: another one is lost only after
// all that there was at the time of the last is at every server of the group again. What was answered is
// on one disk more than may be lost.

// owed is how much of each file was somewhere when a store was lost.
type owed map[string]int64

// there is what is in the stores of a group that are left.
func (g *group) there() owed {
	all := owed{}
	for _, u := range slices.Concat(g.forwarders, g.servers) {
		for _, name := range files(u.store) {
			all[name] = max(all[name], sizeOf(u.store, name))
		}
	}
	return all
}

// redundant says whether all of what is owed is at every server of a group.
func (r *rig) redundant(g *group) bool {
	for name, size := range g.owed {
		for _, u := range g.servers {
			if sizeOf(u.store, name) < size && !r.bucket.has(name, size) {
				return false
			}
		}
	}
	return true
}

// sizeOf a file of a store, -1 if it is not there.
func sizeOf(store, name string) int64 {
	info, err := os.Stat(filepath.Join(store, name))
	if err != nil {
		return -1
	}
	return info.Size()
}

// lose a process with all that it has stored, unless that may not be lost.
func (r *rig) lose(u *unit) (func(), bool) {
	g := r.of(u)
	if !r.redundant(g) {
		return nil, false
	}
	start, ok := r.kill(u)
	if !ok {
		return nil, false
	}
	if r.cuts > 0 && r.alone(u) {
		r.say("%s has what nobody else has, and keeps it", u.Name)
		return start, true
	}
	r.say("%s loses its store", u.Name)
	if err := os.RemoveAll(filepath.Join(u.store, "log")); err != nil {
		r.t.Error(err)
	}
	if r.o.acks > 0 {
		r.losses++
		g.owed = g.there()
	}
	return start, true
}
