package h2frames

import (
	"net"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	mostStreams = 8
	mostSteps   = 100
)

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
