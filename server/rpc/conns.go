package rpc

import (
	"log/slog"
	"net"

	"github.com/promgrpc/exporter/internal/h2frames"
	"github.com/promgrpc/exporter/internal/limit"
)

// bounded returns the listener of the RPC port. It closes connections beyond the limit,
// which have no call yet that could be answered.
func (s *Service) bounded(l net.Listener) net.Listener {
	return &limit.Listener{
		Listener: h2frames.Listener{Listener: s.Web.Listener(l), CallRate: s.CallRate},
		Budget:   s.Conns,
		Proxies:  s.Proxies,
		Refused: func(remote net.Addr, err error) {
			_ = s.Refusals.Of(err) // counts it
			s.Log.Log(slog.LevelWarn, "rpc connection closed", "peer", remote.String(), "err", err)
		},
	}
}
