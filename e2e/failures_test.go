//go:build debian || compose

package e2e

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/e2e/harness"
)

// consulAway is how long Consul is away: shorter than in `make test-failures`
// by default, so that a run of all tests is not too long.
var consulAway = flag.Duration("consul-away", 10*time.Second, "how long Consul is away in TestFailures")

const (
	failureJob      = "failures"
	failureSelector = `{job="failures"}`
	// libraryFollowers are shared among the protocols; programs come on top.
	libraryFollowers = 18
	// recoverWithin fails the test. The aim after a kill is 2s, but a machine
	// may be busy: what counts is in the table.
	recoverWithin = 30 * time.Second
	// settle is how long a failure is still watched after it.
	settle = 2 * time.Second
)

// failure is what happens to the deployment while followers follow and callers
// call.
type failure struct {
	name string
	// run makes it, and returns when all is as before.
	run func(t *testing.T, r *rig)
	// broken says that calls may fail.
	broken bool
}

var failures = []failure{
	{name: "none", run: func(*testing.T, *rig) { time.Sleep(settle) }},
	{name: "server killed", broken: true, run: func(t *testing.T, r *rig) {
		r.target.Kill(harness.ServerPart(1))
		r.await(t)
		time.Sleep(time.Second)
		r.target.Start(harness.ServerPart(1))
	}},
	{name: "server stopped by SIGSTOP", broken: true, run: func(t *testing.T, r *rig) {
		r.target.Pause(harness.ServerPart(2))
		time.Sleep(2 * callTimeout)
		r.await(t)
		r.target.Continue(harness.ServerPart(2))
	}},
	{name: "server drained by SIGTERM", run: func(t *testing.T, r *rig) {
		r.target.Terminate(harness.ServerPart(1))
		r.await(t)
		time.Sleep(time.Second)
		r.target.Start(harness.ServerPart(1))
	}},
	{name: "rolling restart of every part", run: func(t *testing.T, r *rig) {
		for _, part := range []string{harness.Receiver, harness.ForwarderPart(1), harness.ForwarderPart(2), harness.ServerPart(1), harness.ServerPart(2), harness.ConsulPart} {
			r.target.Terminate(part)
			r.target.Start(part)
			r.target.HAProxy().Await(t, r.servers)
			r.await(t)
		}
		// HAProxy's way to restart without refusing anybody is to be reloaded, see below.
	}},
	followersSpread,
	{name: "third server added", run: func(t *testing.T, r *rig) { r.addServer(t) }},
	{name: "both forwarders killed and back", run: func(_ *testing.T, r *rig) {
		r.target.Kill(harness.ForwarderPart(1))
		r.target.Kill(harness.ForwarderPart(2))
		time.Sleep(500 * time.Millisecond)
		r.target.Start(harness.ForwarderPart(1))
		r.target.Start(harness.ForwarderPart(2))
	}},
	// A sender writes to one of them, so one of the two is felt.
	{name: "a forwarder's machine lost with its disk", run: func(t *testing.T, r *rig) { r.lose(t, harness.ForwarderPart(1)) }},
	{name: "then the other's", run: func(t *testing.T, r *rig) { r.lose(t, harness.ForwarderPart(2)) }},
	{name: "a server's machine lost with its disk", broken: true, run: func(t *testing.T, r *rig) { r.lose(t, harness.ServerPart(1)) }},
	{name: "Consul away", run: func(t *testing.T, r *rig) {
		r.target.Kill(harness.ConsulPart)
		time.Sleep(*consulAway)
		r.target.Start(harness.ConsulPart)
		// A Consul that has kept its data has all of them at first, then only
		// those that it has checked again, then all of them.
		since := time.Now()
		harness.Eventually(t, "all servers in Consul again, for good", func() bool {
			if len(r.target.Consul().SRV(serverService)) != r.servers {
				since = time.Now()
			}
			return time.Since(since) > 3*time.Second
		})
	}},
	// HAProxy 2.6 refuses what comes before Consul's DNS has answered the new
	// worker; 3.x has it wait.
	{name: "HAProxy reloaded", broken: true, run: func(_ *testing.T, r *rig) { r.target.Reload() }},
}

// TestFailures makes failures one after the other, with followers of all
// protocols and a steady load of short calls, all through HAProxy. Each sample
// comes to each follower once. It prints a table of what was seen.
func TestFailures(t *testing.T) {
	consul, token := harness.StartGuardedConsul(t, "allow")
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", token.File)
	target := harness.NewLocal(t, harness.Options{
		Consul:    consul,
		Forwarder: []string{"--storage.segment.duration=10s"},
		Server:    []string{"--stream.max-age=" + maxAge.String()},
	})
	testFailures(t, target, append(slices.Clone(failures), failure{name: "Consul token rotated", run: func(t *testing.T, r *rig) {
		token.Rotate()
		time.Sleep(8 * time.Second) // Longer than Consul takes a part for well that does not report.
		harness.Eventually(t, "all parts well in Consul", func() bool {
			return len(consul.SRV(serverService)) == r.servers && consul.Heard(serverService) && consul.Heard(forwarderService)
		})
	}})).compareFiles(t)
}

// TestFailuresSecured is TestFailures of a deployment in which all is encrypted, and
// nobody does anything without a certificate, a token or a password.
func TestFailuresSecured(t *testing.T) {
	target := harness.NewLocal(t, harness.Options{
		Secured:   harness.NewSecured(t),
		Forwarder: []string{"--storage.segment.duration=10s"},
		Server:    []string{"--stream.max-age=" + maxAge.String()},
	})
	testFailures(t, target, failures).compareFiles(t)
}

// groupFailures are those of two groups with routers before them.
var groupFailures = []failure{
	{name: "none", run: func(*testing.T, *rig) { time.Sleep(settle) }},
	{name: "router killed", broken: true, run: func(t *testing.T, r *rig) {
		r.target.Kill(harness.RouterPart(1))
		r.await(t)
		time.Sleep(time.Second)
		r.target.Start(harness.RouterPart(1))
	}},
	{name: "router drained by SIGTERM", run: func(t *testing.T, r *rig) {
		r.target.Terminate(harness.RouterPart(2))
		r.await(t)
		time.Sleep(time.Second)
		r.target.Start(harness.RouterPart(2))
	}},
	{name: "a group's server killed", broken: true, run: func(t *testing.T, r *rig) {
		r.target.Kill(harness.ServerPart(1))
		r.await(t)
		time.Sleep(time.Second)
		r.target.Start(harness.ServerPart(1))
	}},
	{name: "a group's server drained by SIGTERM", run: func(t *testing.T, r *rig) {
		r.target.Terminate(harness.ServerPart(2))
		r.await(t)
		time.Sleep(time.Second)
		r.target.Start(harness.ServerPart(2))
	}},
	// The sender waits, too: no server confirms what the group's forwarder has.
	{name: "a group away for 5s", broken: true, run: func(_ *testing.T, r *rig) {
		r.target.Kill(harness.ServerPart(3))
		r.target.Kill(harness.ServerPart(4))
		time.Sleep(5 * time.Second)
		r.target.Start(harness.ServerPart(3))
		r.target.Start(harness.ServerPart(4))
	}},
	{name: "a group's forwarder killed and back", run: func(_ *testing.T, r *rig) {
		r.target.Kill(harness.ForwarderPart(2))
		time.Sleep(500 * time.Millisecond)
		r.target.Start(harness.ForwarderPart(2))
	}},
}

// TestFailuresGroups is TestFailures of two groups, with routers behind HAProxy.
func TestFailuresGroups(t *testing.T) {
	target := harness.NewLocal(t, harness.Options{
		Groups: []string{"a", "b"}, Forwarders: 1,
		Forwarder: []string{"--storage.segment.duration=10s"},
		Server:    []string{"--stream.max-age=" + maxAge.String()},
		Router:    []string{"--stream.max-age=" + maxAge.String(), "--drain.delay=2s"},
	})
	testFailures(t, target, groupFailures)
	t.Logf("%d segments are the same on the forwarders and servers of each group", target.CompareFiles())
}

// testFailures makes failures, one after the other. In the end it wants the same samples
// at all followers and all servers.
func testFailures(t *testing.T, target harness.Target, list []failure) *rig {
	t.Helper()
	r := newRig(t, target)
	var table strings.Builder
	table.WriteString("| failure | longest pause of a sender | of a follower | of a caller | calls | failed | samples | missing | twice |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range list {
		table.WriteString(r.try(t, f))
	}
	fmt.Printf("%d followers, which ask for a heartbeat each %s. %d callers, each of which calls each %s, with a deadline of %s.\n\n%s\n",
		len(r.library)+len(r.programs), heartbeat, len(r.callers), callEvery, callTimeout, table.String())
	r.sender.Stop()
	r.compare(t)
	return r
}

// rig is a target with what goes on at it.
type rig struct {
	target   harness.Target
	servers  int
	sender   *harness.Sender
	library  []*follower
	programs []*harness.Follower
	callers  []*caller

	samples, missing, twice int // at the end of the failure before
}

func newRig(t *testing.T, target harness.Target) *rig {
	t.Helper()
	r := &rig{target: target, servers: len(target.HAProxy().Up())}
	r.sender = harness.NewSender(t, target.WriteURL(), failureJob, 5)
	r.sender.Start(50 * time.Millisecond)
	address, secured := target.HAProxy().RPC, target.HAProxy().Secured
	for i := range libraryFollowers {
		protocol := promgrpc.Protocol(protocols[i%len(protocols)])
		r.library = append(r.library, startFollower(t, address, secured, protocol, failureSelector))
	}
	for _, protocol := range []string{"grpc", "connect"} {
		r.programs = append(r.programs, harness.Follow(t, address, protocol, failureSelector, "--since=1h", "--heartbeat="+heartbeat.String()))
	}
	r.await(t)
	r.callers = startCallers(t, address, secured, `sent_total{job="failures",series="0"}`)
	time.Sleep(time.Second)
	return r
}

// each calls do with what each follower got so far, which do must not keep.
func (r *rig) each(do func(name string, got harness.Points)) {
	for _, f := range r.library {
		f.look(func(got harness.Points) { do(f.name, got) })
	}
	for _, f := range r.programs {
		do(f.Name, f.Points())
	}
}

// await waits until all followers have what was acknowledged by now, or it is
// clear that something is lost. It counts that, and what came twice.
func (r *rig) await(t *testing.T) (missing, twice int) {
	t.Helper()
	want := r.sender.Acknowledged()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		missing, twice = 0, 0
		r.each(func(_ string, got harness.Points) {
			missing += got.Missing(want)
			for _, n := range got {
				twice += n - 1
			}
		})
		if missing == 0 || time.Now().After(deadline) {
			return missing, twice
		}
	}
}

// try makes a failure and returns its row of the table.
func (r *rig) try(t *testing.T, f failure) (row string) {
	t.Run(f.name, func(t *testing.T) {
		r.take()
		f.run(t, r)
		time.Sleep(settle)
		r.target.HAProxy().Await(t, r.servers)
		missing, twice := r.await(t)
		sending, following, calling, calls, failed := r.take()
		samples := len(r.sender.Acknowledged())
		row = fmt.Sprintf("| %s | %s | %s | %s | %d | %d | %d | %d | %d |\n", f.name,
			sending.Round(time.Millisecond), following.Round(time.Millisecond), calling.Round(time.Millisecond),
			calls, len(failed), samples-r.samples, missing-r.missing, twice-r.twice)
		if missing != r.missing || twice != r.twice {
			t.Errorf("samples missing: %d, twice: %d", missing-r.missing, twice-r.twice)
		}
		r.samples, r.missing, r.twice = samples, missing, twice
		if longest := max(sending, following, calling); longest > recoverWithin {
			t.Errorf("a pause of %s", longest)
		}
		for _, text := range failed {
			t.Log(text)
		}
		if len(failed) > 0 && !f.broken {
			t.Errorf("%d calls failed", len(failed))
		}
	})
	return row
}

// take returns what the sender, followers and callers saw since it was called last.
func (r *rig) take() (sending, following, calling time.Duration, calls int, failed []string) {
	sending = r.sender.Pause()
	for _, f := range r.library {
		following = max(following, f.take())
	}
	for _, c := range r.callers {
		calling = max(calling, c.take())
		total, lines := c.takeCalls()
		calls += total
		failed = append(failed, lines...)
	}
	return sending, following, calling, calls, failed
}

// lose has a part's machine gone with its disk, and another with an empty one in its
// place once all is well without.
func (r *rig) lose(t *testing.T, part string) {
	r.target.Lose(part)
	before := len(r.sender.Acknowledged())
	harness.Eventually(t, "the sender to go on", func() bool { return len(r.sender.Acknowledged()) > before+100 })
	r.await(t)
	r.target.Start(part)
}

// addServer starts a third server on an empty folder.
func (r *rig) addServer(t *testing.T) {
	start := time.Now()
	r.servers++
	r.target.Start(harness.ServerPart(r.servers))
	ready := time.Since(start)
	r.target.HAProxy().Await(t, r.servers)
	found := time.Since(start)
	t.Logf("the server was ready, and so with all that is retained, after %s, and HAProxy had it after %s",
		ready.Round(time.Millisecond), found.Round(time.Millisecond))
	if found > recoverWithin {
		t.Errorf("the server was found after %s, 5s are the aim", found)
	}
}

// compare wants the same samples at all followers and all servers, once the sender sends
// no more.
func (r *rig) compare(t *testing.T) {
	t.Helper()
	r.await(t)
	want := r.sender.Acknowledged()
	r.each(func(name string, got harness.Points) { harness.Equal(t, name, want, got) })
	servers := r.target.Consul().Instances(routerService)
	if len(servers) == 0 {
		servers = r.target.Consul().Instances(serverService)
	}
	if len(servers) != r.servers {
		t.Errorf("%d servers in Consul, want %d: %v", len(servers), r.servers, servers)
	}
	for address := range servers {
		for _, protocol := range protocols {
			what := address + " over " + protocol
			// One that lost its disk gets logs of forwarders that are gone from another.
			harness.Eventually(t, "all samples at "+what, func() bool {
				return harness.Get(t, address, protocol, failureSelector, "--since=1h").Points.Missing(want) == 0
			})
			harness.Equal(t, what, want, harness.Get(t, address, protocol, failureSelector, "--since=1h").Points)
			harness.Equal(t, what+": snapshot", want.Latest(), harness.Get(t, address, protocol, failureSelector).Points)
		}
	}
}

// compareFiles wants the same files on all servers.
func (r *rig) compareFiles(t *testing.T) {
	t.Helper()
	var folders []string
	for n := range r.servers {
		folders = append(folders, r.target.Folder(harness.ServerPart(n+1)))
	}
	// Of the logs of forwarders that were lost, servers alone have the files.
	sources := []string{r.target.Folder(harness.ForwarderPart(1)), r.target.Folder(harness.ForwarderPart(2)), folders[0]}
	t.Logf("%d segments are the same on the forwarders and %d servers", harness.CompareFolders(t, sources, folders), r.servers)
}
