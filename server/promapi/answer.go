package promapi

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

const jsonType = "application/json"

// answer is what a request came to.
type answer struct {
	// data appends the JSON of the data. Nil: there is none, and that is no error.
	data            func(*encoder)
	warnings, infos []string
	// release gives back what the data is made from. Nil: nothing.
	release func()
}

// send writes an answer. What is large is compressed if the caller takes that.
func (a *answer) send(w http.ResponseWriter, r *http.Request) {
	if a.release != nil {
		defer a.release()
	}
	if a.data == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body := &body{w: w, compress: takesGzip(r.Header)}
	e := &encoder{out: body, buf: make([]byte, 0, 2*pieceSize)}
	e.raw(`{"status":"success","data":`)
	a.data(e)
	e.texts(`,"warnings":`, a.warnings)
	e.texts(`,"infos":`, a.infos)
	e.raw("}")
	body.last = true
	e.write()
	if err := body.close(); err != nil || e.err != nil {
		// The caller must not take it for complete.
		panic(http.ErrAbortHandler)
	}
}

// texts appends a member that is a list of strings, unless it is empty.
func (e *encoder) texts(member string, list []string) {
	if len(list) == 0 {
		return
	}
	e.raw(member)
	e.list(len(list), func(i int) { e.text(list[i]) })
}

// leastCompressed is a body for which compression pays.
const leastCompressed = 1 << 10

// body is that of an answer, whose head is written with its first bytes.
type body struct {
	w        http.ResponseWriter
	compress bool
	last     bool // says that all of it is written at once, if nothing was yet
	out      io.Writer
	gzip     *gzip.Writer
}

// gzipWriters are kept, since a new one takes more than most answers.
var gzipWriters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is valid
	return w
}}

// Write implements [io.Writer].
func (b *body) Write(p []byte) (int, error) {
	if b.out == nil {
		b.start(len(p))
	}
	return b.out.Write(p)
}

func (b *body) start(size int) {
	h := b.w.Header()
	h.Set("Content-Type", jsonType)
	b.out = b.w
	switch {
	case b.last && (!b.compress || size < leastCompressed):
		h.Set("Content-Length", strconv.Itoa(size))
	case b.compress:
		h.Set("Content-Encoding", "gzip")
		b.gzip = gzipWriters.Get().(*gzip.Writer)
		b.gzip.Reset(b.w)
		b.out = b.gzip
	}
	b.w.WriteHeader(http.StatusOK)
}

func (b *body) close() error {
	if b.gzip == nil {
		return nil
	}
	err := b.gzip.Close()
	b.gzip.Reset(io.Discard)
	gzipWriters.Put(b.gzip)
	return err
}

// takesGzip says whether the caller understands gzip.
func takesGzip(h http.Header) bool {
	for _, line := range h.Values("Accept-Encoding") {
		for one := range strings.SplitSeq(line, ",") {
			name, parameter, _ := strings.Cut(one, ";")
			if strings.TrimSpace(name) != "gzip" {
				continue
			}
			weight, weighted := strings.CutPrefix(strings.TrimSpace(parameter), "q=")
			q, err := strconv.ParseFloat(weight, 64)
			return !weighted || err == nil && q > 0
		}
	}
	return false
}
