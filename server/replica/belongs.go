package replica

import (
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/segment"
)

// belonging is what a log says of its group and placement, with the version in it.
type belonging struct {
	said    segment.Placement
	version uint64
}

// Belongs returns which group the log says it is of, and the version of its newest placement,
// "" and 0 if it says nothing.
func (r *Replica) Belongs() (group string, version uint64) {
	said := r.Head.Placement()
	if said.None() {
		return "", 0
	}
	if known := r.belongs.Load(); known != nil && known.said == said {
		return said.Group, known.version
	}
	known := &belonging{said: said}
	if p, err := placement.Parse([]byte(said.Wire)); err == nil { // The forwarder has checked it.
		known.version = p.Version()
	}
	r.belongs.Store(known)
	return said.Group, known.version
}

// Belongs returns which group the logs say they are of, "" if they do not say the same, and
// the version of the newest placement of any.
func (s *Set) Belongs() (group string, version uint64) {
	differ := false
	for _, r := range s.All() {
		of, v := r.Belongs()
		switch {
		case v == 0:
			continue
		case version > 0 && of != group:
			differ = true
		}
		group, version = of, max(version, v)
	}
	if differ {
		group = ""
	}
	return group, version
}
