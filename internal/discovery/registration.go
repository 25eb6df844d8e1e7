package discovery

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/hashicorp/consul/api"
	"github.com/prometheus/common/version"

	"github.com/promgrpc/exporter/internal/address"
)

// What the parts are called in Consul, and what the meta of their services
// tells besides.
const (
	ServiceForwarder = "metrics-forwarder"
	ServiceServer    = "prometheus-api-server"
	ServiceRouter    = "prometheus-api-router"

	MetaInstance = "instance"
	MetaLinkPort = "link_port"
	MetaProcess  = "process"
	MetaVersion  = "version"
	MetaWebPort  = "web_port"
)

// ConsulConfig says whether, where and as what to register.
type ConsulConfig struct {
	// Consul is the address of the agent, as CONSUL_HTTP_ADDR may have it. "": do
	// not register.
	Consul string
	// AdvertiseAddress is the host that others reach this one by. "": the
	// address that the listener is bound to or, if that is any, the one that
	// this machine has towards the agent.
	AdvertiseAddress string
	// ConsulTags are more tags of the service, by which it is told from others of its
	// name.
	ConsulTags []string
}

// RegisterFlags adds --consul and --advertise-address.
func (c *ConsulConfig) RegisterFlags(app *kingpin.Application) {
	app.Flag("consul", "Consul agent to register at: HOST[:PORT], http://…, https://… or unix://…. Its token and TLS files are taken from Consul's own environment variables, such as CONSUL_HTTP_TOKEN_FILE; the files may be renewed in place.").
		PlaceHolder("HOST[:8500]").StringVar(&c.Consul)
	address.HostVar(app.Flag("advertise-address", "Host name or IP address to register as, by default the address that this machine has towards Consul's agent.").
		PlaceHolder("HOST"), &c.AdvertiseAddress)
	app.Flag("consul.tag", "Tag to register with, such as the name of this instance's group; may be repeated. Those who look for consul://AGENT/SERVICE?tag=TAG, or for the SRV records of TAG.SERVICE.service.consul, find the instances that have it.").
		PlaceHolder("TAG").StringsVar(&c.ConsulTags)
}

// advertised is the host to register, "" for that of the agent, which is on the same
// machine.
func (c *ConsulConfig) advertised(listener net.Addr, agent agentAddress) (string, error) {
	if c.AdvertiseAddress != "" {
		return address.Host(c.AdvertiseAddress)
	}
	if a, ok := listener.(*net.TCPAddr); ok && !a.IP.IsUnspecified() && len(a.IP) > 0 {
		return a.IP.String(), nil
	}
	if agent.network == "unix" {
		return "", nil
	}
	conn, err := net.Dial("udp", agent.host) // Sends nothing.
	if err != nil {
		return "", fmt.Errorf("address towards the agent: %w", err)
	}
	defer conn.Close()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	return host, err
}

// Registration is what Consul is told about an instance.
type Registration struct {
	ConsulConfig
	// Service and Instance are its names.
	Service, Instance string
	// Listener that the service's port is that of.
	Listener net.Addr
	// Tags and Meta of the service. Those of the configuration are added, the instance
	// and the version.
	Tags []string
	Meta map[string]string
	// GRPC has the agent ask the gRPC health service at that port, too, over TLS if
	// TLS says so. What it asks is no secret, so it believes every certificate.
	GRPC, TLS bool
	// Ready says why the instance should not be sent work, nil when it should.
	Ready func() error
}

const (
	// checkTTL is how long a report holds.
	checkTTL = 5 * time.Second
	// checkInterval between two calls of the gRPC health service.
	checkInterval = time.Second
	// forgetAfter is when Consul drops an instance that failed all that time,
	// the least that Consul takes.
	forgetAfter = time.Minute
)

// aTag is a label of a domain name, since DNS has tags in names.
var aTag = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func checkTag(tag string) error {
	if !aTag.MatchString(tag) {
		return fmt.Errorf("%q is not a tag: want small letters, digits and, within it, hyphens, 63 at most", tag)
	}
	return nil
}

var notInID = regexp.MustCompile(`[^A-Za-z0-9._:-]`)

// id is that of the address that the instance is reached at, and the same after a
// restart there. Whoever registers at the address next replaces the instance.
func (r *Registration) id(host string) string {
	return notInID.ReplaceAllString(fmt.Sprintf("%s-%s-%d", r.Service, cmp.Or(host, "node"), Port(r.Listener)), "-")
}

// checkID is the ID of the check that the instance itself reports to.
func checkID(id string) string { return id + ":self" }

// service is the registration of a process at a host in Consul's terms.
func (r *Registration) service(host, process string) *api.AgentServiceRegistration {
	id, port := r.id(host), Port(r.Listener)
	meta := map[string]string{MetaInstance: r.Instance, MetaVersion: cmp.Or(version.Version, "unknown"), MetaProcess: process}
	maps.Copy(meta, r.Meta)
	status, _ := r.status()
	checks := api.AgentServiceChecks{{
		CheckID: checkID(id), Name: "reported by the instance",
		TTL: checkTTL.String(), Status: status,
		DeregisterCriticalServiceAfter: forgetAfter.String(),
	}}
	if r.GRPC {
		at := net.JoinHostPort(cmp.Or(host, "localhost"), strconv.Itoa(port))
		checks = append(checks, &api.AgentServiceCheck{
			CheckID: id + ":grpc", Name: "gRPC health service",
			GRPC: at, GRPCUseTLS: r.TLS, TLSSkipVerify: r.TLS, Interval: checkInterval.String(), Timeout: checkInterval.String(),
			Status:                         status, // Or it would be away until the first call.
			DeregisterCriticalServiceAfter: forgetAfter.String(),
		})
	}
	return &api.AgentServiceRegistration{
		ID: id, Name: r.Service, Address: host, Port: port,
		Tags: slices.Concat(r.Tags, r.ConsulTags), Meta: meta, Checks: checks,
	}
}

// status is what to report.
func (r *Registration) status() (status, output string) {
	if err := r.Ready(); err != nil {
		return api.HealthCritical, err.Error()
	}
	return api.HealthPassing, "ready"
}

// Port is that of a TCP address, and 0 for any other.
func Port(a net.Addr) int {
	if a, ok := a.(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}
