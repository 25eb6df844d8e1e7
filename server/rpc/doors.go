package rpc

import (
	"log/slog"
	"net/http"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/browser"
)

// doors keep web pages of others away. What is refused is counted by its reason.
type doors struct {
	browser.Doors
	refused *prometheus.CounterVec
}

func (s *Service) newDoors() doors {
	d := doors{refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promgrpc_server_refused_pages_total",
		Help: "Requests refused since a web page of others may have sent them, by reason: origin, of another one than --rpc.cors-origin allows; host, by a name that --rpc.allowed-host does not have.",
	}, []string{"reason"})}
	for _, reason := range []string{browser.Host, browser.Origin} {
		d.refused.WithLabelValues(reason)
	}
	d.Doors = browser.Doors{
		Hosts: s.Hosts, Origins: s.Origins,
		Named: s.checkable,
		Refuse: func(w http.ResponseWriter, r *http.Request, refused *browser.Refused) {
			d.refused.WithLabelValues(refused.Reason).Inc()
			s.Log.Log(slog.LevelWarn, "request of a web page refused", "peer", s.peerOf(r), "err", refused)
			s.refuse(w, r, refused.Status, connect.NewError(connect.CodePermissionDenied, refused))
		},
	}
	return d
}

// checkable says whether the caller could check the name that it called by, as over TLS: to
// here or, if a proxy that is trusted says so, to the proxy. Whoever asks for the health
// may do so by any name.
func (s *Service) checkable(r *http.Request) bool {
	if asksHealth(r) {
		return true
	}
	if scheme := r.Header.Get("X-Forwarded-Proto"); scheme != "" && s.proxied(r) {
		return scheme == "https"
	}
	return r.TLS != nil
}
