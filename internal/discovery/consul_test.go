package discovery

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"
)

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// watch follows a source for the time of a test.
func watch(t testing.TB, spec string, o Options) <-chan []Instance {
	t.Helper()
	s, err := Parse(spec, o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ch := s.Watch(ctx)
	t.Cleanup(func() {
		cancel()
		for range ch { // Closed, or the test does not end.
		}
	})
	return ch
}

func next(t testing.TB, ch <-chan []Instance) []Instance {
	t.Helper()
	select {
	case set := <-ch:
		return set
	case <-time.After(patience):
		require.FailNow(t, "no set came")
		return nil
	}
}

func quiet(t testing.TB, ch <-chan []Instance) {
	t.Helper()
	select {
	case set := <-ch:
		require.FailNow(t, "a set came", "%v", set)
	case <-time.After(300 * time.Millisecond):
	}
}

func TestConsulFollowsChanges(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "secret")
	a := startAgent(t, "127.0.0.1:0")
	ch := watch(t, "consul://"+a.address+"/s", Options{})
	require.Empty(t, next(t, ch))

	other := entry("x", "192.0.2.3:3", "")
	other.Service.Service = "another"
	nodes := entry("n", ":4", "")
	a.set(entry("b", "192.0.2.2:2", ""), entry("a", "host.example:1", ""), entry("c", "192.0.2.4:1", api.HealthCritical),
		entry("d", "192.0.2.5:0", ""), nodes, other)
	require.Equal(t, []Instance{{"a", "host.example:1"}, {"b", "192.0.2.2:2"}, {"n", "192.0.2.1:4"}}, next(t, ch))

	a.set(entry("b", "192.0.2.2:2", ""))
	require.Equal(t, []Instance{{"b", "192.0.2.2:2"}}, next(t, ch))
	require.Equal(t, "secret", a.token)

	// It waits for changes rather than ask again and again.
	a.mu.Lock()
	asked := a.requests["health"]
	a.mu.Unlock()
	quiet(t, ch)
	a.mu.Lock()
	require.LessOrEqual(t, a.requests["health"], asked+1)
	a.mu.Unlock()

	a.set() // None at all: it may have lost them.
	quiet(t, ch)
}

func TestConsulOptions(t *testing.T) {
	a := startAgent(t, "127.0.0.1:0")
	first, second, without := entry("first", "192.0.2.1:1", api.HealthCritical), entry("second", "192.0.2.1:2", ""), entry("without", "192.0.2.1:3", "")
	first.Service.Meta = map[string]string{MetaLinkPort: "11"}
	second.Service.Meta = map[string]string{MetaLinkPort: "12"}
	// Two at one address: whoever came last is there.
	before := entry("before", "192.0.2.1:4", api.HealthCritical)
	before.Service.Meta, before.Service.CreateIndex, second.Service.CreateIndex = second.Service.Meta, 1, 2
	a.set(first, second, without, before)
	var log syncBuffer
	ch := watch(t, "consul://"+a.address+"/s", Options{
		Logger: slog.New(slog.NewTextHandler(&log, nil)), PortMeta: MetaLinkPort, Unready: true,
	})
	require.Equal(t, []Instance{{"first", "192.0.2.1:11"}, {"second", "192.0.2.1:12"}}, next(t, ch))
	require.Contains(t, log.String(), `msg="instance cannot be used"`)
	require.Contains(t, log.String(), `id=without err="its meta has no link_port"`)
}

// By a tag, those that have it alone are found, as they come and go.
func TestConsulTag(t *testing.T) {
	a := startAgent(t, "127.0.0.1:0")
	mine, other, none := entry("mine", "192.0.2.1:1", ""), entry("other", "192.0.2.1:2", ""), entry("none", "192.0.2.1:3", "")
	mine.Service.Tags, other.Service.Tags = []string{"grpc", "a"}, []string{"b"}
	a.set(mine, other, none)
	var log syncBuffer
	ch := watch(t, "consul://"+a.address+"/s?tag=a", Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.Equal(t, []Instance{{"mine", "192.0.2.1:1"}}, next(t, ch))
	require.Contains(t, log.String(), "service=s tag=a")
	another := entry("another", "192.0.2.1:4", "")
	another.Service.Tags = []string{"a"}
	a.set(mine, other, none, another)
	require.Equal(t, []Instance{{"another", "192.0.2.1:4"}, {"mine", "192.0.2.1:1"}}, next(t, ch))
}

// The same ID on two nodes is two instances.
func TestConsulSameIDTwice(t *testing.T) {
	a, b := entry("a", "192.0.2.1:1", ""), entry("a", "192.0.2.2:1", "")
	b.Node.Node = "other"
	s, err := Parse("consul://127.0.0.1/s", Options{})
	require.NoError(t, err)
	require.Equal(t, []Instance{{"a", "192.0.2.1:1"}, {"a@other", "192.0.2.2:1"}}, s.(*consul).instances([]*api.ServiceEntry{a, b}))
}

func TestConsulAway(t *testing.T) {
	var log syncBuffer
	a := startAgent(t, "127.0.0.1:0")
	a.set(entry("a", "192.0.2.1:1", ""), entry("b", "192.0.2.2:1", ""))
	a.change(func() { a.index = 100 })
	ch := watch(t, "consul://"+a.address+"/s", Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	both := []Instance{{"a", "192.0.2.1:1"}, {"b", "192.0.2.2:1"}}
	require.Equal(t, both, next(t, ch))

	a.stop()
	quiet(t, ch)
	require.Contains(t, log.String(), `msg="discovery fails, known instances stay" consul=`+a.address+" service=s err=")

	// It returns with nothing, and learns of a third before the others.
	again := startAgent(t, a.address)
	quiet(t, ch)
	again.set(entry("c", "192.0.2.3:1", ""))
	require.Equal(t, append(both, Instance{"c", "192.0.2.3:1"}), next(t, ch))
	require.Contains(t, log.String(), `msg="discovery works again"`)
}

// An agent that loses its state without a word is seen by its index.
func TestConsulForgets(t *testing.T) {
	a := startAgent(t, "127.0.0.1:0")
	a.set(entry("a", "192.0.2.1:1", ""), entry("b", "192.0.2.2:1", ""))
	a.change(func() { a.index = 100 })
	ch := watch(t, "consul://"+a.address+"/s", Options{})
	require.Len(t, next(t, ch), 2)
	a.change(func() { delete(a.entries, "a"); a.index = 1 })
	quiet(t, ch)
}

func TestParseConsulAndDNS(t *testing.T) {
	for spec, want := range map[string]string{
		"consul://a b/s":           "neither a host name nor an IP address",
		"consul://a":               "is not the name of a service",
		"consul://a/":              "is not the name of a service",
		"consul://a/s/t":           "is not the name of a service",
		"consul://a/?tag=t":        "is not the name of a service",
		"consul://a/s?":            `is "", want tag=TAG`,
		"consul://a/s?tags=t":      `is "tags=t", want tag=TAG`,
		"consul://a/s?tag=":        "is not a tag",
		"consul://a/s?tag=A.b":     "is not a tag",
		"consul://a/s?tag=a&tag=b": "want tag=TAG",
		"consul://a:port/s":        "not a number from 1 to 65535",
		"dns+srv://":               "is not a domain name",
		"dns+srv://a/b":            "is not a domain name",
		"dns+srv://a:53":           "is not a domain name",
		"consul+srv://a":           "want host:port[,host:port…], consul://[AGENT[:8500]]/SERVICE[?tag=TAG] or dns+srv://NAME",
		"consul://a:99999/s":       "not a number from 1 to 65535",
		"consul://[::1]:x/abc":     "not a number from 1 to 65535",
	} {
		_, err := Parse(spec, Options{})
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, `peers "`+spec+`": `)
	}
	for spec, address := range map[string]string{
		"consul://a/s": "a:8500", "consul://a:1/s": "a:1", "consul://[::1]/s": "[::1]:8500", "consul://[::1]:1/s": "[::1]:1",
		"consul://b/s?tag=eu-1": "b:8500",
	} {
		s, err := Parse(spec, Options{})
		require.NoError(t, err)
		require.Equal(t, address, s.(*consul).agent.at.host)
	}
	t.Setenv("CONSUL_CACERT", "/nowhere")
	_, err := Parse("consul://a/s", Options{})
	require.ErrorContains(t, err, "consul: ")
}
