package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"time"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/usage"
)

// connection is how to reach the servers: the flags of every command that calls
// them.
type connection struct {
	address   string
	protocol  string
	timeout   time.Duration
	tls       tlsFlags
	headers   []string
	tokenFile string
}

const defaultAddress = "localhost:8090"

func (c *connection) register(cmd clause) {
	option(cmd, "address", "Servers, as HOST:PORT[,HOST:PORT…], of which the first that answers is used; or consul://[AGENT]/SERVICE or dns+srv://NAME, where they are looked up.").
		Short('a').Default(defaultAddress).PlaceHolder("HOST:PORT[,…]").StringVar(&c.address)
	option(cmd, "protocol", "Protocol of the calls: grpc, grpcweb or connect. The latter two use HTTP/1.1, unless TLS negotiates HTTP/2.").
		Default("grpc").EnumVar(&c.protocol, "grpc", "grpcweb", "connect")
	option(cmd, "timeout", "End after this time: with exit code 0 while following, as a failure otherwise. 0 means no timeout.").
		Default("0s").DurationVar(&c.timeout)
	option(cmd, "tls", "Use TLS, 1.3 or later. The other --tls flags imply it. Their files are read again for each stream and after each lost connection.").BoolVar(&c.tls.on)
	option(cmd, "tls-ca-file", "CA certificates to trust instead of the system's, PEM.").PlaceHolder("FILE").StringVar(&c.tls.files.CA)
	option(cmd, "tls-cert-file", "Client certificate, PEM.").PlaceHolder("FILE").StringVar(&c.tls.files.Cert)
	option(cmd, "tls-key-file", "Key of the client certificate, PEM.").PlaceHolder("FILE").StringVar(&c.tls.files.Key)
	option(cmd, "tls-server-name", "Name to expect in the server's certificate, if not the host of the address.").PlaceHolder("NAME").StringVar(&c.tls.files.ServerName)
	option(cmd, "header", "Header to send with each call, for a proxy, say. Repeatable; one a line in the environment, where other users do not see it. Without TLS it is sent in the clear.").
		Short('H').PlaceHolder("'NAME: VALUE'").StringsVar(&c.headers)
	option(cmd, "bearer-token-file", "File with the token to send as Authorization. It is read again for each call and each stream. Without TLS the token is sent in the clear.").
		PlaceHolder("FILE").StringVar(&c.tokenFile)
}

// addresses returns what --address lists.
func (c *connection) addresses() []string {
	var all []string
	for _, one := range strings.Split(c.address, ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

// open makes a client for --address, completing o. A directory is watched until ctx
// ends.
func (c *connection) open(ctx context.Context, env environment, o promgrpc.Options) (*promgrpc.Client, error) {
	if !isDirectory(c.address) {
		for _, a := range c.addresses() {
			if err := address.HostPort(a); err != nil {
				return nil, usage.Errorf("--address: %w", err)
			}
		}
		return c.dial(c.addresses(), o)
	}
	servers, err := watchServers(ctx, c.address, false, newLogger(env.stderr))
	if err != nil {
		return nil, usage.Errorf("--address: %w", err)
	}
	o.Resolve = servers.resolve
	return c.dial(nil, o)
}

// dial makes a client for addresses, completing o.
func (c *connection) dial(addresses []string, o promgrpc.Options) (*promgrpc.Client, error) {
	var err error
	if c.tls.wanted() {
		files, err := renew.New("the files of --tls-ca-file, --tls-cert-file and --tls-key-file", c.tls.files.Dial, o.Logger)
		if err != nil {
			return nil, usage.Errorf("--tls-ca-file, --tls-cert-file, --tls-key-file: %w", err)
		}
		o.RenewTLS = func() (*tls.Config, error) { return files.Get(), nil }
	}
	if o.Header, err = c.header(); err != nil {
		return nil, usage.Errorf("--header: %w", err)
	}
	if c.tokenFile != "" {
		o.BearerToken = promgrpc.TokenFile(c.tokenFile)
		if _, err := o.BearerToken(context.Background()); err != nil {
			return nil, usage.Errorf("--bearer-token-file: %w", err)
		}
	}
	o.Protocol = promgrpc.Protocol(c.protocol)
	client, err := promgrpc.New(addresses, o)
	if err != nil {
		return nil, usage.Errorf("%w", err)
	}
	return client, nil
}

// header returns what --header lists. Errors do not contain values.
func (c *connection) header() (http.Header, error) {
	header := http.Header{}
	for i, line := range c.headers {
		name, value, found := strings.Cut(line, ":")
		if !found {
			return nil, fmt.Errorf("want 'NAME: VALUE', number %d has no colon", i+1)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return header, nil
}

// bounded applies --timeout.
func (c *connection) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.timeout)
}

// tlsFlags say whether to use TLS, and with which files.
type tlsFlags struct {
	on    bool
	files renew.TLSFiles
}

func (t *tlsFlags) wanted() bool { return *t != tlsFlags{} }
