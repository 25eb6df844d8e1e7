package discovery

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Two instances of one name and port at one agent are two, if they have two addresses.
func TestTwoAddresses(t *testing.T) {
	a := startAgent(t, "127.0.0.1:0")
	one := liveAt(t, ConsulConfig{Consul: a.address, AdvertiseAddress: "192.0.2.1"})
	two := liveAt(t, ConsulConfig{Consul: a.address, AdvertiseAddress: "192.0.2.2"})
	eventually(t, "both are registered", func() bool {
		return a.get("prometheus-api-server-192.0.2.1-8090") != nil && a.get("prometheus-api-server-192.0.2.2-8090") != nil
	})
	one.stop()
	require.Nil(t, a.get("prometheus-api-server-192.0.2.1-8090"))
	require.NotNil(t, a.get("prometheus-api-server-192.0.2.2-8090"))
	two.stop()
}

// Of two processes at one address the later one is registered. The other says so, and
// takes nothing away from it; when it ends, the other is registered again.
func TestRivals(t *testing.T) {
	a := startAgent(t, "127.0.0.1:0")
	first := live(t, a.address)
	eventually(t, "registered", func() bool { return a.get(lifeID) != nil })
	second := live(t, a.address)
	eventually(t, "said", func() bool { return first.log.has("another process is registered as " + lifeID) })
	require.Equal(t, second.process, a.get(lifeID).Service.Meta[MetaProcess])

	third := live(t, a.address)
	eventually(t, "said", func() bool { return second.log.has("another process is registered as " + lifeID) })
	second.stop()
	require.True(t, second.log.has("not deregistered, another process is registered"))
	require.Equal(t, third.process, a.get(lifeID).Service.Meta[MetaProcess])
	require.False(t, third.log.has("another process"))

	third.stop()
	eventually(t, "registered again", func() bool {
		e := a.get(lifeID)
		return e != nil && e.Service.Meta[MetaProcess] == first.process
	})
	eventually(t, "said", func() bool { return first.log.has("consul takes reports") })
}

// An address that nobody is at any more is forgotten: each check says so.
func TestForgotten(t *testing.T) {
	a := startAgent(t, "127.0.0.1:0")
	l := live(t, a.address)
	for _, check := range l.registration.service("192.0.2.1", l.process).Checks {
		require.Equal(t, forgetAfter.String(), check.DeregisterCriticalServiceAfter)
	}
}
