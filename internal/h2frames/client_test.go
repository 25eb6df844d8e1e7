package h2frames

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	patience = time.Minute
	severed  = "severed" // how a connection ended that the client broke off
)

// stream is a call as the client sees it.
type stream struct {
	plan
	body     []byte // that was sent
	sent     bool   // all of it
	reset    bool   // by the client
	got      int    // of the answer's content
	headers  bool
	ended    bool
	credited int64 // what the client added to its window
}

// allowed are the settings that say what a server may send.
type allowed struct{ frame, window int64 }

// ping is one under way, with the settings that were sent before it.
type ping struct {
	data     [8]byte
	settings int
}

// client plays a script and holds against the model of it what comes.
type client struct {
	conn    net.Conn
	piece   int // how many bytes are written at a time
	pending bytes.Buffer
	out     *http2.Framer // to pending
	hpack   *hpack.Encoder
	block   bytes.Buffer // of headers, that hpack writes

	fields   *hpack.Decoder
	fragment []byte // of headers that come
	ending   bool   // the stream ends with them

	mu       sync.Mutex
	changed  *sync.Cond
	settings []allowed // those that were sent, after those that hold for all
	known    int       // the server applies these, or later ones
	acks     int
	pings    []ping
	pinged   int
	streams  map[uint32]*stream
	next     uint32
	got      int64 // content in all
	credited int64 // what was added to the connection's window
	end      string
	fault    error
	over     bool // nothing more comes
}

func dial(t *testing.T, address net.Addr, piece int) *client {
	conn, err := net.Dial(address.Network(), address.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	c := &client{conn: conn, piece: piece, settings: []allowed{{Small, 65535}}, streams: map[uint32]*stream{}, next: 1}
	c.changed = sync.NewCond(&c.mu)
	c.out = http2.NewFramer(&c.pending, nil)
	c.out.AllowIllegalWrites = true
	c.fields = hpack.NewDecoder(4096, nil)
	c.hpack = hpack.NewEncoder(&c.block)
	return c
}

// read reads until the connection ends, or something is wrong.
func (c *client) read() {
	in := http2.NewFramer(nil, c.conn)
	in.SetMaxReadFrameSize(1<<24 - 1)
	for over := false; !over; {
		frame, err := in.ReadFrame()
		c.mu.Lock()
		switch {
		case errors.Is(err, io.EOF):
			over = true
			if c.end == "" {
				c.end = "closed"
			}
		case err != nil && c.end != "" && !errors.Is(err, os.ErrDeadlineExceeded):
			over = true
		case err != nil:
			c.fault = fmt.Errorf("read: %w", err)
		default:
			c.fault = c.look(frame)
		}
		over = over || c.fault != nil || c.end != "" && c.end != severed
		c.over = over
		c.changed.Broadcast()
		c.mu.Unlock()
	}
}

// look holds a frame against the model.
func (c *client) look(frame http2.Frame) error {
	most := allowed{}
	for _, s := range c.settings[c.known:] {
		most = allowed{max(most.frame, s.frame), max(most.window, s.window)}
	}
	h := frame.Header()
	if int64(h.Length) > most.frame {
		return fmt.Errorf("%v is larger than %d", h, most.frame)
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			c.acks++
			c.known = max(c.known, c.acks)
		}
		if c.acks >= len(c.settings) {
			return errors.New("more settings are acknowledged than were sent")
		}
	case *http2.PingFrame:
		if len(c.pings) == 0 || f.Data != c.pings[0].data || !f.IsAck() {
			return fmt.Errorf("%v is not the answer to the oldest of %d", f, len(c.pings))
		}
		c.known = max(c.known, c.pings[0].settings)
		c.pings = c.pings[1:]
		c.pinged++
	case *http2.WindowUpdateFrame:
	case *http2.GoAwayFrame:
		if c.end == "" {
			c.end = f.ErrCode.String()
		}
	case *http2.HeadersFrame:
		c.ending = f.StreamEnded()
		return c.headers(f.StreamID, f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.ContinuationFrame:
		return c.headers(f.StreamID, f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.DataFrame:
		return c.data(f, most.window)
	default:
		return fmt.Errorf("unexpected: %v", f)
	}
	return nil
}

// headers takes a piece of headers, and looks at them when they are whole.
func (c *client) headers(id uint32, piece []byte, whole bool) error {
	c.fragment = append(c.fragment, piece...)
	if !whole {
		return nil
	}
	fields, err := c.fields.DecodeFull(c.fragment)
	c.fragment = c.fragment[:0]
	s := c.streams[id]
	if err != nil || s == nil || s.ended || s.headers && !c.ending {
		return fmt.Errorf("headers of stream %d are out of place: %w", id, err)
	}
	values := map[string]string{}
	for _, field := range fields {
		values[field.Name] = field.Value
	}
	switch {
	case s.headers && values["last"] != "true":
		return fmt.Errorf("%v is no trailer", fields)
	case !s.headers && (values[":status"] != "200" || values["received"] != digest(s.body) || s.Header && len(values["large"]) != 3*Small):
		return fmt.Errorf("%v are of another answer than %s with %s", fields, s.path(), digest(s.body))
	}
	s.headers = true
	return s.end(c.ending)
}

func (c *client) data(f *http2.DataFrame, window int64) error {
	s, n := c.streams[f.StreamID], len(f.Data())
	if s == nil || s.ended || !s.headers {
		return fmt.Errorf("%v is out of place", f)
	}
	c.got += int64(n)
	if n > 0 && (c.got > 65535+c.credited || int64(s.got+n) > window+s.credited) {
		return fmt.Errorf("%v is beyond a window: %d of %d, in all %d of %d", f, s.got+n, window+s.credited, c.got, 65535+c.credited)
	}
	if s.got+n > s.Size || !bytes.Equal(f.Data(), content[s.From+s.got:][:n]) {
		return fmt.Errorf("%v has other bytes than the answer at %d", f, s.got)
	}
	s.got += n
	return s.end(f.StreamEnded())
}

func (s *stream) end(ended bool) error {
	if s.ended = ended; ended && s.got != s.Size && !s.reset {
		return fmt.Errorf("the answer ended after %d bytes of %d", s.got, s.Size)
	}
	return nil
}
