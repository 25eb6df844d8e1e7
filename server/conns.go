package server

import (
	"log/slog"
	"net"

	"github.com/promgrpc/exporter/internal/h2frames"
	"github.com/promgrpc/exporter/internal/limit"
)

// bounded returns the listener of the RPC port. It closes connections beyond the limit,
// which have no call yet that could be answered.
func (s *Server) bounded(l net.Listener) net.Listener {
	return &limit.Listener{
		Listener: h2frames.Listener{Listener: l, CallRate: s.config.CallRate},
		Budget:   s.conns,
		Proxies:  s.proxies,
		Refused: func(remote net.Addr, err error) {
			_ = s.refusals.Of(err) // counts it
			s.log.Log(slog.LevelWarn, "rpc connection closed", "peer", remote.String(), "err", err)
		},
	}
}
