//go:build debian || compose

package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The parts of a target by their names. Forwarders are ForwarderPart(1) and so on,
// servers ServerPart(1), routers RouterPart(1).
const (
	Receiver    = "receiver"
	ConsulPart  = "consul"
	BucketPart  = "bucket"
	HAProxyPart = "haproxy"
)

// ForwarderPart is the name of a forwarder; they count from 1.
func ForwarderPart(n int) string { return fmt.Sprintf("forwarder%d", n) }

// ServerPart is the name of a server; they count from 1.
func ServerPart(n int) string { return fmt.Sprintf("server%d", n) }

// RouterPart is the name of a router; they count from 1.
func RouterPart(n int) string { return fmt.Sprintf("router%d", n) }

// Target is the whole deployment, with Consul and HAProxy, as something that
// failures can be made in. A method that cannot do it fails the test.
type Target interface {
	// HAProxy is the way to the API.
	HAProxy() *HAProxy
	Consul() *Consul
	// WriteURL is where the receiver takes remote writes.
	WriteURL() string
	// Kill ends a part as a power cut would.
	Kill(part string)
	// Lose has a part's machine gone with its disk: it says nothing any more, not
	// even to those that are connected, until Start puts another in its place.
	Lose(part string)
	// Pause stops a part, which keeps its connections, until Continue.
	Pause(part string)
	Continue(part string)
	// Terminate asks a part to end, and returns when it has.
	Terminate(part string)
	// Start starts a part that ended, on the data that it had, or with none if that
	// was lost or the server is new. It returns when the part is ready.
	Start(part string)
	// Reload has HAProxy read its configuration again.
	Reload()
	// Folder is where the segments of a part are, or a copy of them.
	Folder(part string) string
}

// Local is a target of processes on this machine.
type Local struct {
	*Cluster

	t       testing.TB
	consul  *Consul
	haproxy *HAProxy
	lost    map[string]bool // the parts
}

// NewLocal starts Consul, unless the options have one, HAProxy and a cluster that
// registers and finds itself there, and waits until HAProxy has all servers, or all routers
// if there are groups.
func NewLocal(t testing.TB, o Options) *Local {
	t.Helper()
	l := &Local{t: t, lost: map[string]bool{}}
	switch {
	case o.Consul != nil:
	case o.Secured != nil:
		o.Consul = StartSecuredConsul(t, o.Secured)
	default:
		o.Consul = StartConsul(t)
	}
	l.consul = o.Consul
	switch {
	case o.Secured != nil:
		l.haproxy = StartSecuredHAProxy(t, l.consul, o.Secured)
	case len(o.Groups) > 0:
		l.haproxy = StartHAProxy(t, l.consul, ToRouters)
	default:
		l.haproxy = StartHAProxy(t, l.consul)
	}
	l.Cluster = NewCluster(t, o)
	l.haproxy.Await(t, l.answering())
	return l
}

// answering is how many parts there are that HAProxy sends calls to.
func (l *Local) answering() int {
	if len(l.Routers) > 0 {
		return len(l.Routers)
	}
	return len(l.Servers)
}

// HAProxy implements [Target].
func (l *Local) HAProxy() *HAProxy { return l.haproxy }

// Consul implements [Target].
func (l *Local) Consul() *Consul { return l.consul }

// Kill implements [Target].
func (l *Local) Kill(part string) { l.process(part).Kill() }

// Lose implements [Target].
func (l *Local) Lose(part string) {
	l.t.Helper()
	l.Pause(part)
	l.lost[part] = true
}

// Pause implements [Target].
func (l *Local) Pause(part string) { l.process(part).Signal(syscall.SIGSTOP) }

// Continue implements [Target].
func (l *Local) Continue(part string) { l.process(part).Signal(syscall.SIGCONT) }

// Terminate implements [Target].
func (l *Local) Terminate(part string) {
	l.t.Helper()
	p := l.process(part)
	code := p.Terminate(30 * time.Second)
	// A Consul that is a server has the code 1 unless it leaves its cluster.
	if code != 0 && part != ConsulPart {
		l.t.Errorf("%s ended with the code %d", part, code)
	}
}

// Start implements [Target].
func (l *Local) Start(part string) {
	l.t.Helper()
	if l.lost[part] {
		delete(l.lost, part)
		l.Kill(part)
		if err := os.RemoveAll(l.Folder(part)); err != nil {
			l.t.Error(err)
		}
	}
	switch part {
	case ConsulPart:
		l.consul.Restart()
		l.consul.Ready()
		return
	case HAProxyPart:
		l.haproxy.Restart()
		l.haproxy.Await(l.t, l.answering())
		return
	case BucketPart:
		l.options.Bucket.Restart()
		l.options.Bucket.Await()
		return
	case ServerPart(len(l.Servers) + 1):
		l.StartServer()
	default:
		l.process(part).Restart()
	}
	p := l.process(part)
	p.Ready(p.Listening("web"))
}

// Reload implements [Target].
func (l *Local) Reload() { l.haproxy.Signal(syscall.SIGUSR2) }

// Folder implements [Target].
func (l *Local) Folder(part string) string { return filepath.Join(l.dir, part) }

func (l *Local) process(part string) *Process {
	l.t.Helper()
	switch part {
	case ConsulPart:
		return l.consul.Process
	case HAProxyPart:
		return l.haproxy.Process
	case BucketPart:
		return l.options.Bucket.Process
	}
	var names []string
	for _, p := range l.Processes() {
		if p.Name == part {
			return p
		}
		names = append(names, p.Name)
	}
	l.t.Fatalf("there is no part %s: %s", part, strings.Join(names, ", "))
	return nil
}
