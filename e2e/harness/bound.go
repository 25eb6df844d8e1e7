package harness

import (
	"slices"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/forwarder"
	"github.com/promgrpc/exporter/receiver"
	"github.com/promgrpc/exporter/server"
)

// Configs are what the flags of a cluster make of the parts' configurations.
type Configs struct {
	Receiver  receiver.Config
	Forwarder forwarder.Config
	Server    server.Config
}

// Configs of the cluster, but for the addresses and folders, which are the
// harness' own.
func (c *Cluster) Configs() Configs {
	c.t.Helper()
	configs := Configs{Receiver: receiver.DefaultConfig(), Forwarder: forwarder.DefaultConfig(), Server: server.DefaultConfig()}
	parse(c.t, configs.Receiver.RegisterFlags, c.options.Receiver)
	parse(c.t, configs.Forwarder.RegisterFlags, c.options.Forwarder)
	parse(c.t, configs.Server.RegisterFlags, c.options.Server)
	return configs
}

func parse(t testing.TB, register func(*kingpin.Application), flags []string) {
	t.Helper()
	app := kingpin.New("", "")
	register(app)
	if _, err := app.Parse(flags); err != nil {
		t.Fatalf("flags %q: %v", flags, err)
	}
}

// Load is what there is while memory is looked at: series in the logs, streams of
// a server, and connections to the receiver.
type Load struct{ Series, Streams, Connections int }

// Bound is the formula of docs/guarantees.md: the most memory that a process of
// the cluster may take.
func (c *Cluster) Bound(p *Process, l Load) int64 {
	c.t.Helper()
	const (
		aSeries     = 1 << 10
		aStream     = 1 << 20
		aConnection = 64 << 10
	)
	configs := c.Configs()
	switch {
	case p == c.Receiver:
		return 64<<20 + 2*int64(configs.Receiver.InflightBytes) + int64(l.Connections)*aConnection
	case slices.Contains(c.Forwarders, p):
		return 256<<20 + 2*int64(configs.Forwarder.InflightBytes) + int64(l.Series)*aSeries
	default:
		return 256<<20 + 2*int64(configs.Server.LinkBytes) + int64(configs.Server.StreamBytes) + int64(configs.Server.CallBytes) +
			int64(configs.Server.EvaluationBytes) + 2*int64(configs.Server.WindowBytes) + 2*int64(configs.Server.Engine.Bytes) +
			int64(l.Series)*aSeries + int64(l.Streams)*aStream
	}
}
