package router

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	streamsDesc = prometheus.NewDesc("promgrpc_router_streams", "Streams that are open and read; not watches of the health.", nil, nil)
	connsDesc   = prometheus.NewDesc("promgrpc_router_connections", "Connections to the RPC port that are open.", nil, nil)
	stateDesc   = prometheus.NewDesc("promgrpc_router_stream_state_bytes", "Bytes of --limit.stream-bytes that are held.", nil, nil)
	bytesDesc   = prometheus.NewDesc("promgrpc_router_call_bytes", "Bytes of --limit.call-bytes that calls under way hold.", nil, nil)
	readyDesc   = prometheus.NewDesc("promgrpc_router_ready", "1 if calls are served.", nil, nil)
	fileDesc    = prometheus.NewDesc("promgrpc_router_groups_file_refused", "1 while the groups file says what cannot be used, and what it said before is in use.", nil, nil)
	awayDesc    = prometheus.NewDesc("promgrpc_router_group_away", "1 while no server of the group answers.", []string{"group"}, nil)
	silentDesc  = prometheus.NewDesc("promgrpc_router_group_silent", "1 while the group's servers answer, but its time stands still, and steps with it.", []string{"group"}, nil)
	serversDesc = prometheus.NewDesc("promgrpc_router_group_servers", "Servers of the group, by whether calls go to them.", []string{"group", "ready"}, nil)
	versionDesc = prometheus.NewDesc("promgrpc_router_group_placement_version", "Version of the groups file in the logs of the group, 0 for none.", []string{"group"}, nil)
)

// collector is for the metrics of a router.
type collector struct{ r *Router }

func (c collector) counted() []prometheus.Collector {
	return slices.Concat(c.r.calls.Collectors(), c.r.merged.Metrics.Collectors(), c.r.queries.Collectors(), c.r.rules.Collectors(),
		c.r.pushed.Collectors(), c.r.refusals.Collectors(), []prometheus.Collector{c.r.rpc.Collector()})
}

// Describe implements [prometheus.Collector].
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{streamsDesc, connsDesc, stateDesc, bytesDesc, readyDesc, fileDesc, awayDesc, silentDesc, serversDesc, versionDesc} {
		ch <- d
	}
	for _, m := range c.counted() {
		m.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(streamsDesc, float64(c.r.calls.Count()))
	gauge(connsDesc, float64(c.r.conns.Used()))
	gauge(stateDesc, float64(c.r.calls.Held()))
	gauge(bytesDesc, float64(c.r.callBytes.Used()))
	gauge(readyDesc, one(c.r.Ready() == nil))
	gauge(fileDesc, one(c.r.groups.Problem() != nil))
	for _, g := range c.r.groupStates() {
		ready := 0
		for _, s := range g.GetServers() {
			if s.GetReady() {
				ready++
			}
		}
		gauge(awayDesc, one(g.GetAway()), g.GetName())
		gauge(silentDesc, one(g.GetSilent()), g.GetName())
		gauge(serversDesc, float64(ready), g.GetName(), "true")
		gauge(serversDesc, float64(len(g.GetServers())-ready), g.GetName(), "false")
		gauge(versionDesc, float64(g.GetPlacementVersion()), g.GetName())
	}
	for _, m := range c.counted() {
		m.Collect(ch)
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
