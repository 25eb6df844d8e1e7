package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server/rpc"
)

// A limit that lets nothing through is a mistake, and the flag is named.
func TestLimitsAreChecked(t *testing.T) {
	defaults := DefaultLimitConfig()
	require.NoError(t, defaults.check())
	for flag, set := range map[string]func(*LimitConfig){
		flagStreams:          func(c *LimitConfig) { c.Streams = 0 },
		flagRPCConns:         func(c *LimitConfig) { c.RPCConns = 0 },
		flagConnStreams:      func(c *LimitConfig) { c.ConnStreams = 0 },
		flagCallRate:         func(c *LimitConfig) { c.CallRate = 0 },
		flagLookups:          func(c *LimitConfig) { c.Lookups = 0 },
		rpc.FlagRequestBytes: func(c *LimitConfig) { c.RequestBytes = 0 },
		flagCallBytes:        func(c *LimitConfig) { c.CallBytes = 1 << 20 },
		flagPeerShare:        func(c *LimitConfig) { c.PeerShare = 101 },
		flagProxy:            func(c *LimitConfig) { c.TrustedProxies = []string{"haproxy"} },
	} {
		t.Run(flag, func(t *testing.T) {
			c := defaults
			set(&c)
			var mistake *usage.Error
			err := c.check()
			require.ErrorAs(t, err, &mistake)
			require.ErrorContains(t, err, flag)
		})
	}
}
