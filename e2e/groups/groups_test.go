// Package groups tests receivers that spread series over groups, with real forwarders and
// servers in this process, on ports of their own.
package groups

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/forwarder"
	"github.com/promgrpc/exporter/receiver"
	"github.com/promgrpc/exporter/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const anyPort = "127.0.0.1:0"

// part runs a part until it is stopped, or the test ends.
type part struct{ stop func() }

func run(t *testing.T, f func(context.Context) error) part {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	p := part{sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})}
	t.Cleanup(p.stop)
	return p
}

// group is a forwarder with a server.
type group struct {
	t         *testing.T
	name      string
	dir       string
	rpc       string
	link      string // of the server
	forwarder part
	address   string // of the forwarder
}

func startGroup(t *testing.T, name string) *group {
	t.Helper()
	c := server.DefaultConfig()
	c.LinkAddress, c.RPCAddress, c.WebAddress, c.StoragePath, c.Sync = anyPort, anyPort, anyPort, t.TempDir(), "never"
	s, err := server.New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	require.NoError(t, err)
	run(t, s.Run)
	g := &group{t: t, name: name, dir: t.TempDir(), rpc: s.RPCAddr().String(), link: s.LinkAddr().String(), address: anyPort}
	g.start()
	return g
}

// start starts the forwarder, with the log that it had.
func (g *group) start() {
	g.t.Helper()
	c := forwarder.DefaultConfig()
	c.LinkAddress, c.WebAddress, c.StoragePath, c.Sync, c.Server = g.address, anyPort, g.dir, "never", g.link
	f, err := forwarder.New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	require.NoError(g.t, err)
	g.address = f.LinkAddr().String()
	g.forwarder = run(g.t, f.Run)
}

// samples are all that the group has: series and timestamp, sorted.
func (g *group) samples() (all []string) {
	g.t.Helper()
	client, err := promgrpc.New([]string{g.rpc}, promgrpc.Options{})
	require.NoError(g.t, err)
	defer client.Close()
	for update, err := range client.Get(g.t.Context(), promgrpc.Selection{Since: new(time.UnixMilli(1))}) {
		require.NoError(g.t, err)
		for _, ts := range update.GetTimeseries() {
			name := ""
			for _, l := range ts.GetLabels() {
				if l.GetName() == "instance" {
					name = l.GetValue()
				}
			}
			for _, s := range ts.GetSamples() {
				all = append(all, fmt.Sprint(name, " ", s.GetTimestamp()))
			}
		}
	}
	slices.Sort(all)
	return all
}

// file is a groups file.
type file struct {
	t       *testing.T
	path    string
	version int
	groups  []*group
	epochs  []string
}

func newFile(t *testing.T, groups ...*group) *file {
	t.Helper()
	f := &file{t: t, path: filepath.Join(t.TempDir(), "groups.yml")}
	f.add(time.Time{}, groups...)
	f.write(f.path)
	return f
}

// add adds groups from then on, or from ever on.
func (f *file) add(from time.Time, groups ...*group) {
	f.version++
	f.groups = append(f.groups, groups...)
	var names []string
	for _, g := range f.groups {
		names = append(names, g.name)
	}
	epoch := fmt.Sprintf("groups: [%s]}", strings.Join(names, ", "))
	if !from.IsZero() {
		epoch = fmt.Sprintf("from: %s, %s", from.UTC().Format(time.RFC3339), epoch)
	}
	f.epochs = append(f.epochs, "- {"+epoch)
}

func (f *file) write(path string) {
	f.t.Helper()
	text := fmt.Sprintf("version: %d\nspread: {labels: [instance]}\ngroups:\n", f.version)
	for _, g := range f.groups {
		text += fmt.Sprintf("  %s: {forwarders: %q}\n", g.name, g.address)
	}
	text += "epochs:\n" + strings.Join(f.epochs, "\n") + "\n"
	require.NoError(f.t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(f.t, os.Rename(path+".new", path))
}

// startReceiver runs a receiver by a groups file, and returns where it takes writes.
func startReceiver(t *testing.T, path string) (url string, r *receiver.Receiver) {
	t.Helper()
	c := receiver.DefaultConfig()
	c.WebAddress, c.GroupsFile = anyPort, path
	r, err := receiver.New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	require.NoError(t, err)
	run(t, r.Run)
	ready(t, r)
	return "http://" + r.WebAddr().String() + "/api/v1/write", r
}

func ready(t *testing.T, r *receiver.Receiver) {
	t.Helper()
	require.Eventually(t, func() bool { return r.Ready() == nil }, time.Minute, time.Millisecond)
}

const series = 60

// body is of all series at a time.
func body(t *testing.T, at time.Time) (compressed []byte, samples []string) {
	t.Helper()
	var request prompb.WriteRequest
	for i := range series {
		instance := fmt.Sprintf("host-%02d", i)
		request.Timeseries = append(request.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "instance", Value: instance}},
			Samples: []prompb.Sample{{Value: float64(at.UnixMilli()), Timestamp: at.UnixMilli()}},
		})
		samples = append(samples, fmt.Sprint(instance, " ", at.UnixMilli()))
	}
	raw, err := request.Marshal()
	require.NoError(t, err)
	return snappy.Encode(nil, raw), samples
}

// post returns the status of an answer, 0 if there is none.
func post(url string, body []byte) int {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	request.Header.Set("Content-Encoding", "snappy")
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// send sends a body until it is stored, as senders do.
func send(t *testing.T, url string, body []byte) {
	t.Helper()
	require.Eventually(t, func() bool { return post(url, body) == http.StatusNoContent }, 2*time.Minute, 10*time.Millisecond)
}

// await waits until the groups have these samples, each once, and nothing else: what is sent
// last is after all else in each log.
func await(t *testing.T, url string, want []string, groups ...*group) {
	t.Helper()
	last, samples := body(t, time.Now().Add(5*time.Minute))
	send(t, url, last)
	want = append(want, samples...)
	slices.Sort(want)
	var got []string
	require.Eventually(t, func() bool {
		got = nil
		for _, g := range groups {
			got = append(got, g.samples()...)
		}
		slices.Sort(got)
		return !slices.ContainsFunc(samples, func(s string) bool { return !slices.Contains(got, s) })
	}, time.Minute, 50*time.Millisecond)
	require.Equal(t, want, got)
}

// What is sent again, because an answer was lost, to whichever receiver, and though the
// forwarders were restarted meanwhile, is stored once.
func TestRepeats(t *testing.T) {
	a, b, c := startGroup(t, "a"), startGroup(t, "b"), startGroup(t, "c")
	f := newFile(t, a, b, c)
	one, first := startReceiver(t, f.path)
	two, second := startReceiver(t, f.path)
	var want []string
	began := time.Now().Add(-time.Minute)
	var bodies [][]byte
	for i := range 5 {
		compressed, samples := body(t, began.Add(time.Duration(i)*time.Second))
		bodies, want = append(bodies, compressed), append(want, samples...)
		send(t, one, compressed)
		send(t, two, compressed)
	}
	b.forwarder.stop()
	b.start()
	ready(t, first)
	ready(t, second)
	for _, compressed := range bodies {
		send(t, two, compressed)
		send(t, one, compressed)
	}
	await(t, one, want, a, b, c)
	for _, g := range []*group{a, b, c} {
		require.NotEmpty(t, g.samples(), g.name)
	}
}

// A group that is away has its senders come again, and nothing is stored twice once it is
// back.
func TestGroupIsAway(t *testing.T) {
	a, b := startGroup(t, "a"), startGroup(t, "b")
	f := newFile(t, a, b)
	url, r := startReceiver(t, f.path)
	compressed, want := body(t, time.Now())
	b.forwarder.stop()
	require.Eventually(t, func() bool { return r.Ready() != nil }, time.Minute, time.Millisecond)
	for range 3 {
		require.Equal(t, http.StatusServiceUnavailable, post(url, compressed))
	}
	b.start()
	send(t, url, compressed)
	await(t, url, want, a, b)
}

// A group is added while senders write by two receivers, of which one gets the file later:
// its links are refused until then, and its senders come again. Series move at the instant,
// and no sample is lost or doubled.
func TestGroupIsAdded(t *testing.T) {
	a, b, c := startGroup(t, "a"), startGroup(t, "b"), startGroup(t, "c")
	f := newFile(t, a, b)
	late := filepath.Join(t.TempDir(), "groups.yml")
	f.write(late)
	one, first := startReceiver(t, f.path)
	two, second := startReceiver(t, late)

	// Timestamps are ahead of the time, so that nobody has to wait for the instant.
	instant := time.Now().Add(2 * time.Minute).Truncate(time.Second)
	var mu sync.Mutex
	var want []string
	var senders sync.WaitGroup
	write := func(url string, offset time.Duration, rounds int, from time.Time) {
		senders.Go(func() {
			for i := range rounds {
				compressed, samples := body(t, from.Add(time.Duration(i)*time.Second+offset))
				for post(url, compressed) != http.StatusNoContent {
					time.Sleep(10 * time.Millisecond)
				}
				mu.Lock()
				want = append(want, samples...)
				mu.Unlock()
			}
		})
	}
	write(one, 0, 30, instant.Add(-40*time.Second))
	write(two, 500*time.Millisecond, 30, instant.Add(-40*time.Second))
	f.add(instant, c)
	f.write(f.path)
	require.Eventually(t, func() bool { return second.Ready() != nil }, time.Minute, time.Millisecond, "its file is older than the logs' placement")
	f.write(late)
	senders.Wait()
	ready(t, first)
	ready(t, second)
	write(one, 0, 20, instant.Add(-10*time.Second))
	write(two, 500*time.Millisecond, 20, instant.Add(-10*time.Second))
	senders.Wait()
	await(t, two, want, a, b, c)

	moved := map[string]bool{}
	for _, s := range c.samples() {
		name, at, _ := strings.Cut(s, " ")
		moved[name] = true
		require.GreaterOrEqual(t, at, fmt.Sprint(instant.UnixMilli()))
	}
	require.NotEmpty(t, moved)
	require.Less(t, len(moved), series/2)
	for _, s := range append(a.samples(), b.samples()...) {
		name, at, _ := strings.Cut(s, " ")
		require.False(t, moved[name] && at >= fmt.Sprint(instant.UnixMilli()), "%s is in its old group", s)
	}
}
