package forwarder

import (
	"slices"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/forwarder/election"
	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/usage"
)

// PairsConfig says how senders of the same samples are told apart.
type PairsConfig struct {
	// Enabled has one sender of each cluster taken, and the others dropped.
	Enabled bool
	// ClusterLabel is what the senders of a cluster have in common.
	ClusterLabel string
	// ReplicaLabels tell them apart. The first that a series has counts, and goes.
	ReplicaLabels []string
	// Failover is how long the elected has to be silent before another is elected.
	Failover time.Duration
}

// DefaultPairsConfig returns the labels that Mimir and Thanos have by default.
func DefaultPairsConfig() PairsConfig {
	return PairsConfig{
		ClusterLabel:  "cluster",
		ReplicaLabels: []string{"__replica__"},
		Failover:      30 * time.Second,
	}
}

const (
	flagReplicaLabel = "--ha.replica-label"
	flagFailover     = "--ha.failover"
	// leastFailover leaves the elected the time to be heard of at another forwarder.
	leastFailover = 2 * election.Settle
)

// RegisterFlags adds the flags, which default to what c holds.
func (c *PairsConfig) RegisterFlags(app *kingpin.Application) {
	app.Flag("ha", "Of senders whose series have both the label of a cluster and that of a replica, as the Prometheus servers of an HA pair, take one replica of each cluster without its label, and drop what the others send until it has been silent for --ha.failover.").
		BoolVar(&c.Enabled)
	app.Flag("ha.cluster-label", "Label that the senders of an HA pair have in common.").
		Default(c.ClusterLabel).StringVar(&c.ClusterLabel)
	replicas := c.ReplicaLabels
	c.ReplicaLabels = nil // a repeated flag appends
	app.Flag(flagReplicaLabel[2:], "Label that tells the senders of an HA pair apart. Repeatable: the first that a series has counts.").
		Default(replicas...).StringsVar(&c.ReplicaLabels)
	app.Flag(flagFailover[2:], "How long the elected sender of an HA pair has to be silent before another is elected.").
		Default(c.Failover.String()).DurationVar(&c.Failover)
}

func (c *PairsConfig) check() error {
	names := append([]string{c.ClusterLabel}, c.ReplicaLabels...)
	slices.Sort(names)
	switch {
	case names[0] == "" || len(c.ReplicaLabels) == 0 || len(slices.Compact(names)) < 1+len(c.ReplicaLabels):
		return usage.Errorf("--ha.cluster-label and %s have to be different labels", flagReplicaLabel)
	case c.Failover < leastFailover:
		return usage.Errorf("%s has to be %s at least", flagFailover, leastFailover)
	}
	return nil
}

// labels of the senders, nil if nobody is elected.
func (c *PairsConfig) labels() *remotewrite.SenderLabels {
	if !c.Enabled {
		return nil
	}
	return remotewrite.NewSenderLabels(c.ClusterLabel, c.ReplicaLabels...)
}
