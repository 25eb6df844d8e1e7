package webconfig

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
)

// listener accepts connections with TLS. Whoever reads from one first shakes hands, under
// the deadline that it has: Accept waits for nobody.
type listener struct {
	net.Listener
	config *Config
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t := tls.Server(c, l.config.TLS())
	return &conn{Conn: t, tls: t, config: l.config}, nil
}

// conn is a connection with TLS that net/http takes for cleartext: it would shake hands
// itself, and serve HTTP/2 beneath what others do with the connection.
type conn struct {
	net.Conn
	tls    *tls.Conn // the same
	config *Config
	first  sync.Once
	state  *tls.ConnectionState // nil: nothing came of it
}

// Read implements [net.Conn]. A connection whose handshake fails ends there.
func (c *conn) Read(p []byte) (int, error) {
	c.first.Do(c.shakeHands)
	if c.state == nil {
		return 0, io.EOF
	}
	return c.Conn.Read(p)
}

func (c *conn) shakeHands() {
	err := c.tls.Handshake()
	if err == nil {
		state := c.tls.ConnectionState()
		c.state = &state
		return
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && looksLikeHTTP(record.RecordHeader[:]) {
		_, _ = io.WriteString(record.Conn, cleartext)
	}
	if errors.Is(err, io.EOF) {
		return // Who looks whether a port is open, as balancers do.
	}
	c.config.failed.Inc()
	c.config.log.Log(slog.LevelWarn, "tls handshake failed", "flag", c.config.flag, "peer", c.RemoteAddr().String(), "err", err)
}

// CloseWrite lets net/http end a response before it closes the connection.
func (c *conn) CloseWrite() error { return c.tls.CloseWrite() }

// cleartext is what net/http says to HTTP without TLS.
const cleartext = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

func looksLikeHTTP(header []byte) bool {
	return slices.Contains([]string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO"}, string(header))
}

type connKey struct{}

// ConnContext is for [http.Server.ConnContext], where [WithTLS] finds the connection.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	for {
		if with, ok := c.(*conn); ok {
			return context.WithValue(ctx, connKey{}, with)
		}
		within, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return ctx
		}
		c = within.NetConn()
	}
}

// WithTLS tells handlers of the connection's TLS, of which net/http does not know.
func WithTLS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*conn); ok {
			r = r.WithContext(r.Context()) // a copy
			r.TLS = c.state
		}
		next.ServeHTTP(w, r)
	})
}
