package server

// HoldUp keeps blocks from being applied until release is called.
func (s *Server) HoldUp() (release func()) {
	all := s.replicas.all()
	for _, r := range all {
		r.mu.RLock()
	}
	return func() {
		for _, r := range all {
			r.mu.RUnlock()
		}
	}
}
