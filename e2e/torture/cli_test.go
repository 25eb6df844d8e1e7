package torture

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/e2e/harness"
)

// cli is the client's program with a cursor file. It is killed and started
// again, and then prints once more what it printed since it wrote the cursor.
type cli struct {
	*harness.Process
	t    testing.TB
	down bool
	from int // where its present life's output begins
	lives
}

func newCLI(t testing.TB, dir, protocol string, addresses, selectors []string, severalLogs bool) *cli {
	p := harness.Start(t, "client", harness.Binary(t, "prometheus-grpc-client"), append([]string{
		"get", "--follow", "--since=1h", "--output=proto", "--heartbeat=" + heartbeat.String(),
		"--cursor-file=" + filepath.Join(dir, "cursor"),
		"--address=" + strings.Join(addresses, ","), "--protocol=" + protocol,
	}, selectors...)...)
	return &cli{t: t, Process: p, lives: newLives(severalLogs)}
}

// end the process by a signal.
func (c *cli) end(r *rig, s syscall.Signal) (func(), bool) {
	if c.down || !c.Running() {
		return nil, false
	}
	r.say("%s to the client", s)
	_ = syscall.Kill(c.PID(), s)
	code := c.Wait(20 * time.Second)
	// One that has hardly begun knows of no signals yet.
	begun := len(c.Stdout().Bytes()) > c.from
	// On a machine that is busy beyond measure it may say that it had no time to
	// end well, which is as good as being killed.
	_, rushed := c.Stderr().Find("the output was not taken within")
	if s == syscall.SIGTERM && code != 0 && code != unreachable && (begun || code != -1) && !rushed {
		c.t.Errorf("client: SIGTERM was answered with the exit code %d", code)
	}
	c.down = true
	c.collect(s == syscall.SIGKILL || rushed)
	return func() {
		c.Restart()
		c.down = false
	}, true
}

// unreachable is the exit code of a client that finds no server as it starts.
const unreachable = 3

// watch starts the client again where it gave up.
func (c *cli) watch() {
	if c.down || c.Running() {
		return
	}
	if code := c.Wait(time.Second); code != unreachable {
		c.t.Errorf("client ended by itself with the code %d", code)
	}
	c.collect(false)
	c.Restart()
}

// collect what a life that has ended has printed. A killed one may have printed
// a part of a message at last.
func (c *cli) collect(killed bool) {
	data := c.Stdout().Bytes()[c.from:]
	c.from += len(data)
	life := history{}
	rest, err := life.parse(data)
	if err != nil {
		c.t.Errorf("client: output: %v", err)
	}
	if len(rest) > 0 && !killed {
		c.t.Errorf("client: output ends within a message, with %d bytes of it", len(rest))
	}
	for _, wrong := range c.add(life, killed) {
		c.t.Errorf("client: %s", wrong)
	}
}

// history with the life that is under way.
func (c *cli) history() history {
	all := c.kept.clone()
	life := history{}
	if _, err := life.parse(c.Stdout().Bytes()[c.from:]); err != nil {
		c.t.Errorf("client: output: %v", err)
	}
	for name, after := range life {
		all[name], _ = c.merge(all[name], after)
	}
	return all
}

// protocols that clients speak.
var protocols = []string{"grpc", "connect", "grpcweb"}

// clients that follow.
type clients struct {
	cli       *cli
	followers []*follower
	// subscriber, unless what it had may be lost everywhere.
	subscriber *subscriber
}

func newClients(r *rig, seed uint64) *clients {
	t, addresses := r.t, addresses(r.rpc)
	other := slices.Clone(addresses)
	slices.Reverse(other)
	at := filepath.Join(r.dir, "client")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &clients{cli: newCLI(t, at, protocols[seed%3], addresses, r.selectors(), r.severalLogs() || r.o.moves())}
	r.client = c.cli.Process
	c.followers = append(c.followers,
		newFollower(t, "follower-grpc", "grpc", addresses, r.selectors()),
		newFollower(t, "follower-connect", "connect", other, r.selectors()))
	if seed%2 == 0 {
		c.followers = append(c.followers, newFollower(t, "follower-grpcweb", "grpcweb", addresses, r.selectors()))
	}
	if r.o.groups {
		c.followers = append(c.followers, newMoving(t, "follower-moving", promgrpc.Protocol(protocols[seed/3%3]), addresses, r.selectors()))
	}
	if !r.o.cuts && r.o.acks == 0 {
		c.subscriber = newSubscriber(t, protocols[seed/2%3], addresses)
	}
	return c
}

// readings are the clients that can be stopped and started.
func (c *clients) readings() (all []*reading) {
	for _, f := range c.followers {
		all = append(all, &f.reading)
	}
	if c.subscriber != nil {
		all = append(all, &c.subscriber.reading)
	}
	return all
}

func (c *clients) watch() { c.cli.watch() }
