package discovery

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/renew"
)

const (
	// consulPort is where an agent listens unless told otherwise.
	consulPort = "8500"
	// answerTime is what an agent gets for an answer that it need not wait for.
	answerTime = 5 * time.Second
)

// consulAgent is an agent that can be asked, with what Consul's own environment
// variables name. Token, authorities and certificates are reloaded for each request and
// each connection.
type consulAgent struct {
	*api.Client
	at        agentAddress
	transport *http.Transport
	tls       *renew.Value[*tls.Config]
	token     *renew.Value[string]
}

// newConsulAgent returns the agent at an address, as CONSUL_HTTP_ADDR may have it.
// "" is the one that CONSUL_HTTP_ADDR names.
func newConsulAgent(spec string, logger *slog.Logger) (*consulAgent, error) {
	c := api.DefaultConfig()
	at, err := parseAgent(cmp.Or(spec, c.Address))
	if err != nil {
		return nil, err
	}
	a := &consulAgent{at: at, transport: c.Transport}
	files := c.TLSConfig
	if a.tls, err = renew.New("the TLS files for consul", func() (*tls.Config, error) { return api.SetupTLSConfig(&files) }, logger); err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	fixed, file := c.Token, c.TokenFile
	read := func() (string, error) { return fixed, nil }
	if file != "" {
		read = func() (string, error) { return renew.Token(file) }
	}
	if a.token, err = renew.New("the token for consul", read, logger); err != nil {
		return nil, fmt.Errorf("consul: %s: %w", api.HTTPTokenFileEnvName, err)
	}
	c.Transport.DialContext, c.Transport.DialTLSContext = a.dial, a.dialTLS
	if at.network == "unix" {
		c.Transport.Proxy = nil
	}
	c.Address, c.PathPrefix, c.HttpClient = at.host, at.prefix, &http.Client{Transport: a}
	c.Scheme = cmp.Or(at.scheme, c.Scheme)
	if a.Client, err = api.NewClient(c); err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	return a, nil
}

// reload reloads the files.
func (a *consulAgent) reload() error { return errors.Join(a.token.Reload(), a.tls.Reload()) }

// RoundTrip implements [http.RoundTripper]. A request that is forbidden is made once
// more if the token was renewed while it was under way.
func (a *consulAgent) RoundTrip(r *http.Request) (*http.Response, error) {
	token := a.token.Get()
	response, err := a.transport.RoundTrip(withToken(r, token))
	if err != nil || response.StatusCode != http.StatusForbidden {
		return response, err
	}
	renewed := a.token.Get()
	if renewed == token {
		return response, nil
	}
	again := withToken(r, renewed)
	if r.GetBody != nil {
		if again.Body, err = r.GetBody(); err != nil {
			return response, nil //nolint:nilerr // The answer that there is tells more.
		}
	}
	_ = response.Body.Close()
	return a.transport.RoundTrip(again)
}

func withToken(r *http.Request, token string) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("X-Consul-Token")
	if token != "" {
		r.Header.Set("X-Consul-Token", token)
	}
	return r
}

// dial connects to the agent, or to a proxy on the way to it.
func (a *consulAgent) dial(ctx context.Context, network, to string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: answerTime, KeepAlive: 15 * time.Second}
	if a.at.network == "unix" {
		network, to = a.at.network, a.at.path
	}
	return dialer.DialContext(ctx, network, to)
}

func (a *consulAgent) dialTLS(ctx context.Context, network, to string) (net.Conn, error) {
	raw, err := a.dial(ctx, network, to)
	if err != nil {
		return nil, err
	}
	config := a.tls.Get().Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(to)
	}
	conn := tls.Client(raw, config)
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// agentAddress is where an agent listens.
type agentAddress struct {
	// network is tcp, or unix for an agent at a path.
	network, path string
	// scheme is "" where CONSUL_HTTP_SSL says it.
	scheme string
	// host:port, and prefix of all paths, where a proxy has one.
	host, prefix string
}

// parseAgent reads host[:port], http://, https:// or unix://. Without a scheme, the port
// is Consul's by default.
func parseAgent(at string) (agentAddress, error) {
	scheme, rest, ok := strings.Cut(at, "://")
	if !ok {
		host, err := withPort(at, consulPort)
		return agentAddress{network: "tcp", host: host}, err
	}
	switch scheme {
	case "unix":
		if rest == "" {
			return agentAddress{}, fmt.Errorf("%s: the path of the socket is empty", at)
		}
		return agentAddress{network: "unix", path: rest, host: "localhost"}, nil
	case "http", "https":
	default:
		return agentAddress{}, fmt.Errorf("%s: unknown scheme %q, want HOST[:PORT], http://, https:// or unix://", at, scheme)
	}
	host, prefix, _ := strings.Cut(rest, "/")
	to := agentAddress{network: "tcp"}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		to.prefix = "/" + prefix
	}
	port := "80"
	if scheme == "https" {
		// http:// does not take back what CONSUL_HTTP_SSL says.
		to.scheme, port = scheme, "443"
	}
	var err error
	to.host, err = withPort(host, port)
	return to, err
}

func withPort(host, port string) (string, error) {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host, address.HostPort(host)
	}
	bare, err := address.Host(host)
	return net.JoinHostPort(bare, port), err
}
