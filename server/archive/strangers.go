package archive

import (
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// strangers are what is in the bucket and not of this deployment. Nothing of it is read or
// deleted; it is said once.
type strangers struct {
	objects bool // were told of
	grown   map[segment.LogID]time.Time
	logs    map[segment.LogID]bool // were told of
}

// tell says what a list has of others: objects whose names are not ours, and logs that
// grow there while nobody brings them here.
func (s *strangers) tell(a *Archive, l *listing) {
	a.metrics.foreign.Set(float64(l.foreign))
	if l.foreign > 0 && !s.objects {
		s.objects = true
		a.logger.Warn("the bucket has objects that are not ours: they are left alone", "objects", l.foreign, "one", l.example)
	}
	grown := map[segment.LogID]time.Time{}
	for id, segments := range l.logs {
		if a.isLocal(id) {
			continue
		}
		for _, e := range segments {
			if e.modified.After(grown[id]) {
				grown[id] = e.modified
			}
		}
		before, known := s.grown[id]
		if known && grown[id].After(before) && !s.logs[id] {
			if s.logs == nil {
				s.logs = map[segment.LogID]bool{}
			}
			s.logs[id] = true
			a.logger.Warn("a log grows in the bucket that no forwarder brings to this server: does another deployment use the same prefix?", "log_id", id.String())
		}
	}
	s.grown = grown
}
