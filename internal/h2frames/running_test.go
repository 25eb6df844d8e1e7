package h2frames

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	mostStreams = 8
	mostSteps   = 100
	mostPieces  = 100
	patience    = time.Minute

	severed = "severed"
)

// content is what answers are pieces of. A byte in the wrong place shows, and much
// of it looks like frames.
var content = func() []byte {
	b := make([]byte, 512<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	for i := range b {
		if i%1000 < 700 {
			b[i] = 0
		}
	}
	return b
}()

// plan says what an answer is like. It is the path of the request.
type plan struct {
	From, Size, Write      int
	Flush, Trailer, Header bool
}

const planned = "/%d/%d/%d/%t/%t/%t"

func (p plan) path() string {
	return fmt.Sprintf(planned, p.From, p.Size, p.Write, p.Flush, p.Trailer, p.Header)
}

// answer answers by the request's plan, when it has read its body.
func answer(w http.ResponseWriter, r *http.Request) {
	var p plan
	_, err := fmt.Sscanf(r.URL.Path, planned, &p.From, &p.Size, &p.Write, &p.Flush, &p.Trailer, &p.Header)
	body, failed := io.ReadAll(r.Body)
	if err != nil || failed != nil {
		return
	}
	w.Header().Set("Received", digest(body))
	if p.Header {
		w.Header().Set("Large", strings.Repeat("x", 3*Small))
	}
	if p.Trailer {
		w.Header().Set("Trailer", "Last")
	}
	for rest := content[p.From:][:p.Size]; len(rest) > 0; {
		n, err := w.Write(rest[:min(len(rest), p.Write)])
		if err != nil {
			return
		}
		if p.Flush {
			w.(http.Flusher).Flush()
		}
		rest = rest[n:]
	}
	w.Header().Set("Last", "true")
}

func digest(b []byte) string { return fmt.Sprint(len(b), "-", crc32.ChecksumIEEE(b)) }

// chopped gives few bytes at a time, and writes the first of each write in pieces.
// Sizes of 0 are none.
type chopped struct {
	net.Conn
	read, write int
}

func (c chopped) Read(p []byte) (int, error) {
	if c.read > 0 {
		p = p[:min(len(p), c.read)]
	}
	return c.Conn.Read(p)
}

func (c chopped) Write(p []byte) (n int, err error) {
	for range mostPieces {
		if c.write == 0 || len(p)-n <= c.write {
			break
		}
		some, err := c.Conn.Write(p[n:][:c.write])
		if n += some; err != nil {
			return n, err
		}
	}
	some, err := c.Conn.Write(p[n:])
	return n + some, err
}

// chopping accepts connections that are chopped, unless both sizes are 0.
type chopping struct {
	net.Listener
	read, write atomic.Int64
}

func (l *chopping) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	read, write := int(l.read.Load()), int(l.write.Load())
	if err != nil || read == 0 && write == 0 {
		return c, err
	}
	return chopped{c, read, write}, nil
}

// played is how a connection came to its end.
type played struct {
	end       string // why it ended before the script did
	completed []uint32
}

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

// script says what a client does, a byte or a few for a step.
type script []byte

func (s *script) byte() (b byte) {
	if len(*s) > 0 {
		b, *s = (*s)[0], (*s)[1:]
	}
	return b
}

func (s *script) word() int { return int(s.byte())<<8 | int(s.byte()) }

// size is one of those at which something changes, or any other.
func (s *script) size() uint32 {
	known := []uint32{Small, Small + 1, 20000, 65535, Large - 1, Large, Large + 1, 1 << 20, 1<<24 - 1}
	if b := s.byte(); int(b) < len(known) {
		return known[b]
	}
	return Small + uint32(s.word())
}

// open sends the preface and the first settings.
func (c *client) open(s *script) {
	c.pending.WriteString(http2.ClientPreface)
	b := s.byte()
	if b&1 != 0 {
		_ = c.out.WriteSettingsAck()
	}
	var settings []http2.Setting
	if b&2 != 0 {
		settings = append(settings, http2.Setting{ID: http2.SettingInitialWindowSize, Val: s.size()})
	}
	if b&4 != 0 {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxFrameSize, Val: s.size()})
	}
	if b&8 != 0 {
		for i := range s.byte() % 100 {
			settings = append(settings, http2.Setting{ID: 0x1000 + http2.SettingID(i), Val: 1})
		}
	}
	if b&16 != 0 {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxFrameSize, Val: uint32(s.word())})
	}
	c.set(settings...)
}

// set sends settings.
func (c *client) set(settings ...http2.Setting) {
	c.mu.Lock()
	now := c.settings[len(c.settings)-1]
	for _, s := range settings {
		switch s.ID {
		case http2.SettingInitialWindowSize:
			now.window = int64(s.Val)
		case http2.SettingMaxFrameSize:
			now.frame = int64(s.Val)
		}
	}
	c.settings = append(c.settings, now)
	c.mu.Unlock()
	_ = c.out.WriteSettings(settings...)
}

// call sends the headers of a call.
func (c *client) call(s *script) {
	if c.next > 2*mostStreams {
		return
	}
	flags := s.byte()
	p := plan{
		From: int(s.byte()), Size: 4 * s.word(), Write: 1 + 2*s.word(),
		Flush: flags&1 != 0, Trailer: flags&2 != 0, Header: flags&4 != 0,
	}
	p.Write = max(p.Write, p.Size/100)
	c.mu.Lock()
	c.streams[c.next] = &stream{plan: p, sent: flags&8 == 0}
	c.mu.Unlock()
	c.block.Reset()
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "test"}, {":path", p.path()}} {
		_ = c.hpack.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	rest := c.block.Bytes()
	if flags&16 != 0 {
		rest = rest[:len(rest)/2]
	}
	_ = c.out.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next, BlockFragment: rest, EndStream: flags&8 == 0, EndHeaders: flags&16 == 0})
	if flags&16 != 0 {
		_ = c.out.WriteContinuation(c.next, true, c.block.Bytes()[len(rest):])
	}
	c.next += 2
}

// send sends a part of a request's body.
func (c *client) send(id uint32, n int, end bool, padding []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id]
	if s == nil || s.sent || s.reset {
		return
	}
	part := content[:n]
	s.body, s.sent = append(s.body, part...), end
	_ = c.out.WriteDataPadded(id, end, part, padding)
}

// credit adds to the window of a stream, or of the connection.
func (c *client) credit(id, n uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == 0 {
		c.credited += int64(n)
	} else if s := c.streams[id]; s != nil && !s.reset {
		s.credited += int64(n)
	} else {
		return
	}
	_ = c.out.WriteWindowUpdate(id, n)
}

// cancel resets a stream.
func (c *client) cancel(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil && !s.reset {
		s.reset = true
		_ = c.out.WriteRSTStream(id, http2.ErrCodeCancel)
	}
}

// ping sends a ping, and returns how many will be answered with it.
func (c *client) ping() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	data := [8]byte{byte(c.pinged + len(c.pings)), byte(http2.FrameHeaders)}
	c.pings = append(c.pings, ping{data, len(c.settings) - 1})
	_ = c.out.WritePing(false, data)
	return c.pinged + len(c.pings)
}

// flush writes what is pending. That it cannot be written is seen by reading.
func (c *client) flush() {
	for _, piece := range split(c.pending.Bytes(), c.piece) {
		_, _ = c.conn.Write(piece)
	}
	c.pending.Reset()
}

// wait waits for something, or the end.
func (c *client) wait(until func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.over && !until() {
		c.changed.Wait()
	}
}

func (c *client) meet(n int) {
	c.flush()
	c.wait(func() bool { return c.pinged >= n })
}

// play does the steps of a script. It returns false when the script ended the
// connection.
func (c *client) play(s *script) bool {
	for range mostSteps {
		if len(*s) == 0 {
			return true
		}
		step := s.byte()
		id := uint32(step>>4)%mostStreams*2 + 1
		switch step % 16 {
		case 0, 1, 2:
			c.call(s)
		case 3:
			c.set(http2.Setting{ID: http2.SettingMaxFrameSize, Val: s.size()})
		case 4:
			c.set(http2.Setting{ID: http2.SettingInitialWindowSize, Val: s.size() - Small})
		case 5:
			c.set(http2.Setting{ID: http2.SettingInitialWindowSize, Val: s.size()}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: s.size()})
		case 6:
			c.ping()
		case 7:
			c.credit(0, s.size())
		case 8, 9:
			c.credit(id, 1+4*uint32(s.word()))
		case 10:
			c.cancel(id)
		case 11:
			c.send(id, s.word()%2000, step&128 != 0, content[:s.byte()%16])
		case 12:
			c.flush()
		case 13:
			c.meet(c.ping())
		case 14:
			c.wrong(s.byte())
		case 15:
			c.sever(s.word())
			return false
		}
	}
	return true
}

// wrong sends what a server answers with the end of the connection.
func (c *client) wrong(what byte) {
	switch what % 6 {
	case 0:
		_ = c.out.WriteSettingsAck() // The first is right.
	case 1:
		c.set(http2.Setting{ID: http2.SettingMaxFrameSize, Val: Small - 1})
	case 2:
		c.set(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
	case 3:
		c.set(http2.Setting{ID: http2.SettingMaxFrameSize, Val: Large}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: Small})
	case 4:
		_ = c.out.WriteRawFrame(http2.FrameSettings, 0, 0, []byte{0, 5, 0})
	case 5:
		_ = c.out.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8))
	}
}

// sever ends the connection within what is pending.
func (c *client) sever(without int) {
	c.pending.Truncate(max(0, c.pending.Len()-without))
	c.flush()
	c.mu.Lock()
	c.end = severed
	c.mu.Unlock()
	_ = c.conn.(*net.UnixConn).CloseWrite()
	c.wait(func() bool { return false })
}

// finish lets all calls come to their end.
func (c *client) finish() {
	c.credit(0, 1<<24)
	for id := uint32(1); id < c.next; id += 2 {
		c.send(id, 1, true, nil)
		c.credit(id, 1<<24)
	}
	c.meet(c.ping())
	c.wait(func() bool {
		for _, s := range c.streams {
			if !s.ended && !s.reset {
				return false
			}
		}
		return true
	})
}

// run plays a script at a server.
func run(t *testing.T, address net.Addr, piece int, s script) played {
	c := dial(t, address, piece)
	var reading sync.WaitGroup
	reading.Go(c.read)
	c.open(&s)
	if c.play(&s) {
		c.finish()
	}
	c.mu.Lock()
	p := played{end: c.end}
	if p.end == "" {
		for _, id := range slices.Sorted(maps.Keys(c.streams)) {
			if !c.streams[id].reset {
				p.completed = append(p.completed, id)
			}
		}
	}
	require.NoError(t, c.fault)
	c.end = "done"
	c.mu.Unlock()
	_ = c.conn.Close()
	reading.Wait()
	return p
}

// Whatever a client says while streams run, and wherever its bytes and net/http's
// are cut, it gets what it would get from net/http itself: each answer whole and
// in order, its windows and its largest frame kept, every ping answered in turn.
func FuzzRunningStreams(f *testing.F) {
	listen := func(name string) net.Listener {
		l, err := net.Listen("unix", filepath.Join(f.TempDir(), name))
		require.NoError(f, err)
		return l
	}
	plain := listen("plain")
	below := &chopping{Listener: listen("cut")}
	above := &chopping{Listener: Listener{below, mostSteps}}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: http.HandlerFunc(answer), Protocols: protocols, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	for _, l := range []net.Listener{plain, above} {
		serving.Go(func() { _ = server.Serve(l) })
	}
	f.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})

	large := []byte{0, 0, 5, 0x80, 0, 0xff, 0xff} // An answer of 128 KiB, written at once,
	small := []byte{0, 3, 6, 0x20, 0, 0, 0xff}    // and one of 32 KiB in pieces, with a trailer.
	upload := []byte{0, 8 + 16, 7, 0x40, 0, 0x10, 0}
	room := []byte{7, 7, 8, 0xff, 0xff, 24, 0xff, 0xff} // for both
	script := func(steps ...[]byte) []byte { return slices.Concat(steps...) }
	f.Add(uint16(0xffff), uint16(0), uint16(0), script([]byte{0}, large, small, room, []byte{13}))
	f.Add(uint16(8), uint16(5), uint16(3), script([]byte{6, 6, 2}, large, room, []byte{13}, small, []byte{10}))
	f.Add(uint16(100), uint16(9), uint16(1000), script([]byte{2, 7}, large, small, room, []byte{3, 7, 6, 3, 0, 6, 4, 0, 13, 4, 5, 3, 5}, room))
	f.Add(uint16(0), uint16(1), uint16(1), script([]byte{12, 5, 90}, small, room, []byte{6, 13, 26}))
	f.Add(uint16(9), uint16(0), uint16(9000), script([]byte{1}, upload, large, []byte{5, 5, 5, 11, 1, 0, 9, 12, 13, 128 + 11, 2, 0, 0}, room))
	f.Add(uint16(0xffff), uint16(0), uint16(0), script([]byte{0}, large, room, []byte{6, 15, 0, 10}))
	f.Add(uint16(0xffff), uint16(0), uint16(0), script([]byte{2, 0}, large, []byte{7, 8, 13}, small))
	for wrong := range byte(6) {
		f.Add(uint16(30), uint16(20), uint16(10), script([]byte{0}, large, room, []byte{14, wrong, 14, wrong}))
	}
	f.Add(uint16(30), uint16(0), uint16(0), script([]byte{16, 0x3f, 0xff}, large, room))
	f.Add(uint16(30), uint16(0), uint16(9), script([]byte{16, 0x40, 0}, small, large, room))

	f.Fuzz(func(t *testing.T, piece, under, over uint16, steps []byte) {
		want := run(t, plain.Addr(), 1<<20, steps)
		below.read.Store(int64(under))
		above.write.Store(int64(over))
		require.Equal(t, want, run(t, above.Addr(), 1+int(piece), steps))
	})
}
