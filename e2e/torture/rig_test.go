package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// options of a run.
type options struct {
	duration time.Duration
	servers  int
	sync     string // policy of the forwarder: a killed process loses nothing under any
	disk     string // what each store has for a filesystem of its own; "": none
}

// rig is the pipeline with a proxy in every connection.
type rig struct {
	t       testing.TB
	o       options
	dir     string
	units   []*unit // receiver, forwarder, servers
	proxies []*proxy
	write   *proxy   // senders to receiver
	rpc     []*proxy // clients to each server
	client  *harness.Process
	counts  map[kind]int
	said    []string // what happened when
	began   time.Time
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
	state state
	life  int
}

const (
	receiverUnit = iota
	forwarderUnit
	firstServer
)

func newRig(t testing.TB, o options, evidence string) *rig {
	r := &rig{t: t, o: o, dir: t.TempDir(), counts: map[kind]int{}, began: time.Now()}
	disks := map[string]*disk{}
	stores := []string{"forwarder"}
	for i := range o.servers {
		stores = append(stores, fmt.Sprintf("server%d", i+1))
	}
	for _, name := range stores {
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
		if t.Failed() {
			r.keep(evidence, r.client)
		}
	})
	r.start(disks)
	return r
}

// start starts the processes, the last of the data's way first.
func (r *rig) start(disks map[string]*disk) {
	small := []string{"--storage.segment.size=48KB", "--storage.segment.duration=7s", "--storage.series-idle=3s", "--storage.retention.time=24h", "--storage.sync=" + r.o.sync}
	r.units = make([]*unit, firstServer, firstServer+r.o.servers)
	var links []string
	for i := range r.o.servers {
		name := fmt.Sprintf("server%d", i+1)
		s := r.unit(name, "prometheus-api-server", disks, "link", "web", "rpc")
		r.units = append(r.units, s)
		link := r.proxy("forwarder-"+name, s.Listening("link"))
		links = append(links, link.address())
		r.rpc = append(r.rpc, r.proxy("client-"+name, s.Listening("rpc")))
	}
	f := r.unit("forwarder", "metrics-forwarder", disks, append([]string{"link", "web", "--server=" + strings.Join(links, ","), "--limit.future=0s"}, small...)...)
	r.units[forwarderUnit] = f
	link := r.proxy("receiver-forwarder", f.Listening("link"))
	receiver := r.unit("receiver", "prometheus-remote-receiver", nil, "web", "--forwarder="+link.address(), "--forwarder.timeout=3s")
	r.units[receiverUnit] = receiver
	r.write = r.proxy("sender-receiver", receiver.Listening("web"))
	r.ready()
}

// unit starts a process. An argument without dashes is a listener's name.
func (r *rig) unit(name, binary string, disks map[string]*disk, args ...string) *unit {
	u := &unit{disk: disks[name]}
	for i, arg := range args {
		if !strings.HasPrefix(arg, "--") {
			args[i] = "--" + arg + ".listen-address=" + harness.Host() + ":0"
		}
	}
	if name != "receiver" {
		u.store = filepath.Join(r.dir, name)
		args = append(args, "--storage.path="+filepath.Join(u.store, "log"))
	}
	u.Process = harness.Start(r.t, name, harness.Binary(r.t, binary), args...)
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

func (r *rig) servers() []*unit { return r.units[firstServer:] }

// addresses of the servers, by the proxies.
func (r *rig) addresses() (list []string) {
	for _, p := range r.rpc {
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
	for _, u := range r.units {
		u.disk.free()
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
