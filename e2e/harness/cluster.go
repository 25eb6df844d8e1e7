package harness

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Options say what a cluster is made of. The zero value is a receiver, two
// forwarders and two servers, one of which has to have a request before it is
// answered, with their default flags otherwise.
type Options struct {
	Forwarders int // how many, 2 if zero
	Servers    int // how many, 2 if zero
	// Groups, if there are any, that the receiver spreads series over, by their names: each
	// has so many forwarders and servers. They need a Consul.
	Groups  []string
	Spread  string // how, as the groups file has it; by the label `series` if empty
	Routers int    // how many answer for all groups, 2 if zero
	// Consul to register at and to find each other by. Nil: by addresses.
	Consul *Consul
	// Tag that forwarders and servers have in Consul, and find each other by: a pipeline
	// of several. "": the only one.
	Tag       string
	Receiver  []string
	Forwarder []string
	Server    []string
	Router    []string // more flags for the parts
	// Bucket that the servers keep the history in. Nil: they have none.
	Bucket *Bucket
	// OpenFiles that each part may have, as many as this process if zero.
	OpenFiles int
	// Secured, if not nil, has certificates and secrets of all parts.
	Secured *Secured
}

// Cluster is the whole pipeline, a process a part.
type Cluster struct {
	Receiver   *Process
	Forwarders []*Process
	Servers    []*Process
	Groups     []*Group // which they are of
	Routers    []*Process

	t       testing.TB
	options Options
	dir     string
	peers   []string // where the servers that were planned have their APIs; not with a Consul
}

// NewCluster starts the parts and waits until they are ready.
func NewCluster(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Servers == 0 {
		o.Servers = 2
	}
	if o.Forwarders == 0 {
		o.Forwarders = 2
	}
	c := &Cluster{t: t, options: o, dir: t.TempDir()}
	if o.Consul == nil {
		for range o.Servers {
			c.peers = append(c.peers, Address(t, Host()))
		}
	}
	for _, name := range o.Groups {
		c.StartGroup(name)
	}
	to := "--groups.file=" + c.GroupsFile()
	if len(o.Groups) == 0 {
		g := c.StartGroup(o.Tag)
		to = "--forwarder=" + c.service("metrics-forwarder", g.Name, g.Forwarders)
	} else {
		c.WriteGroups(1, Epoch{Groups: o.Groups})
		c.startRouters()
	}
	c.Receiver = c.start("receiver", "receiver", "prometheus-remote-receiver", append([]string{
		"--web.listen-address=" + Host() + ":0", to,
	}, o.Receiver...)...)
	c.Ready()
	return c
}

// service is where links to the instances of a service with a tag are found.
func (c *Cluster) service(name, tag string, instances []*Process) string {
	c.t.Helper()
	if c.options.Consul != nil {
		at := "consul://" + c.options.Consul.HTTP + "/" + name
		if tag != "" {
			at += "?tag=" + tag
		}
		return at
	}
	var links []string
	for _, p := range instances {
		links = append(links, p.Listening("link"))
	}
	return strings.Join(links, ",")
}

func (c *Cluster) startForwarder(tag, servers string) *Process {
	c.t.Helper()
	host, name := Host(), fmt.Sprintf("forwarder%d", len(c.Forwarders)+1)
	f := c.start("forwarder", name, "metrics-forwarder", append([]string{
		"--link.listen-address=" + host + ":0",
		"--web.listen-address=" + host + ":0",
		"--server=" + servers,
		"--storage.path=" + filepath.Join(c.dir, name),
	}, append(c.register(host, tag), c.options.Forwarder...)...)...)
	c.Forwarders = append(c.Forwarders, f)
	return f
}

// start starts a part by its name, as what it is.
func (c *Cluster) start(part, name, binary string, args ...string) *Process {
	c.t.Helper()
	path, s := Binary(c.t, binary), c.options.Secured
	args = append(args, s.flags(part)...)
	env := s.env(part)
	if part == "forwarder" { // not by a flag, so that options may have another
		env = append(env, "PROMGRPC_ACK_SERVERS=1")
	}
	if b := c.options.Bucket; b != nil && part == "server" {
		env, args = append(env, b.Env...), append(args, "--bucket="+b.URL)
	}
	if c.options.OpenFiles > 0 {
		path, args = "prlimit", append([]string{fmt.Sprint("--nofile=", c.options.OpenFiles), path}, args...)
	}
	p := StartEnv(c.t, name, env, path, args...)
	p.web = s.client(part)
	return p
}

// StartServer starts one more server, of the last group. Without a Consul nobody finds it.
func (c *Cluster) StartServer() *Process {
	c.t.Helper()
	return c.startServer(c.Groups[len(c.Groups)-1])
}

func (c *Cluster) startServer(of *Group) *Process {
	c.t.Helper()
	host, peers := Host(), strings.Join(c.peers, ",")
	rpc := net.JoinHostPort(host, "0")
	if c.options.Consul != nil {
		peers = c.service("prometheus-api-server", of.Name, nil)
	} else if n := len(c.Servers); n < len(c.peers) {
		rpc = c.peers[n]
		host, _, _ = net.SplitHostPort(rpc)
	}
	name := fmt.Sprintf("server%d", len(c.Servers)+1)
	s := c.start("server", name, "prometheus-api-server", append([]string{
		"--link.listen-address=" + host + ":0",
		"--web.listen-address=" + host + ":0",
		"--rpc.listen-address=" + rpc,
		"--storage.path=" + filepath.Join(c.dir, name),
		"--instance=" + name,
		"--peers=" + peers,
	}, append(c.register(host, of.Name), c.options.Server...)...)...)
	c.Servers, of.Servers = append(c.Servers, s), append(of.Servers, s)
	return s
}

// register returns the flags by which a part on a host registers itself with a tag.
func (c *Cluster) register(host, tag string) []string {
	if c.options.Consul == nil {
		return nil
	}
	flags := []string{"--consul=" + c.options.Consul.HTTP, "--advertise-address=" + host}
	if tag != "" {
		flags = append(flags, "--consul.tag="+tag)
	}
	return flags
}

// Processes of the cluster, in the order of the data's way.
func (c *Cluster) Processes() []*Process {
	return slices.Concat([]*Process{c.Receiver}, c.Forwarders, c.Servers, c.Routers)
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

// CompareFiles is CompareFolders of all forwarders and all servers, group by group.
func (c *Cluster) CompareFiles() (segments int) {
	c.t.Helper()
	for _, g := range c.Groups {
		segments += CompareFolders(c.t, c.folders(g.Forwarders), c.folders(g.Servers))
	}
	return segments
}

func (c *Cluster) folders(of []*Process) (all []string) {
	for _, p := range of {
		all = append(all, filepath.Join(c.dir, p.Name))
	}
	return all
}

// CompareFolders fails the test if the files of each server do not become, byte for byte,
// those that the forwarders have together, or if a `latest` link does not point at a newest
// one. Nothing may be written meanwhile but ticks, of which one may come while files are
// compared. It returns the number of segments.
func CompareFolders(t testing.TB, forwarders, servers []string) int {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		n, err := compareFolders(t, forwarders, servers)
		if err == nil {
			return n
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func compareFolders(t testing.TB, forwarders, servers []string) (int, error) {
	t.Helper()
	folders, newest := map[string]string{}, map[string]bool{} // where each segment is; the newest ones
	for _, dir := range forwarders {
		own := segments(t, dir)
		if len(own) == 0 {
			return 0, fmt.Errorf("%s has no segments", dir)
		}
		for _, name := range own {
			folders[name] = dir
		}
		latest := latestSegment(t, dir)
		for _, name := range own {
			if filepath.Dir(name) == filepath.Dir(latest) && name > latest {
				return 0, fmt.Errorf("%s: latest points at %s, there is a newer segment %s", dir, latest, name)
			}
		}
		newest[latest] = true
	}
	want := slices.Sorted(maps.Keys(folders))
	for _, dir := range servers {
		if got := segments(t, dir); !slices.Equal(got, want) {
			return 0, fmt.Errorf("%s has the segments %q, the forwarders have %q", dir, got, want)
		}
		if got := latestSegment(t, dir); !newest[got] {
			return 0, fmt.Errorf("%s: latest points at %s, those of the forwarders are %v", dir, got, newest)
		}
		for _, name := range want {
			out, err := exec.Command("cmp", filepath.Join(folders[name], name), filepath.Join(dir, name)).CombinedOutput()
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
