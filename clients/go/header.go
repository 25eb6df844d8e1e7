package promgrpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"golang.org/x/net/http/httpguts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/promgrpc/exporter/internal/credential"
)

// reserved are the headers that the protocols set themselves, besides those with the
// prefix grpc- or connect-.
var reserved = []string{
	"accept-encoding", "connection", "content-encoding", "content-length", "content-type", "host",
	"te", "trailer", "transfer-encoding", "upgrade", "user-agent",
}

// checkHeader refuses what could not be sent, or not to these addresses. Errors do not
// contain values.
func (o *Options) checkHeader(addresses []string) error {
	for name, values := range o.Header {
		lower := strings.ToLower(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return fmt.Errorf("header %q: no name of a header", name)
		case slices.Contains(reserved, lower), strings.HasPrefix(lower, "grpc-"), strings.HasPrefix(lower, "connect-"):
			return fmt.Errorf("header %s is set by the protocol", name)
		case strings.HasSuffix(lower, "-bin"):
			return fmt.Errorf("header %s would be binary, which is not supported", name)
		case o.Authorization != nil && lower == "authorization":
			return fmt.Errorf("both a header %s and a credential for it are given", name)
		case slices.ContainsFunc(values, func(value string) bool { return !printable(value) }):
			return fmt.Errorf("header %s: want a value of printable ASCII", name)
		}
	}
	for _, a := range addresses {
		if err := o.mayCarry(a, slices.Collect(maps.Keys(o.Header))); err != nil {
			return err
		}
	}
	return nil
}

// mayCarry returns a *CleartextError if the headers, or Authorization, should not be
// sent to the server at address.
func (o *Options) mayCarry(address string, headers []string) error {
	if o.AllowCleartextCredentials || o.TLS != nil || o.RenewTLS != nil {
		return nil
	}
	if o.Authorization != nil {
		headers = append(slices.Clip(headers), credential.Header)
	}
	for _, name := range headers {
		if err := credential.Cleartext(address, name); err != nil {
			return err
		}
	}
	return nil
}

// printable reports whether every protocol can carry a value.
func printable(value string) bool {
	return value != "" && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

// withHeader returns a context whose call to the server at address sends the header
// and the credential, which it remembers for refused.
func (c *Client) withHeader(ctx context.Context, address string) (context.Context, error) {
	sent, _ := metadata.FromOutgoingContext(ctx)
	names := slices.Concat(slices.Collect(maps.Keys(c.options.Header)), slices.Collect(maps.Keys(sent)))
	if err := c.options.mayCarry(address, names); err != nil {
		return nil, err
	}
	var pairs []string
	for name, values := range c.options.Header {
		for _, value := range values {
			pairs = append(pairs, name, value)
		}
	}
	if c.options.Authorization != nil {
		value, err := c.options.Authorization(ctx)
		if err == nil && !printable(value) {
			err = errors.New("want printable ASCII")
		}
		if err != nil {
			return nil, &Error{Address: address, Code: codes.Unavailable, Message: "credential: " + err.Error(), unread: true}
		}
		exchangeOf(ctx).authorization = value
		pairs = append(pairs, "authorization", value)
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...), nil
}

// outdated reports whether a call was refused for a credential that is another one by
// now.
func (c *Client) outdated(ctx context.Context, x *exchange, e *Error) bool {
	if e.Code != codes.Unauthenticated || c.options.Authorization == nil {
		return false
	}
	now, err := c.options.Authorization(ctx)
	return err == nil && now != x.authorization
}

// newRequest returns a request with the metadata of the context as headers, which
// grpc-go sends by itself.
func newRequest[Msg any](ctx context.Context, msg *Msg) *connect.Request[Msg] {
	req := connect.NewRequest(msg)
	sent, _ := metadata.FromOutgoingContext(ctx)
	for name, values := range sent {
		for _, value := range values {
			if strings.HasSuffix(name, "-bin") {
				value = connect.EncodeBinaryHeader([]byte(value))
			}
			req.Header().Add(name, value)
		}
	}
	return req
}

// CleartextError says that a credential was not sent, because others could read it:
// without TLS, and to another machine.
type CleartextError = credential.CleartextError

// TokenFile returns a function for [Options.Authorization] that reads a bearer token
// from a file each time, so that it may be renewed in place.
func TokenFile(path string) func(context.Context) (string, error) {
	return authorization(credential.Files{Token: path})
}

// PasswordFile returns a function for [Options.Authorization] that is basic
// authentication, and reads the password of a user from a file each time.
func PasswordFile(user, path string) func(context.Context) (string, error) {
	return authorization(credential.Files{User: user, Password: path})
}

func authorization(files credential.Files) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return files.Authorization() }
}
