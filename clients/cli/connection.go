package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/usage"
)

// connection is how to reach the servers: the flags of every command that calls
// them.
type connection struct {
	address  string
	protocol string
	timeout  time.Duration
	credential.Flags
	headers []string
	// exposed are the names of headers on the command line that hold a secret.
	exposed []string
}

const defaultAddress = "localhost:8090"

func (c *connection) register(cmd clause) {
	option(cmd, "address", "Servers, as HOST:PORT[,HOST:PORT…], of which the first that answers is used; or consul://[AGENT]/SERVICE[?tag=TAG] or dns+srv://NAME, where they are looked up.").
		Short('a').Default(defaultAddress).PlaceHolder("HOST:PORT[,…]").StringVar(&c.address)
	option(cmd, "protocol", "Protocol of the calls: grpc, grpcweb or connect. The latter two use HTTP/1.1, unless TLS negotiates HTTP/2.").
		Default("grpc").EnumVar(&c.protocol, "grpc", "grpcweb", "connect")
	option(cmd, "timeout", "End after this time: with exit code 0 while following, as a failure otherwise. 0 means no timeout.").
		Default("0s").DurationVar(&c.timeout)
	c.Register(options{cmd})
	option(cmd, "header", "Header to send with each call, for a proxy, say. Repeatable; one a line in the environment, where other users do not see it.").
		Short('H').PlaceHolder("'NAME: VALUE'").Action(c.noteExposed).StringsVar(&c.headers)
}

// noteExposed notes which headers on the command line, where other users see them, hold
// a secret. kingpin calls it for those alone, and not for the environment's.
func (c *connection) noteExposed(parsed *kingpin.ParseContext) error {
	c.exposed = nil
	for _, element := range parsed.Elements {
		flag, ok := element.Clause.(*kingpin.FlagClause)
		if !ok || flag.Model().Name != "header" || element.Value == nil {
			continue
		}
		name, _, found := strings.Cut(*element.Value, ":")
		if name = strings.TrimSpace(name); found && credential.IsSecret(name) {
			c.exposed = append(c.exposed, name)
		}
	}
	return nil
}

// warnOfExposed warns of secrets on the command line.
func (c *connection) warnOfExposed(env environment) {
	if len(c.exposed) > 0 {
		warn(env, "other users of this machine can read %s on the command line: use --bearer-token-file, --basic-auth-password-file or %s",
			strings.Join(c.exposed, ", "), variable("header"))
	}
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
	files, err := c.Dialer(o.Logger)
	if err != nil {
		return nil, err
	}
	if files != nil {
		o.RenewTLS = func() (*tls.Config, error) { return files.Get(), nil }
	}
	if o.Header, err = c.header(); err != nil {
		return nil, usage.Errorf("--header: %w", err)
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	switch {
	case c.Token != "":
		o.Authorization = promgrpc.TokenFile(c.Token)
	case c.User != "":
		o.Authorization = promgrpc.PasswordFile(c.User, c.Password)
	}
	o.AllowCleartextCredentials = c.AllowCleartext
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
