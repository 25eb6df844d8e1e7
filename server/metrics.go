package server

import (
	"math"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	streamsDesc            = prometheus.NewDesc("promgrpc_server_streams", "Streams that are open and read; not watches of the health.", nil, nil)
	connsDesc              = prometheus.NewDesc("promgrpc_server_connections", "Connections to the RPC port that are open.", nil, nil)
	stateDesc              = prometheus.NewDesc("promgrpc_server_stream_state_bytes", "Bytes of --limit.stream-bytes that are held.", nil, nil)
	callsDesc              = prometheus.NewDesc("promgrpc_server_call_bytes", "Bytes of --limit.call-bytes that calls under way hold.", nil, nil)
	queriesDesc            = prometheus.NewDesc("promgrpc_server_query_bytes", "Bytes of --limit.query-bytes that evaluations of PromQL, results until they are sent, and what is read for them hold.", nil, nil)
	readyDesc              = prometheus.NewDesc("promgrpc_server_ready", "1 if calls are served.", nil, nil)
	seriesDesc             = prometheus.NewDesc("promgrpc_server_series", "Series in the head, stale ones included.", []string{"log_id"}, nil)
	lagDesc                = prometheus.NewDesc("promgrpc_server_lag_blocks", "Blocks of the forwarder's log that the replica does not have yet.", []string{"log_id"}, nil)
	lastDesc               = prometheus.NewDesc("promgrpc_server_last_sequence", "Last block that the replica has.", []string{"log_id"}, nil)
	connectedDesc          = prometheus.NewDesc("promgrpc_server_forwarder_connected", "1 while the log's forwarder is connected.", []string{"log_id"}, nil)
	endedDesc              = prometheus.NewDesc("promgrpc_server_log_ended", "1 if no more blocks of the log will come: its forwarder has said so, or is gone, and no other server has more.", []string{"log_id"}, nil)
	placementDesc          = prometheus.NewDesc("promgrpc_server_placement_version", "Version of the groups file that the log is written by, with the group that it says it is of. Absent where there are no groups.", []string{"log_id", "group"}, nil)
	windowBytesDesc        = prometheus.NewDesc("promgrpc_server_window_bytes", "Memory that recent samples for queries take, by estimate.", []string{"log_id"}, nil)
	windowSamplesDesc      = prometheus.NewDesc("promgrpc_server_window_samples", "Recent samples for queries that are in memory.", []string{"log_id"}, nil)
	windowFloorDesc        = prometheus.NewDesc("promgrpc_server_window_floor_timestamp_seconds", "Timestamp from which on all samples are in memory. What is older is read from the disk. Absent while there are none.", []string{"log_id"}, nil)
	evaluationsDesc        = prometheus.NewDesc("promgrpc_server_evaluations", "Evaluations of selectors that run.", nil, nil)
	evaluationsWaitingDesc = prometheus.NewDesc("promgrpc_server_evaluations_waiting", "Evaluations of selectors that wait for their turns.", nil, nil)
)

// collector is for the metrics of a server: gauges that are read when they are asked
// for, and what the rooms have counted.
type collector struct{ s *Server }

func (c collector) counted() []prometheus.Collector {
	counted := slices.Concat(c.s.serving.Collectors(), c.s.streams.Collectors(), c.s.queries.Collectors(), c.s.rules.Collectors(), c.s.feed.Collectors(), c.s.refusals.Collectors(), []prometheus.Collector{c.s.rpc.Collector()})
	if c.s.archive != nil {
		counted = append(counted, c.s.archive)
	}
	if c.s.peers != nil {
		counted = append(counted, c.s.peers.Collectors()...)
	}
	return counted
}

// Describe implements [prometheus.Collector].
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{streamsDesc, stateDesc, connsDesc, callsDesc, queriesDesc, evaluationsDesc, evaluationsWaitingDesc, readyDesc, seriesDesc, lagDesc, lastDesc, connectedDesc, endedDesc, placementDesc, windowBytesDesc, windowSamplesDesc, windowFloorDesc} {
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
	gauge(streamsDesc, float64(c.s.serving.Count()))
	gauge(connsDesc, float64(c.s.conns.Used()))
	gauge(stateDesc, float64(c.s.serving.Held()))
	gauge(callsDesc, float64(c.s.calls.Used()))
	gauge(queriesDesc, float64(c.s.queryBytes.Used()))
	gauge(evaluationsDesc, float64(c.s.evaluations.Running()))
	gauge(evaluationsWaitingDesc, float64(c.s.evaluations.Waiting()))
	gauge(readyDesc, one(c.s.Ready() == nil))
	for _, r := range c.s.replicas.All() {
		id := r.ID.String()
		gauge(seriesDesc, float64(r.Head.Len()), id)
		gauge(lagDesc, float64(r.Lag()), id)
		gauge(lastDesc, float64(r.Log.Last()), id)
		gauge(connectedDesc, one(r.Connected()), id)
		gauge(endedDesc, one(r.EndedForGood()), id)
		if group, version := r.Belongs(); group != "" {
			gauge(placementDesc, float64(version), id, group)
		}
		if r.Window == nil {
			continue
		}
		recent := r.Window.Stats()
		gauge(windowBytesDesc, float64(recent.Bytes), id)
		gauge(windowSamplesDesc, float64(recent.Samples), id)
		if recent.Floor != math.MaxInt64 {
			gauge(windowFloorDesc, float64(recent.Floor)/1000, id)
		}
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
