package discovery

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"regexp"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/hashicorp/consul/api"
	"github.com/prometheus/common/version"
)

// What the parts are called in Consul, and what the meta of their services
// tells besides.
const (
	ServiceForwarder = "metrics-forwarder"
	ServiceServer    = "prometheus-api-server"

	MetaInstance = "instance"
	MetaLinkPort = "link_port"
	MetaVersion  = "version"
	MetaWebPort  = "web_port"
)

// ConsulConfig says whether, where and as what to register.
type ConsulConfig struct {
	// Consul is the address of the agent, host[:port]. "": do not register.
	Consul string
	// AdvertiseAddress is the host that others reach this one by. "": the
	// address that the listener is bound to or, if that is any, the one that
	// this machine has towards the agent.
	AdvertiseAddress string
}

// RegisterFlags adds --consul and --advertise-address.
func (c *ConsulConfig) RegisterFlags(app *kingpin.Application) {
	app.Flag("consul", "Consul agent to register at, HOST[:PORT]. Its token and TLS files are taken from Consul's own environment variables, such as CONSUL_HTTP_TOKEN.").
		PlaceHolder("HOST[:8500]").StringVar(&c.Consul)
	app.Flag("advertise-address", "Host to register as, by default the address that this machine has towards Consul's agent.").
		PlaceHolder("HOST").StringVar(&c.AdvertiseAddress)
}

// Registration is what Consul is told about an instance.
type Registration struct {
	ConsulConfig
	// Service and Instance are its names.
	Service, Instance string
	// Listener that the service's port is that of.
	Listener net.Addr
	// Tags and Meta of the service. The instance and the version are added.
	Tags []string
	Meta map[string]string
	// GRPC has the agent ask the gRPC health service at that port, too.
	GRPC bool
	// Ready says why the instance should not be sent work, nil when it should.
	Ready func() error
}

const (
	// checkTTL is how long the agent believes that an instance is as it last
	// said.
	checkTTL = 5 * time.Second
	// checkInterval between two calls of the gRPC health service.
	checkInterval = time.Second
	// forgetAfter is when Consul drops an instance that failed all that time,
	// the least that Consul takes.
	forgetAfter = time.Minute
)

var notInID = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// id is the same after a restart.
func (r *Registration) id() string {
	return notInID.ReplaceAllString(fmt.Sprintf("%s-%s-%d", r.Service, r.Instance, Port(r.Listener)), "-")
}

// checkID is the ID of the check that the instance itself reports to.
func (r *Registration) checkID() string { return r.id() + ":self" }

// service is the registration in Consul's terms.
func (r *Registration) service() (*api.AgentServiceRegistration, error) {
	host, err := r.advertised()
	if err != nil {
		return nil, err
	}
	port := Port(r.Listener)
	meta := map[string]string{MetaInstance: r.Instance, MetaVersion: cmp.Or(version.Version, "unknown")}
	maps.Copy(meta, r.Meta)
	status, _ := r.status()
	checks := api.AgentServiceChecks{{
		CheckID: r.checkID(), Name: "reported by the instance",
		TTL: checkTTL.String(), Status: status,
		DeregisterCriticalServiceAfter: forgetAfter.String(),
	}}
	if r.GRPC {
		checks = append(checks, &api.AgentServiceCheck{
			CheckID: r.id() + ":grpc", Name: "gRPC health service",
			GRPC: net.JoinHostPort(host, strconv.Itoa(port)), Interval: checkInterval.String(), Timeout: checkInterval.String(),
			Status:                         status, // Or it would be away until the first call.
			DeregisterCriticalServiceAfter: forgetAfter.String(),
		})
	}
	return &api.AgentServiceRegistration{
		ID: r.id(), Name: r.Service, Address: host, Port: port,
		Tags: r.Tags, Meta: meta, Checks: checks,
	}, nil
}

// status is what to report.
func (r *Registration) status() (status, output string) {
	if err := r.Ready(); err != nil {
		return api.HealthCritical, err.Error()
	}
	return api.HealthPassing, "ready"
}

// advertised is the host to register.
func (r *Registration) advertised() (string, error) {
	if r.AdvertiseAddress != "" {
		return r.AdvertiseAddress, nil
	}
	if a, ok := r.Listener.(*net.TCPAddr); ok && !a.IP.IsUnspecified() && len(a.IP) > 0 {
		return a.IP.String(), nil
	}
	agent, err := withPort(r.Consul, consulPort)
	if err != nil {
		return "", err
	}
	conn, err := net.Dial("udp", agent) // Sends nothing.
	if err != nil {
		return "", fmt.Errorf("address towards the agent: %w", err)
	}
	defer conn.Close()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	return host, err
}

// Port is that of a TCP address, and 0 for any other.
func Port(a net.Addr) int {
	if a, ok := a.(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}
