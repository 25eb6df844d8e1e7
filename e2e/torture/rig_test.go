package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
	"github.com/promgrpc/exporter/internal/buckettest"
)

// options of a run.
type options struct {
	duration   time.Duration
	forwarders int    // of a group; there are as many receivers, or more where there are groups
	servers    int    // of a group
	sync       string // policy of the forwarders: a killed process loses nothing under any
	disk       string // what each store has for a filesystem of its own; "": none
	cuts       bool   // the ends of logs get lost, so that there are several
	secured    bool   // links have certificates and roles
	acks       int    // servers that confirm what is answered
	peers      bool   // servers get from each other what they lack
	bucket     bool
	pair       bool     // two senders send the same
	groups     bool     // there are two, and routers before them
	then       []string // groups that have the series after an instant; none: those go on
}

// moves says whether series move to other groups.
func (o options) moves() bool { return len(o.then) > 0 }

// logs that the servers merge: where there are several, the samples of a series
// come in order by log, and a request may be stored in more than one.
func (r *rig) severalLogs() bool { return r.o.forwarders > 1 || r.o.cuts || r.renewed }

// selectors of clients that compare what they get with what all but the pair sent.
func (r *rig) selectors() []string {
	if !r.o.pair {
		return nil
	}
	return []string{withoutPair}
}

// rig is the pipeline with a proxy in every connection.
type rig struct {
	t       testing.TB
	o       options
	dir     string
	units   []*unit // all of the following
	proxies []*proxy
	write   []*proxy // senders to each receiver
	rpc     []*proxy // clients to each of what they call
	client  *harness.Process
	counts  map[kind]int
	said    []string // what happened when
	began   time.Time

	// forwarders and servers of all groups.
	receivers, forwarders, servers, routers []*unit
	groups                                  []*group
	files                                   []*groupsFile
	instant                                 int64  // at which series moved, in ms; 0: none did
	links                                   *links // Nil: in the clear.
	// renewed says that a forwarder lost its log, which the servers still have.
	renewed bool
	// cuts is how often forwarders lost the end of a log, and gone what no process
	// had after that.
	cuts    int
	bucket  *archive // Nil: none.
	losses  int      // of stores
	gone    entries
	senders *senders
	pair    *pair     // Nil: none.
	ends    []pending // of the faults that are under way
}

// state of a unit.
type state int

const (
	up state = iota
	paused
	ending // got a SIGTERM
	down
)

// unit is a process that is to run.
type unit struct {
	*harness.Process
	store string // its folder; "": none
	disk  *disk
	clock *clock
	state state
	life  int
}

func newRig(t testing.TB, o options, evidence string) *rig {
	r := &rig{t: t, o: o, dir: t.TempDir(), counts: map[kind]int{}, gone: entries{}, began: time.Now()}
	if o.bucket {
		r.bucket = newArchive(t)
	}
	if o.secured {
		r.links = newLinks(t, o.forwarders*len(o.groupNames()))
	}
	disks := map[string]*disk{}
	n := len(o.groupNames())
	for _, name := range append(numbered("forwarder", n*o.forwarders), numbered("server", n*o.servers)...) {
		path := filepath.Join(r.dir, name)
		switch {
		case o.disk != "":
			disks[name] = mountDisk(t, path, o.disk)
		default:
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	// After the processes have ended, before the disks are gone.
	t.Cleanup(func() {
		switch {
		case t.Failed() && r.client != nil:
			r.keep(evidence, r.client)
		case t.Failed():
			r.keep(evidence)
		}
	})
	r.start(disks)
	return r
}

// numbered names n of a kind.
func numbered(kind string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint(kind, i+1))
	}
	return names
}

// start starts the processes, the last of the data's way first.
func (r *rig) start(disks map[string]*disk) {
	for _, name := range r.o.groupNames() {
		r.startGroup(name, disks)
	}
	receivers := r.o.forwarders
	if r.o.groups {
		receivers = 2
		r.startRouters()
	}
	for i, name := range numbered("receiver", receivers) {
		u := r.unit(name, "prometheus-remote-receiver", nil, append([]string{
			"web", r.writesTo(i, name), "--forwarder.timeout=3s", "--tenant.label=" + tenantLabel,
		}, r.links.receiver()...)...)
		r.receivers = append(r.receivers, u)
		r.write = append(r.write, r.proxy("sender-"+name, u.Listening("web")))
	}
	for _, u := range r.doors() {
		r.rpc = append(r.rpc, r.proxy("client-"+u.Name, u.Listening("rpc")))
	}
	r.units = slices.Concat(r.receivers, r.forwarders, r.servers, r.routers)
	r.ready()
}

// startGroup starts servers, and the forwarders that feed them.
func (r *rig) startGroup(name string, disks map[string]*disk) {
	// Clocks differ by more than a limit would bear.
	small := []string{"--limit.future=0s", "--storage.segment.size=48KB", "--storage.segment.duration=7s", "--storage.series-idle=3s", "--storage.retention.time=24h", "--storage.sync=" + r.o.sync}
	g := &group{name: name}
	peers := r.peerProxies()
	for i := range r.o.servers {
		name := fmt.Sprint("server", len(r.servers)+1)
		s := r.unit(name, "prometheus-api-server", disks, slices.Concat(
			[]string{"link", "web", "rpc", "--stream.max-age=5s", "--instance=" + name}, r.links.server(), r.bucket.flags(g.name), peersOf(peers, i))...)
		for _, row := range peers {
			row[i].setTarget(s.Listening("rpc"))
		}
		r.servers, g.servers = append(r.servers, s), append(g.servers, s)
	}
	for range r.o.forwarders {
		name := fmt.Sprint("forwarder", len(r.forwarders)+1)
		links := addresses(r.proxiesTo(name, "link", g.servers))
		f := r.unit(name, "metrics-forwarder", disks,
			slices.Concat([]string{"link", "web", "--server=" + strings.Join(links, ",")}, small, r.links.forwarder(name), r.answering())...)
		r.forwarders, g.forwarders = append(r.forwarders, f), append(g.forwarders, f)
	}
	r.groups = append(r.groups, g)
}

// startRouters starts two.
func (r *rig) startRouters() {
	for _, name := range numbered("router", 2) {
		r.routers = append(r.routers, r.unit(name, "prometheus-grpc-client router", nil, "web", "--listen="+harness.Address(r.t, harness.Host()), "--stream.max-age=5s",
			"--instance="+name, "--group.timeout=3s", "--groups.file="+r.groupsFile(name, keyServers, "rpc", serversOf)))
	}
}

// writesTo is a receiver's flag that says where to. Each prefers another forwarder, where
// there are no groups.
func (r *rig) writesTo(i int, name string) string {
	if r.o.groups {
		return "--groups.file=" + r.groupsFile(name, "forwarders", "link", forwardersOf)
	}
	links := addresses(r.proxiesTo(name, "link", r.forwarders))
	return "--forwarder=" + strings.Join(append(links[i:], links[:i]...), ",")
}

// doors are what clients call.
func (r *rig) doors() []*unit {
	if r.o.groups {
		return r.routers
	}
	return r.servers
}

// answering are a forwarder's flags that say when it answers. A receiver waits longer for
// servers.
func (r *rig) answering() []string {
	var flags []string
	if r.o.acks > 0 {
		flags = append(flags, fmt.Sprint("--ack.servers=", r.o.acks), "--ack.timeout=2s")
	}
	if r.o.pair {
		flags = append(flags, "--ha", "--ha.failover="+pairFailover.String())
	}
	return flags
}

// peerProxies puts a proxy between each server of a group that is about to start and each
// other, and itself.
func (r *rig) peerProxies() [][]*proxy {
	if !r.o.peers {
		return nil
	}
	rows := make([][]*proxy, r.o.servers)
	first := len(r.servers) + 1
	for i := range rows {
		for j := range r.o.servers {
			p := newProxy(r.t, fmt.Sprintf("server%d-server%d", first+i, first+j))
			r.proxies = append(r.proxies, p)
			rows[i] = append(rows[i], p)
		}
	}
	return rows
}

func peersOf(rows [][]*proxy, i int) []string {
	if rows == nil {
		return nil
	}
	return []string{"--peers=" + strings.Join(addresses(rows[i]), ",")}
}

// proxiesTo puts a proxy between one process and each of others.
func (r *rig) proxiesTo(from, listener string, others []*unit) (to []*proxy) {
	for _, u := range others {
		to = append(to, r.proxy(from+"-"+u.Name, u.Listening(listener)))
	}
	return to
}

// unit starts a process, by a command or by one of its own. An argument without dashes is a listener's name.
func (r *rig) unit(name, binary string, disks map[string]*disk, args ...string) *unit {
	u := &unit{disk: disks[name], clock: newClock(r.t, filepath.Join(r.dir, name+".clock"))}
	for i, arg := range args {
		if !strings.HasPrefix(arg, "--") {
			args[i] = "--" + arg + ".listen-address=" + harness.Host() + ":0"
		}
	}
	if disks != nil {
		u.store = filepath.Join(r.dir, name)
		args = append(args, "--storage.path="+filepath.Join(u.store, "log"))
	}
	command := strings.Fields(binary)
	u.Process = harness.StartEnv(r.t, name, append(u.clock.env(), r.bucket.env()...), filepath.Join(daemons, command[0]), append(command[1:], args...)...)
	return u
}

func (r *rig) proxy(name, target string) *proxy {
	p := newProxy(r.t, name)
	p.setTarget(target)
	r.proxies = append(r.proxies, p)
	return p
}

func (r *rig) ready() {
	for _, u := range r.units {
		u.Ready(u.Listening("web"))
	}
}

func addresses(proxies []*proxy) (list []string) {
	for _, p := range proxies {
		list = append(list, p.address())
	}
	return list
}

// say notes what happened.
func (r *rig) say(format string, args ...any) {
	line := fmt.Sprintf("%8.3fs ", time.Since(r.began).Seconds()) + fmt.Sprintf(format, args...)
	r.said = append(r.said, line)
}

// begun says that the process has come so far that it knows of signals.
func (u *unit) begun() bool {
	_, ok := u.Stderr().Find("msg=starting")
	return ok
}

// start again what was killed or ended.
func (u *unit) revive() {
	u.Restart()
	u.state = up
	u.life++
}

// watch starts again what gave up by itself, as a supervisor would. Only a disk
// that is full is a reason to.
func (r *rig) watch() {
	for _, u := range r.units {
		if u.state == down || u.state == ending || u.Running() {
			continue
		}
		code := u.Wait(time.Second)
		r.say("%s gave up with the code %d", u.Name, code)
		if !u.disk.wasFull() {
			r.t.Errorf("%s ended by itself with the code %d", u.Name, code)
		}
		r.counts["gave up, disk full"]++
		u.revive()
	}
}

// heal ends all that is wrong.
func (r *rig) heal() {
	for _, p := range r.proxies {
		p.heal()
	}
	if r.bucket != nil {
		r.bucket.proxy.Set(buckettest.Faults{})
	}
	for _, u := range r.units {
		u.disk.free()
		u.clock.set(0)
		switch u.state {
		case paused:
			u.Signal(syscall.SIGCONT)
			u.state = up
		case down:
			u.revive()
		}
	}
	r.watch()
}
