package server

import (
	"runtime"
	"strconv"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/peer"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/rpc"
	"github.com/promgrpc/exporter/server/selection"
)

// LimitConfig limits what callers can cause.
type LimitConfig struct {
	selection.Limits
	// Streams that may be open at a time.
	Streams int
	// Watches of the health that may be open at a time.
	Watches int
	// RPCConns that may be open at a time to the RPC port.
	RPCConns int
	// ConnStreams that one connection may have open, HTTP/2's
	// MaxConcurrentStreams.
	ConnStreams int
	// CallRate is how many calls and streams one connection may start in a second.
	CallRate int
	// StreamBytes that the state of all streams together takes.
	StreamBytes units.Base2Bytes
	// RequestBytes that a request may have, compressed or not.
	RequestBytes units.Base2Bytes
	// CallBytes that all calls together may hold: streams until they start, others until
	// their answers are sent.
	CallBytes units.Base2Bytes
	// Lookups of labels, metadata and segments that are under way at a time.
	Lookups int
	// PeerShare is what percentage of each limit one peer may hold.
	PeerShare int
	// TrustedProxies are addresses and networks of balancers. Their X-Forwarded-For says
	// who the peer is.
	TrustedProxies []string
}

// DefaultLimitConfig returns limits far above what clients do.
func DefaultLimitConfig() LimitConfig {
	return LimitConfig{
		Limits:       selection.DefaultLimits(),
		Streams:      10000,
		Watches:      4096,
		PeerShare:    50,
		RPCConns:     4096,
		ConnStreams:  500,
		CallRate:     1000,
		StreamBytes:  256 * units.MiB,
		RequestBytes: 1 * units.MiB,
		CallBytes:    64 * units.MiB,
		Lookups:      max(2, runtime.GOMAXPROCS(0)),
	}
}

// The flags of the limits that are enforced here.
const (
	flagStreams     = "--limit.streams"
	flagWatches     = "--limit.health-watches"
	flagPeerShare   = "--limit.peer-share"
	flagProxy       = "--rpc.trusted-proxy"
	flagRPCConns    = "--limit.rpc-connections"
	flagConnStreams = "--limit.connection-streams"
	flagCallRate    = "--limit.call-rate"
	flagLookups     = "--limit.lookups"
	flagCallBytes   = "--limit.call-bytes"
	flagStreamBytes = "--limit.stream-bytes"
)

// RegisterFlags adds the flags. Their defaults are what c holds.
func (c *LimitConfig) RegisterFlags(app *kingpin.Application) {
	app.Flag(flagStreams[2:], "Most streams that are open at a time.").
		Default(strconv.Itoa(c.Streams)).IntVar(&c.Streams)
	app.Flag(flagWatches[2:], "Most watches of the health service that are open at a time, for which nobody needs a credential.").
		Default(strconv.Itoa(c.Watches)).IntVar(&c.Watches)
	app.Flag(selection.FlagSelectorSize[2:], "Most that the selectors of a request may compile to, in instructions of regular expressions. Character classes count for several.").
		Default(strconv.FormatInt(c.SelectorSize, 10)).Int64Var(&c.SelectorSize)
	app.Flag(flagRPCConns[2:], "Most connections to the RPC port that are open at a time; at most a quarter of the files that the process may open.").
		Default(strconv.Itoa(c.RPCConns)).IntVar(&c.RPCConns)
	app.Flag(flagConnStreams[2:], "Most calls and streams that are under way on one connection of HTTP/2; clients and balancers open another, or wait.").
		Default(strconv.Itoa(c.ConnStreams)).IntVar(&c.ConnStreams)
	app.Flag(flagCallRate[2:], "Most calls and streams that one connection of HTTP/2 starts in a second; those that come faster wait.").
		Default(strconv.Itoa(c.CallRate)).IntVar(&c.CallRate)
	app.Flag(rpc.FlagRequestBytes[2:], "Largest request of a call or stream, compressed or not.").
		Default(c.RequestBytes.String()).BytesVar(&c.RequestBytes)
	app.Flag(flagCallBytes[2:], "Most bytes that requests and the answers of all calls under way take, by estimate; streams count until they start.").
		Default(c.CallBytes.String()).BytesVar(&c.CallBytes)
	app.Flag(flagLookups[2:], "Most calls for labels, metadata and segments that are worked on at a time; others wait for their turn. By default the number of processors, and 2 at least.").
		Default(strconv.Itoa(c.Lookups)).IntVar(&c.Lookups)
	app.Flag(flagStreamBytes[2:], "Most bytes that the state of all streams takes, beyond "+units.Base2Bytes(call.IncludedBytes).String()+" that each has free: what min_interval holds back, which series were selected or have references, what a snapshot that is being sent keeps of the past, and what a stream that lags decodes.").
		Default(c.StreamBytes.String()).BytesVar(&c.StreamBytes)
	app.Flag(selection.FlagEvaluations[2:], "Most evaluations of selectors that run at a time; others wait for their turns. 0 is one for two processors.").
		Default(strconv.Itoa(c.Evaluations)).IntVar(&c.Evaluations)
	app.Flag(selection.FlagEvaluationTime[2:], "Longest that one of them may run in all.").
		Default(c.EvaluationTime.String()).DurationVar(&c.EvaluationTime)
	app.Flag(selection.FlagEvaluationBytes[2:], "Most memory of all of them, and of their selectors, by estimate.").
		Default(c.EvaluationBytes.String()).BytesVar(&c.EvaluationBytes)
	app.Flag(flagPeerShare[2:], "Most of each limit that one peer may hold, in percent.").
		Default(strconv.Itoa(c.PeerShare)).IntVar(&c.PeerShare)
	app.Flag(flagProxy[2:], "Address or network of a balancer, whose X-Forwarded-For says who a peer is; without it, all clients of a balancer are one peer. One whose certificate has the role proxy in --access.file needs none. Repeatable.").
		PlaceHolder("NETWORK").StringsVar(&c.TrustedProxies)
}

func (c *LimitConfig) check() error {
	for _, positive := range []struct {
		flag  string
		value int64
	}{
		{flagStreams, int64(c.Streams)},
		{flagWatches, int64(c.Watches)},
		{selection.FlagSelectorSize, c.SelectorSize},
		{flagRPCConns, int64(c.RPCConns)},
		{flagConnStreams, int64(c.ConnStreams)},
		{flagCallRate, int64(c.CallRate)},
		{flagStreamBytes, int64(c.StreamBytes)},
		{flagLookups, int64(c.Lookups)},
		{rpc.FlagRequestBytes, int64(c.RequestBytes)},
		{selection.FlagEvaluationTime, int64(c.EvaluationTime)},
		{selection.FlagEvaluationBytes, int64(c.EvaluationBytes)},
	} {
		if positive.value <= 0 {
			return usage.Errorf("%s has to be above zero", positive.flag)
		}
	}
	switch {
	case c.Evaluations < 0:
		return usage.Errorf("%s cannot be negative", selection.FlagEvaluations)
	case c.PeerShare < 1, c.PeerShare > 100:
		return usage.Errorf("%s is %d, it has to be from 1 to 100", flagPeerShare, c.PeerShare)
	}
	if least := rpc.LeastCall(int64(c.RequestBytes)); int64(c.CallBytes) < least {
		return usage.Errorf("%s is %s, less than the %s that one call may take", flagCallBytes, c.CallBytes, units.Base2Bytes(least))
	}
	if _, err := peer.ParseProxies(c.TrustedProxies); err != nil {
		return usage.Errorf("%s: %w", flagProxy, err)
	}
	return nil
}

// Budget returns the budget of what a flag limits.
func (c *LimitConfig) Budget(flag, unit string, total int64) *limit.Budget {
	return limit.NewBudget(flag, unit, total, c.Share(total))
}

// Share is how much of a limit one peer may hold.
func (c *LimitConfig) Share(total int64) int64 { return max(1, total*int64(c.PeerShare)/100) }
