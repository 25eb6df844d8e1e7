package discovery

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"
)

// life is an instance that is registered for a while.
type life struct {
	*Registrar
	log   syncBuffer
	ready atomic.Pointer[error]
	stop  func()
}

const lifeID = "prometheus-api-server-127.0.0.1-8090"

func live(t *testing.T, address string) *life {
	t.Helper()
	return liveAt(t, ConsulConfig{Consul: address})
}

func liveAt(t *testing.T, c ConsulConfig) *life {
	t.Helper()
	l := &life{}
	var err error
	l.Registrar, err = NewRegistrar(Registration{
		ConsulConfig: c,
		Service:      ServiceServer, Instance: "a",
		Listener: &net.TCPAddr{IP: net.IPv6unspecified, Port: 8090},
		Tags:     []string{"grpc"}, Meta: map[string]string{MetaLinkPort: "8070"}, GRPC: true,
		Ready: func() error {
			if err := l.ready.Load(); err != nil {
				return *err
			}
			return nil
		},
	}, slog.New(slog.NewTextHandler(&l.log, nil)))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stopped := false
	l.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(l.stop)
	return l
}

func (l *life) fail(reason string) {
	err := errors.New(reason)
	l.ready.Store(&err)
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, patience, 10*time.Millisecond, what)
}

func TestRegistrar(t *testing.T) {
	a := startAgent(t, "127.0.0.1:0")
	l := live(t, a.address)
	eventually(t, "registered", func() bool { return a.get(lifeID) != nil })
	e := a.get(lifeID)
	require.Equal(t, ServiceServer, e.Service.Service)
	require.Equal(t, "127.0.0.1", e.Service.Address)
	require.Equal(t, 8090, e.Service.Port)
	require.Equal(t, []string{"grpc"}, e.Service.Tags)
	require.Equal(t, "8070", e.Service.Meta[MetaLinkPort])
	require.Equal(t, "a", e.Service.Meta[MetaInstance])
	require.NotEmpty(t, e.Service.Meta[MetaVersion])
	require.Len(t, e.Checks, 2)
	require.Equal(t, "127.0.0.1:8090", e.Checks[1].Output)
	require.Equal(t, api.HealthPassing, e.Checks.AggregatedStatus())

	l.fail("empty")
	eventually(t, "critical", func() bool { return a.check(lifeID+":self") == api.HealthCritical })
	l.ready.Store(nil)
	eventually(t, "passing", func() bool { return a.check(lifeID+":self") == api.HealthPassing })

	began := time.Now()
	l.fail("draining")
	l.Withdraw()
	l.Withdraw()
	eventually(t, "critical", func() bool { return a.check(lifeID+":self") == api.HealthCritical })
	require.Less(t, time.Since(began), reportEvery/2, "withdrawing does not wait for the next report")
	require.NotNil(t, a.get(lifeID))
	l.stop()
	require.Nil(t, a.get(lifeID))
	require.Contains(t, l.log.String(), "deregistered from consul")
}

// Tags of the configuration come after those of the part.
func TestRegistrarTags(t *testing.T) {
	a := startAgent(t, "127.0.0.1:0")
	liveAt(t, ConsulConfig{Consul: a.address, ConsulTags: []string{"a", "eu-1"}})
	eventually(t, "registered", func() bool { return a.get(lifeID) != nil })
	require.Equal(t, []string{"grpc", "a", "eu-1"}, a.get(lifeID).Service.Tags)
	for _, tag := range []string{"", "A", "a.b", "-a", "a_b", strings.Repeat("a", 64)} {
		_, err := NewRegistrar(Registration{ConsulConfig: ConsulConfig{Consul: a.address, ConsulTags: []string{tag}}}, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, "--consul.tag: ", tag)
	}
}

func TestRegistrarRegistersAnew(t *testing.T) {
	a := startAgent(t, "127.0.0.1:0")
	l := live(t, a.address)
	eventually(t, "registered", func() bool { return a.get(lifeID) != nil })

	a.stop()
	eventually(t, "said", func() bool { return l.log.has("not registered in consul, or not for long") })
	again := startAgent(t, a.address)
	eventually(t, "registered again", func() bool { return again.get(lifeID) != nil })
	require.True(t, l.log.has("consul has forgotten this instance"))
	eventually(t, "said", func() bool { return l.log.has("consul takes reports") })

	again.change(func() { clear(again.entries); clear(again.checks) })
	l.fail("draining")
	l.Withdraw()
	time.Sleep(2 * reportEvery)
	require.Nil(t, again.get(lifeID), "a withdrawn instance is not registered")
	l.stop()
	require.False(t, l.log.has("not deregistered"), "it was gone already")
}

// An agent that is not there or does not answer holds up nothing.
func TestRegistrarWithoutAgent(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	for name, address := range map[string]string{"nobody": "127.0.0.1:1", "silent": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			l := live(t, address)
			time.Sleep(100 * time.Millisecond)
			began := time.Now()
			l.stop()
			require.Less(t, time.Since(began), farewellTime+time.Second)
			require.True(t, l.log.has("not deregistered"))
		})
	}
}

// A shutdown is no recovery: that nothing is reported any more says nothing of Consul.
func TestRegistrarNeverReached(t *testing.T) {
	l := live(t, "127.0.0.1:1")
	eventually(t, "said", func() bool { return l.log.has("not registered in consul, or not for long") })
	l.fail("draining")
	l.Withdraw()
	time.Sleep(2 * reportEvery)
	l.stop()
	require.False(t, l.log.has("consul takes reports"), l.log.String())
}

func (s *syncBuffer) has(text string) bool { return strings.Contains(s.String(), text) }

func TestRegistrationNames(t *testing.T) {
	r := Registration{Service: ServiceForwarder, Instance: "a", Listener: &net.TCPAddr{Port: 8070}}
	require.Equal(t, "metrics-forwarder-a.example-8070", r.id("a.example"))
	require.Equal(t, "metrics-forwarder-fe80::1-eth0-8070", r.id("fe80::1%eth0"))
	require.NotEqual(t, r.id("1::2:3:4:5:6:7"), r.id("1:2::3:4:5:6:7"))

	host := func(c ConsulConfig, ip net.IP) string {
		at, err := parseAgent(c.Consul)
		require.NoError(t, err)
		host, err := c.advertised(&net.TCPAddr{IP: ip, Port: 1}, at)
		require.NoError(t, err)
		return host
	}
	agent := ConsulConfig{Consul: "127.0.0.1"}
	require.Equal(t, "127.0.0.1", host(agent, nil))
	require.Equal(t, "127.0.0.1", host(agent, net.IPv4zero))
	require.Equal(t, "192.0.2.7", host(agent, net.IPv4(192, 0, 2, 7)))
	agent.AdvertiseAddress = "me.example"
	require.Equal(t, "me.example", host(agent, net.IPv4(192, 0, 2, 7)))
	agent.AdvertiseAddress = "[2001:db8::1]"
	require.Equal(t, "2001:db8::1", host(agent, nil))
	require.Empty(t, host(ConsulConfig{Consul: "unix:///run/consul"}, nil), "that of the agent")

	_, err := NewRegistrar(Registration{ConsulConfig: ConsulConfig{Consul: "a:b"}}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "--consul: a:b: the port is not a number from 1 to 65535")
	for _, wrong := range []string{"host:80", "http://x", "two words", "0.0.0.0"} {
		_, err = NewRegistrar(Registration{ConsulConfig: ConsulConfig{Consul: "a", AdvertiseAddress: wrong}}, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, `--advertise-address: "`+wrong)
	}
}

func TestConsulFlags(t *testing.T) {
	var c ConsulConfig
	app := kingpin.New("program", "")
	c.RegisterFlags(app)
	_, err := app.Parse([]string{"--consul=a:1", "--advertise-address=b", "--consul.tag=c", "--consul.tag=d"})
	require.NoError(t, err)
	require.Equal(t, ConsulConfig{Consul: "a:1", AdvertiseAddress: "b", ConsulTags: []string{"c", "d"}}, c)
}
