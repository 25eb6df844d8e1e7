package webconfig

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// counted counts the writes to a connection: under TLS, its records.
type counted struct {
	net.Listener
	writes atomic.Int64
}

func (c *counted) Accept() (net.Conn, error) {
	accepted, err := c.Listener.Accept()
	return &countedConn{accepted, c}, err
}

type countedConn struct {
	net.Conn
	of *counted
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.of.writes.Add(1)
	return c.Conn.Write(p)
}

// Pieces of any size arrive as one, in as few records as there can be.
func TestWriteBuffers(t *testing.T) {
	f := newFolder(t)
	config, err := Open("--web.config.file", f.write("web.yml", withTLS), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer tcp.Close()
	l := &counted{Listener: tcp}
	var pieces net.Buffers
	for _, size := range []int{9, recordSize, 9, 1, 0, recordSize - 1, 3 * recordSize, 9, 100} {
		piece := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(piece)
		pieces = append(pieces, piece)
	}
	whole := bytes.Join(pieces, nil)
	const times = 50 // Go's TLS begins with small records.
	got := make(chan []byte, 1)
	go func() {
		client, err := tls.Dial("tcp", tcp.Addr().String(), f.clientTLS(nil))
		if err != nil {
			close(got)
			return
		}
		defer client.Close()
		_, _ = client.Write([]byte("x"))
		all, _ := io.ReadAll(client)
		got <- all
	}()
	c, err := config.Listener(l).Accept()
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 1))
	require.NoError(t, err)
	var last int64
	for range times {
		before := l.writes.Load()
		require.NoError(t, c.(*conn).WriteBuffers(pieces))
		last = l.writes.Load() - before
	}
	require.NoError(t, c.(*conn).WriteBuffers(nil))
	require.NoError(t, c.Close())
	require.True(t, bytes.Equal(bytes.Repeat(whole, times), <-got))
	require.EqualValues(t, (len(whole)+recordSize-1)/recordSize, last)
}
