package promgrpc

import (
	"context"
	"io"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
)

// connectTransport uses Connect's library, for Connect and gRPC-Web.
type connectTransport struct {
	*dialer
	http    *http.Transport
	client  *http.Client // over http
	url     string
	options []connect.ClientOption
}

func newConnectTransport(d *dialer, o *Options) *connectTransport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true) // only if TLS negotiates it
	t := &http.Transport{
		DialContext:         d.dial,
		TLSClientConfig:     o.TLS,
		TLSHandshakeTimeout: o.DialTimeout,
		Protocols:           protocols,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 20 * time.Second, PingTimeout: 10 * time.Second},
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
	scheme := "http://"
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone() // the transport adds its protocols to it
		scheme = "https://"
	}
	options := []connect.ClientOption{
		connect.WithReadMaxBytes(maxMessageSize),
		// As over gRPC: no compression, which would cost the server far more than the
		// stream itself.
		connect.WithAcceptCompression("gzip", nil, nil),
	}
	if o.Protocol == ProtocolGRPCWeb {
		options = append(options, connect.WithGRPCWeb())
	}
	return &connectTransport{
		dialer: d, http: t, url: scheme + d.address, options: options,
		client: &http.Client{
			Transport: watchHTTP{t},
			// As over gRPC: headers and token are for this server and no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (t *connectTransport) close() error {
	t.http.CloseIdleConnections()
	t.closeAll()
	return nil
}

func (t *connectTransport) wrap(x *exchange, err error) *Error {
	e := t.wrapped(err)
	// Over HTTP/1.1 a proxy closes the connection too when its server dies.
	if mayHaveBrokenOff(x, e) && !connect.IsWireError(err) && (x.gateway.Load() || t.lost.Load()) {
		e.broke = proxied
	}
	return e
}

func (t *connectTransport) open(ctx context.Context, method string, req proto.Message) (stream, error) {
	s := new(connectStream)
	var err error
	s.ServerStreamForClient, err = t.call(method, &s.next).CallServerStream(ctx, newRequest(ctx, &anyMessage{req}))
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (t *connectTransport) invoke(ctx context.Context, method string, req, res proto.Message) error {
	_, err := t.call(method, &res).CallUnary(ctx, newRequest(ctx, &anyMessage{req}))
	return err
}

// call returns a client of one method, which fills in what res points to when a
// response comes.
func (t *connectTransport) call(method string, res *proto.Message) *connect.Client[anyMessage, anyMessage] {
	into := connect.WithResponseInitializer(func(_ connect.Spec, m any) error {
		m.(*anyMessage).Message = *res
		return nil
	})
	return connect.NewClient[anyMessage, anyMessage](t.client, t.url+method, append(slices.Clip(t.options), into)...)
}

// anyMessage holds any message, since a Connect client is bound to the types of one
// method.
type anyMessage struct{ proto.Message }

type connectStream struct {
	*connect.ServerStreamForClient[anyMessage]
	next proto.Message // to be filled in
}

func (s *connectStream) receive(res proto.Message) error {
	s.next = res
	if s.Receive() {
		return nil
	}
	if err := s.Err(); err != nil {
		return err
	}
	return io.EOF
}

func (s *connectStream) close() { _ = s.Close() }
