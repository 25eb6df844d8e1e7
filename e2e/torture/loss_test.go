package torture

import (
	"os"
	"path/filepath"
	"slices"
)

// A machine is lost with its disk, one at a time: another one is lost only after all that
// there was at the time of the last is at every server again. What was answered is
// on one disk more than may be lost.

// owed is how much of each file was somewhere when a store was lost.
type owed map[string]int64

// there is what is in the stores that are left.
func (r *rig) there() owed {
	all := owed{}
	for _, u := range slices.Concat(r.forwarders, r.servers) {
		for _, name := range files(u.store) {
			all[name] = max(all[name], sizeOf(u.store, name))
		}
	}
	return all
}

// redundant says whether all of that is at every server.
func (r *rig) redundant() bool {
	for name, size := range r.owed {
		for _, u := range r.servers {
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
	if !r.redundant() {
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
		r.owed = r.there()
	}
	return start, true
}
