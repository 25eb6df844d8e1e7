package h2frames

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// pipe is a connection that reads what a client sent, in pieces as they came,
// and keeps what is written to it.
type pipe struct {
	net.Conn
	sent    [][]byte
	written bytes.Buffer
}

func (p *pipe) Read(b []byte) (int, error) {
	if len(p.sent) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.sent[0])
	if p.sent[0] = p.sent[0][n:]; len(p.sent[0]) == 0 {
		p.sent = p.sent[1:]
	}
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) { return p.written.Write(b) }

type pipeListener struct{ conn net.Conn }

func (l pipeListener) Accept() (net.Conn, error) { return l.conn, nil }
func (l pipeListener) Addr() net.Addr            { return nil }
func (l pipeListener) Close() error              { return nil }

// framesOver is a connection that cuts frames over a pipe.
func framesOver(t *testing.T, p *pipe) net.Conn {
	c, err := Listener{pipeListener{p}, 1000}.Accept()
	require.NoError(t, err)
	return c
}

// split cuts b into pieces of at most n bytes.
func split(b []byte, n int) (pieces [][]byte) {
	for ; len(b) > n; b = b[n:] {
		pieces = append(pieces, b[:n])
	}
	return append(pieces, b)
}

// opening is what a client opens a connection with, and a ping.
func opening(settings ...http2.Setting) []byte {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&b, nil)
	_ = f.WriteSettings(settings...)
	_ = f.WritePing(false, [8]byte{1, 2, 3})
	return b.Bytes()
}

// What net/http gets to read is what the client sent, but for the largest frame.
func TestFramesOpening(t *testing.T) {
	window := http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}
	size := func(n uint32) http2.Setting { return http2.Setting{ID: http2.SettingMaxFrameSize, Val: n} }
	many := make([]http2.Setting, 200)
	for i := range many {
		many[i] = window
	}
	for _, test := range []struct {
		name       string
		sent, want []byte
	}{
		{"HTTP/1", []byte("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), []byte("POST / HTTP/1.1\r\nHost: a\r\n\r\n")},
		{"less than a preface", []byte("PRI * HTTP/2.0\r\n"), []byte("PRI * HTTP/2.0\r\n")},
		{"nothing", nil, nil},
		{"no settings", opening(), opening(size(Large))},
		{"other settings", opening(window), opening(window, size(Large))},
		{"the same size", opening(size(Small), window), opening(size(Large), window)},
		{"larger frames", opening(window, size(20000)), opening(window, size(Large))},
		{"frames that are larger still", opening(size(Large + 1)), opening(size(Large + 1))},
		{"frames that are too small", opening(size(1000)), opening(size(1000))},
		{"too many settings", opening(many...), opening(many...)},
		{"acknowledgment", append([]byte(http2.ClientPreface), 0, 0, 0, 4, 1, 0, 0, 0, 0), append([]byte(http2.ClientPreface), 0, 0, 0, 4, 1, 0, 0, 0, 0)},
		{"half a header", opening()[:len(http2.ClientPreface)+4], opening()[:len(http2.ClientPreface)+4]},
		{"half of the settings", opening(window)[:len(http2.ClientPreface)+12], opening(window)[:len(http2.ClientPreface)+12]},
		{"another frame", append([]byte(http2.ClientPreface), "\x00\x00\x00\x06\x00\x00\x00\x00\x00"...), append([]byte(http2.ClientPreface), "\x00\x00\x00\x06\x00\x00\x00\x00\x00"...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, n := range []int{1, 7, 24, 33, 1 << 20} {
				got, err := io.ReadAll(framesOver(t, &pipe{sent: split(test.sent, n)}))
				require.NoError(t, err)
				require.True(t, bytes.Equal(test.want, got), "in pieces of %d: got %q", n, got)
			}
		})
	}
}

// A client may wait for the server's settings before it sends its own.
func TestFramesPrefaceIsHandedOver(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	c, err := Listener{pipeListener{server}, 1000}.Accept()
	require.NoError(t, err)
	defer c.Close()
	go func() { _, _ = client.Write([]byte(http2.ClientPreface)) }()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	got := make([]byte, len(http2.ClientPreface))
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, http2.ClientPreface, string(got))
}

// What a client that allows frames of a size gets is what was written, in frames
// of that size.
func FuzzFramesAreCut(f *testing.F) {
	f.Add(uint16(0), []byte{1, 0, 0, 4, 3, 5}, uint16(9), []byte("content"))
	f.Add(uint16(1), []byte{4, 4, 4}, uint16(4096), []byte{0})
	f.Add(uint16(20000), []byte{3, 2, 1, 0, 9}, uint16(65535), []byte("x"))
	f.Add(uint16(65535), []byte{5, 0xff}, uint16(1), []byte("xyz"))
	f.Fuzz(func(t *testing.T, more uint16, frames []byte, pieces uint16, content []byte) {
		limit := Small + int(more)
		p := &pipe{sent: [][]byte{opening(http2.Setting{ID: http2.SettingMaxFrameSize, Val: uint32(limit)})}}
		c := framesOver(t, p)
		_, err := io.ReadAll(c)
		require.NoError(t, err)

		var all bytes.Buffer
		to := http2.NewFramer(&all, nil)
		for i, b := range frames[:min(len(frames), 20)] {
			stream := uint32(b&1)*2 + 1
			payload := bytes.Repeat(append(content, byte(i)), 1+int(b)*4096/(1+len(content)))
			payload = payload[:min(len(payload), Large)]
			switch b % 4 {
			case 0:
				require.NoError(t, to.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: content[:min(len(content), Small)], EndHeaders: true, EndStream: true}))
			case 1:
				require.NoError(t, to.WriteData(stream, i%2 == 1, nil))
			default:
				require.NoError(t, to.WriteData(stream, i%2 == 0, payload))
			}
		}
		for _, piece := range split(all.Bytes(), 1+int(pieces)) {
			n, err := c.Write(piece)
			require.NoError(t, err)
			require.Equal(t, len(piece), n)
		}

		want, got := http2.NewFramer(nil, &all), http2.NewFramer(nil, &p.written)
		want.SetMaxReadFrameSize(Large)
		got.SetMaxReadFrameSize(uint32(limit))
		for {
			w, err := want.ReadFrame()
			if errors.Is(err, io.EOF) {
				_, err = got.ReadFrame()
				require.ErrorIs(t, err, io.EOF)
				return
			}
			require.NoError(t, err)
			wd, ok := w.(*http2.DataFrame)
			if !ok {
				g, err := got.ReadFrame()
				require.NoError(t, err)
				require.Equal(t, w.Header(), g.Header())
				require.Equal(t, w.(*http2.HeadersFrame).HeaderBlockFragment(), g.(*http2.HeadersFrame).HeaderBlockFragment())
				continue
			}
			for rest := wd.Data(); ; {
				g, err := got.ReadFrame()
				require.NoError(t, err)
				gd := g.(*http2.DataFrame)
				require.Equal(t, wd.StreamID, gd.StreamID)
				require.True(t, bytes.HasPrefix(rest, gd.Data()))
				if rest = rest[len(gd.Data()):]; len(rest) == 0 {
					require.Equal(t, wd.StreamEnded(), gd.StreamEnded())
					break
				}
				require.Len(t, gd.Data(), limit)
				require.False(t, gd.StreamEnded())
			}
		}
	})
}
