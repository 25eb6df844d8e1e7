package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Group is what feeds and answers for a share of the series. Its name is its tag in Consul.
type Group struct {
	Name                string
	Forwarders, Servers []*Process
}

// StartGroup starts one more group. Nothing is written to it until the groups file has it.
func (c *Cluster) StartGroup(name string) *Group {
	c.t.Helper()
	g := &Group{Name: name}
	c.Groups = append(c.Groups, g)
	for range c.options.Servers {
		c.startServer(g)
	}
	servers := c.service("prometheus-api-server", name, g.Servers)
	for range c.options.Forwarders {
		g.Forwarders = append(g.Forwarders, c.startForwarder(name, servers))
	}
	return g
}

// Epoch says which groups series are spread over from a time on, from ever on if it is zero.
type Epoch struct {
	From   time.Time
	Groups []string
}

// GroupsFile is the one of the receiver and of all routers.
func (c *Cluster) GroupsFile() string { return filepath.Join(c.dir, "groups.yml") }

// WriteGroups writes the groups file with all groups that were started, which the receiver
// and the routers take up while they run.
func (c *Cluster) WriteGroups(version int, epochs ...Epoch) {
	c.t.Helper()
	spread := c.options.Spread
	if spread == "" {
		spread = "labels: [series]"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "version: %d\nspread: {%s}\ngroups:\n", version, spread)
	for _, g := range c.Groups {
		fmt.Fprintf(&b, "  %s: {forwarders: %q, servers: %q}\n", g.Name,
			c.service("metrics-forwarder", g.Name, nil), c.service("prometheus-api-server", g.Name, nil))
	}
	b.WriteString("epochs:\n")
	for _, e := range epochs {
		from := ""
		if !e.From.IsZero() {
			from = "from: " + e.From.UTC().Format(time.RFC3339) + ", "
		}
		fmt.Fprintf(&b, "  - {%sgroups: [%s]}\n", from, strings.Join(e.Groups, ", "))
	}
	whole := c.GroupsFile() + ".new"
	if err := os.WriteFile(whole, []byte(b.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(whole, c.GroupsFile()); err != nil {
		c.t.Fatal(err)
	}
}

// startRouters starts those that answer for all groups.
func (c *Cluster) startRouters() {
	c.t.Helper()
	n := c.options.Routers
	if n == 0 {
		n = 2
	}
	for i := range n {
		host, name := Host(), fmt.Sprintf("router%d", i+1)
		c.Routers = append(c.Routers, c.start("router", name, "prometheus-grpc-client", append([]string{
			"router",
			"--groups.file=" + c.GroupsFile(),
			"--listen=" + Address(c.t, host),
			"--web.listen-address=" + host + ":0",
			"--instance=" + name,
		}, append(c.register(host, ""), c.options.Router...)...)...))
	}
}

// Routed are the addresses of all routers' APIs, as the client takes them.
func (c *Cluster) Routed() string {
	c.t.Helper()
	var addresses []string
	for _, r := range c.Routers {
		addresses = append(addresses, r.Listening("rpc"))
	}
	return strings.Join(addresses, ",")
}
