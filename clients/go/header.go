package promgrpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"golang.org/x/net/http/httpguts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/promgrpc/exporter/internal/renew"
)

// reserved are the headers that the protocols set themselves, besides those with the
// prefix grpc- or connect-.
var reserved = []string{
	"accept-encoding", "connection", "content-encoding", "content-length", "content-type", "host",
	"te", "trailer", "transfer-encoding", "upgrade", "user-agent",
}

// checkHeader refuses what could not be sent. Errors do not contain values.
func (o *Options) checkHeader() error {
	for name, values := range o.Header {
		lower := strings.ToLower(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return fmt.Errorf("header %q: no name of a header", name)
		case slices.Contains(reserved, lower), strings.HasPrefix(lower, "grpc-"), strings.HasPrefix(lower, "connect-"):
			return fmt.Errorf("header %s is set by the protocol", name)
		case strings.HasSuffix(lower, "-bin"):
			return fmt.Errorf("header %s would be binary, which is not supported", name)
		case o.BearerToken != nil && lower == "authorization":
			return fmt.Errorf("both a header %s and a bearer token are given", name)
		case slices.ContainsFunc(values, func(value string) bool { return !printable(value) }):
			return fmt.Errorf("header %s: want a value of printable ASCII", name)
		}
	}
	return nil
}

// printable reports whether every protocol can carry a value.
func printable(value string) bool {
	return value != "" && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

// withHeader returns a context whose call to the server at address sends the header
// and the token.
func (c *Client) withHeader(ctx context.Context, address string) (context.Context, error) {
	var pairs []string
	for name, values := range c.options.Header {
		for _, value := range values {
			pairs = append(pairs, name, value)
		}
	}
	if c.options.BearerToken != nil {
		token, err := c.options.BearerToken(ctx)
		if err == nil && !printable(token) {
			err = errors.New("want printable ASCII")
		}
		if err != nil {
			return nil, &Error{Address: address, Code: codes.Unavailable, Message: "bearer token: " + err.Error()}
		}
		pairs = append(pairs, "authorization", "Bearer "+token)
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...), nil
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

// TokenFile returns a function for [Options.BearerToken] that reads a file each time,
// so that the token may be renewed in place.
func TokenFile(path string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return renew.Token(path) }
}
