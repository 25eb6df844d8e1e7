package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Options say what a cluster is made of. The zero value is a receiver, a
// forwarder and two servers with their default flags.
type Options struct {
	Servers int // how many, 2 if zero
	// Consul to register at and to find each other by. Nil: by addresses.
	Consul    *Consul
	Receiver  []string
	Forwarder []string
	Server    []string // more flags for the parts
	// OpenFiles that each part may have, as many as this process if zero.
	OpenFiles int
	// Secured, if not nil, has certificates and secrets of all parts.
	Secured *Secured
}

// Cluster is the whole pipeline, a process a part.
type Cluster struct {
	Receiver  *Process
	Forwarder *Process
	Servers   []*Process

	t       testing.TB
	options Options
	dir     string
}

// NewCluster starts the parts and waits until they are ready.
func NewCluster(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Servers == 0 {
		o.Servers = 2
	}
	c := &Cluster{t: t, options: o, dir: t.TempDir()}
	var links []string
	for range o.Servers {
		c.StartServer()
	}
	var servers, forwarders string
	if o.Consul != nil {
		servers = "consul://" + o.Consul.HTTP + "/prometheus-api-server"
		forwarders = "consul://" + o.Consul.HTTP + "/metrics-forwarder"
	} else {
		for _, s := range c.Servers {
			links = append(links, s.Listening("link"))
		}
		servers = strings.Join(links, ",")
	}
	host := Host()
	c.Forwarder = c.start("forwarder", "forwarder", "metrics-forwarder", append([]string{
		"--link.listen-address=" + host + ":0",
		"--web.listen-address=" + host + ":0",
		"--server=" + servers,
		"--storage.path=" + filepath.Join(c.dir, "forwarder"),
	}, append(c.register(host), o.Forwarder...)...)...)
	if forwarders == "" {
		forwarders = c.Forwarder.Listening("link")
	}
	c.Receiver = c.start("receiver", "receiver", "prometheus-remote-receiver", append([]string{
		"--web.listen-address=" + Host() + ":0",
		"--forwarder=" + forwarders,
	}, o.Receiver...)...)
	c.Ready()
	return c
}

// start starts a part by its name, as what it is.
func (c *Cluster) start(part, name, binary string, args ...string) *Process {
	c.t.Helper()
	path, s := Binary(c.t, binary), c.options.Secured
	args = append(args, s.flags(part)...)
	if c.options.OpenFiles > 0 {
		path, args = "prlimit", append([]string{fmt.Sprint("--nofile=", c.options.OpenFiles), path}, args...)
	}
	p := StartEnv(c.t, name, s.env(part), path, args...)
	p.web = s.client(part)
	return p
}

// StartServer starts one more server. Without a Consul nobody finds it.
func (c *Cluster) StartServer() *Process {
	c.t.Helper()
	host := Host()
	name := fmt.Sprintf("server%d", len(c.Servers)+1)
	s := c.start("server", name, "prometheus-api-server", append([]string{
		"--link.listen-address=" + host + ":0",
		"--web.listen-address=" + host + ":0",
		"--rpc.listen-address=" + host + ":0",
		"--storage.path=" + filepath.Join(c.dir, name),
		"--instance=" + name,
	}, append(c.register(host), c.options.Server...)...)...)
	c.Servers = append(c.Servers, s)
	return s
}

// register returns the flags by which a part on a host registers itself.
func (c *Cluster) register(host string) []string {
	if c.options.Consul == nil {
		return nil
	}
	return []string{"--consul=" + c.options.Consul.HTTP, "--advertise-address=" + host}
}

// Processes of the cluster, in the order of the data's way.
func (c *Cluster) Processes() []*Process {
	return append([]*Process{c.Receiver, c.Forwarder}, c.Servers...)
}

// Ready waits until all parts are.
func (c *Cluster) Ready() {
	c.t.Helper()
	for _, p := range c.Processes() {
		p.Ready(p.Listening("web"))
	}
}

// WriteURL is where the receiver takes remote writes.
func (c *Cluster) WriteURL() string {
	c.t.Helper()
	address := c.Receiver.Listening("web")
	if s := c.options.Secured; s != nil {
		return "https://" + s.user() + address + "/api/v1/write"
	}
	return "http://" + address + "/api/v1/write"
}

// RPC is the address of a server's API; servers count from 0.
func (c *Cluster) RPC(server int) string {
	c.t.Helper()
	return c.Servers[server].Listening("rpc")
}

// RPCs are the addresses of all servers' APIs, as the client takes them.
func (c *Cluster) RPCs() string {
	c.t.Helper()
	var addresses []string
	for i := range c.Servers {
		addresses = append(addresses, c.RPC(i))
	}
	return strings.Join(addresses, ",")
}

// Folder is where a part keeps its logs.
func (c *Cluster) Folder(p *Process) string { return filepath.Join(c.dir, p.Name) }

// LoseDisk kills a part, and takes all that it has stored.
func (c *Cluster) LoseDisk(p *Process) {
	c.t.Helper()
	p.Kill()
	if err := os.RemoveAll(c.Folder(p)); err != nil {
		c.t.Fatal(err)
	}
}

// CompareFiles is CompareFolders of the forwarder and all servers.
func (c *Cluster) CompareFiles() int {
	c.t.Helper()
	var servers []string
	for _, s := range c.Servers {
		servers = append(servers, filepath.Join(c.dir, s.Name))
	}
	return CompareFolders(c.t, filepath.Join(c.dir, c.Forwarder.Name), servers...)
}

// CompareFolders fails the test if a server's files do not become, byte for byte, those of
// the forwarder, or if a `latest` link does not point at the newest. Nothing may be written
// meanwhile but ticks, of which one may come while files are compared. It returns the
// number of segments.
func CompareFolders(t testing.TB, forwarder string, servers ...string) int {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		n, err := compareFolders(t, forwarder, servers)
		if err == nil {
			return n
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func compareFolders(t testing.TB, forwarder string, servers []string) (int, error) {
	t.Helper()
	want := segments(t, forwarder)
	if len(want) == 0 {
		return 0, errors.New("the forwarder has no segments")
	}
	latest := latestSegment(t, forwarder)
	if newest := want[len(want)-1]; latest != newest {
		return 0, fmt.Errorf("forwarder: latest points at %s, the newest segment is %s", latest, newest)
	}
	for _, dir := range servers {
		if got := segments(t, dir); strings.Join(got, "\n") != strings.Join(want, "\n") {
			return 0, fmt.Errorf("%s has the segments %q, the forwarder has %q", dir, got, want)
		}
		if got := latestSegment(t, dir); got != latest {
			return 0, fmt.Errorf("%s: latest points at %s, the forwarder's at %s", dir, got, latest)
		}
		for _, name := range want {
			out, err := exec.Command("cmp", filepath.Join(forwarder, name), filepath.Join(dir, name)).CombinedOutput()
			if err != nil {
				return 0, fmt.Errorf("%s: segment %s: %w: %s", dir, name, err, out)
			}
		}
	}
	return len(want), nil
}

// segments of a storage folder by their paths below it, oldest first.
func segments(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range paths {
		paths[i] = strings.TrimPrefix(paths[i], dir+"/")
	}
	return paths
}

// latestSegment is where the storage folder's `latest` leads.
func latestSegment(t testing.TB, dir string) string {
	t.Helper()
	link := filepath.Join(dir, "latest")
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%s is not a symlink (%v)", link, err)
	}
	path, err := filepath.EvalSymlinks(link)
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(path, resolved+"/")
}
