package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server/router"
)

// valve is between a router and a server. Once it is closed, connections stay as they are,
// others are accepted, and nothing comes through, as where the server has been stopped.
type valve struct {
	listener net.Listener
	closed   chan struct{}
	close    func()

	mu    sync.Mutex
	conns []net.Conn
	over  bool
}

func newValve(t testing.TB, target string) *valve {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	v := &valve{listener: l, closed: make(chan struct{})}
	v.close = sync.OnceFunc(func() { close(v.closed) })
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", target)
			if err != nil {
				_ = from.Close()
				continue
			}
			v.keep(from, to)
			passing.Go(func() { v.pass(to, from) })
			passing.Go(func() { v.pass(from, to) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		v.mu.Lock()
		v.over = true
		for _, c := range v.conns {
			_ = c.Close()
		}
		v.mu.Unlock()
		v.close()
		passing.Wait()
	})
	return v
}

func (v *valve) keep(conns ...net.Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.conns = append(v.conns, conns...)
	if v.over {
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// pass copies for as long as the valve is open, and closes nothing after that.
func (v *valve) pass(to, from net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-v.closed:
			return
		default:
		}
		if _, failed := to.Write(buf[:n]); err != nil || failed != nil {
			_, _ = to.Close(), from.Close()
			return
		}
	}
}

// A router ends in time, whatever a group does that accepts connections and never answers:
// with streams of each kind that wait for it, or that it has served before, and with calls
// under way.
func TestRouterEndsWhileAGroupHangs(t *testing.T) {
	two := newTwoGroups(t)
	two.fill(20)
	two.await(t)
	for name, before := range map[string]bool{"before the streams": true, "behind them": false} {
		t.Run(name, func(t *testing.T) {
			overAll(t, func(t *testing.T, p protocol) { endWhileAGroupHangs(t, two, p, before) })
		})
	}
}

func endWhileAGroupHangs(t *testing.T, two *twoGroups, p protocol, before bool) {
	valves := []*valve{newValve(t, two.servers[1][0].RPCAddr().String()), newValve(t, two.servers[1][1].RPCAddr().String())}
	hang := func() {
		for _, v := range valves {
			v.close()
		}
	}
	file := filepath.Join(t.TempDir(), "groups.yml")
	text := fmt.Sprintf("%s  b: {servers: %q}\n", two.file(0), valves[0].listener.Addr().String()+","+valves[1].listener.Addr().String())
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	if before {
		hang()
	}
	r := startRouter(t, two, func(c *router.Config) {
		c.GroupsFile, c.Timeout, c.DrainTimeout = file, 100*time.Millisecond, time.Second
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	recv := p.open(t, ctx, r.address(), &getRequest{Follow: true, Start: fromTheStart})
	query := p.openQuery(t, ctx, r.address(), &queryRequest{Expression: "sum by (p) (a_first)", Step: secs(1), Delay: secs(0), Follow: true, HeartbeatInterval: millis(100)})
	rules := p.openRules(t, ctx, r.address(), &rulesRequest{Rules: "groups: [{name: g, interval: 1s, rules: [{record: r, expr: sum(a_first)}]}]", Follow: true, HeartbeatInterval: millis(100)})
	client := clientOf(t, p, r.address())
	logs, err := client.ReadLogs(ctx, connect.NewRequest(&metricsv1.ReadLogsRequest{Follow: true, HeartbeatInterval: millis(100)}))
	require.NoError(t, err)
	if !before {
		until(t, recv, isSynced)
		hang()
	}
	var calls sync.WaitGroup
	ended := func(call func() error) {
		calls.Go(func() {
			for call() == nil { // until the router ends, which may refuse it before
			}
		})
	}
	ended(func() error { _, err := recv(); return err })
	ended(func() error { _, err := query(); return err })
	ended(func() error { _, err := rules(); return err })
	ended(func() error { logs.Receive(); return logs.Err() })
	ended(func() error {
		_, err := client.GetLabelNames(ctx, connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
		return err
	})
	ended(func() error {
		_, err := client.GetStatus(ctx, connect.NewRequest(&metricsv1.GetStatusRequest{}))
		return err
	})
	pages, stop := httpClient(false)
	defer stop()
	ended(func() error { return getPage(ctx, pages, "http://"+r.address()+"/api/v1/query?query=sum(a_first)") })
	time.Sleep(100 * time.Millisecond) // They are under way.
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.stop() }()
	select {
	case <-stopped:
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		t.Fatalf("the router does not end:\n%s", buf[:runtime.Stack(buf, true)])
	}
	calls.Wait()
	require.NoError(t, ctx.Err())
}

// getPage gets a page, and fails if that is not there.
func getPage(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w", response.Status, err)
	}
	return nil
}
