package h2frames

import (
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// mostPieces is how many pieces the beginning of a write is chopped into.
const mostPieces = 100

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

func listen(f *testing.F) net.Listener {
	l, err := net.Listen("unix", filepath.Join(f.TempDir(), "socket"))
	require.NoError(f, err)
	return l
}

// serveHTTP has net/http serve listeners until the test ends.
func serveHTTP(f *testing.F, listeners ...net.Listener) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: http.HandlerFunc(answer), Protocols: protocols, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() { _ = server.Serve(l) })
	}
	f.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
}

// played is how a connection came to its end.
type played struct {
	end       string // why it ended before the script did
	completed []uint32
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
	fault := c.fault
	c.end = "done"
	c.mu.Unlock()
	_ = c.conn.Close()
	reading.Wait()
	require.NoError(t, fault)
	return p
}

// Whatever a client says while streams run, and wherever its bytes and net/http's
// are cut, it gets what it would get from net/http itself: each answer whole and
// in order, its windows and its largest frame kept, every ping answered in turn.
func FuzzRunningStreams(f *testing.F) {
	plain := listen(f)
	below := &chopping{Listener: listen(f)}
	above := &chopping{Listener: Listener{below, mostSteps}}
	serveHTTP(f, plain, above)

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
