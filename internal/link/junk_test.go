package link

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

// attack sends bytes and returns what came back before the connection ended.
func attack(t *testing.T, addr string, in []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	_, _ = conn.Write(in)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	out, err := io.ReadAll(conn)
	if err != nil { // A reset is an end, too.
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	}
	return out
}

func TestJunkHurtsNobodyElse(t *testing.T) {
	s := serve(t, Options{HandshakeTimeout: 100 * time.Millisecond}, echo)
	good := dial(t, s.addr, Options{})
	helloFrame := func(version uint32) []byte {
		return encode(t, &linkv1.Frame{Kind: &linkv1.Frame_Hello{Hello: &linkv1.Hello{Version: version}}})
	}
	cases := []struct {
		name, reason string
		in           []byte
	}{
		{"http", reasonJunk, []byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n" + string(make([]byte, 100)))},
		{"tls", reasonTLS, []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + string(make([]byte, 100)))},
		{"long hello", reasonSize, append(protowire.AppendVarint(nil, maxHandshake+1), make([]byte, maxHandshake+1)...)},
		{"long name", reasonJunk, encode(t, &linkv1.Frame{Kind: &linkv1.Frame_Hello{Hello: &linkv1.Hello{
			Version: Version, Instance: strings.Repeat("x", maxInstance+1),
		}}})},
		{"batch before hello", reasonJunk, encode(t, batch(1, nil))},
		{"other version", reasonVersion, helloFrame(2)},
		{"silence", reasonTimeout, nil},
		{"half a hello", reasonTimeout, helloFrame(1)[:2]},
		{"second hello", reasonJunk, append(helloFrame(1), helloFrame(1)...)},
		{"junk after hello", reasonJunk, append(helloFrame(1), 0)},
		{"verdict as a bomb", reasonSize, append(helloFrame(1), verdictOf(MaxSmall+1)...)},
		{"huge frame after hello", reasonSize, append(helloFrame(1), 0xff, 0xff, 0xff, 0xff, 0x0f)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := s.rejected(c.reason)
			out := attack(t, s.addr, c.in)
			require.Eventually(t, func() bool { return s.rejected(c.reason) == before+1 }, 30*time.Second, 5*time.Millisecond)
			if c.reason == reasonVersion {
				require.Contains(t, string(out), "version 2 of the protocol is not spoken here")
			}
			roundTrip(t, good, 100)
		})
	}
	require.Contains(t, s.log.String(), `msg="link rejected"`)
	require.Contains(t, s.log.String(), "reason=junk")
}

func TestPortCheckIsNoNews(t *testing.T) {
	s := serve(t, Options{}, echo)
	conn, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	s.stop()
	require.Empty(t, s.log.String())
}

func TestTooManyConnections(t *testing.T) {
	s := serve(t, Options{MaxConns: 2}, echo)
	first, second := dial(t, s.addr, Options{}), dial(t, s.addr, Options{})
	_, _, err := Dial(context.Background(), s.addr, hello(), Options{})
	require.Error(t, err)
	require.Equal(t, 1, s.rejected(reasonConnections))
	roundTrip(t, first, 10)
	require.NoError(t, second.Close())
	require.Eventually(t, func() bool {
		c, _, err := Dial(context.Background(), s.addr, hello(), Options{})
		if err == nil {
			roundTrip(t, c, 10)
			_ = c.Close()
		}
		return err == nil
	}, 30*time.Second, 20*time.Millisecond)
}

// TestPeerHasItsShareOfConnections checks that one machine cannot have all of them.
func TestPeerHasItsShareOfConnections(t *testing.T) {
	s := serve(t, Options{MaxConns: 4, PeerShare: 50}, echo)
	for range 2 {
		dial(t, s.addr, Options{})
	}
	_, _, err := Dial(context.Background(), s.addr, hello(), Options{})
	require.Error(t, err)
	require.Equal(t, 1, s.rejected(reasonConnections))
	require.Contains(t, s.log.String(), flagConns)
	roundTrip(t, dialFrom(t, s.addr, "127.0.0.2"), 10)
}

func TestDialRefusesStrangeAnswers(t *testing.T) {
	for name, answer := range map[string][]byte{
		"http":          []byte("HTTP/1.1 400 Bad Request\r\n\r\n" + string(make([]byte, 100))),
		"no welcome":    encode(t, verdict(1)),
		"other version": encode(t, &linkv1.Frame{Kind: &linkv1.Frame_Welcome{Welcome: &linkv1.Welcome{Version: 2}}}),
		"long welcome":  append(protowire.AppendVarint(nil, maxHandshake+1), make([]byte, 100)...),
		"long name": encode(t, &linkv1.Frame{Kind: &linkv1.Frame_Welcome{Welcome: &linkv1.Welcome{
			Version: Version, Instance: strings.Repeat("x", maxInstance+1),
		}}}),
		"nothing at all": nil,
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 1000))
				_, _ = conn.Write(answer)
			}()
			_, _, err = Dial(context.Background(), l.Addr().String(), hello(), Options{})
			require.Error(t, err)
			<-done
		})
	}
}
