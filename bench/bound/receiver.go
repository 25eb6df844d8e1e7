package bound

import (
	"io"
	"net"
	"net/http"
	"slices"
)

// receiver answers a request when the forwarder has.
type receiver struct {
	forwarder string
	idle      chan *link
}

// link is a connection to the forwarder, which one request has at a time.
type link struct {
	conn  net.Conn
	frame []byte
}

func newReceiver(forwarder string) *receiver {
	return &receiver{forwarder: forwarder, idle: make(chan *link, 64)}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if err := r.pass(request); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) pass(request *http.Request) error {
	var l *link
	select {
	case l = <-r.idle:
	default:
		conn, err := net.Dial("tcp", r.forwarder)
		if err != nil {
			return err
		}
		l = &link{conn: conn}
	}
	size := lengthSize + int(request.ContentLength)
	l.frame = slices.Grow(l.frame[:0], size)[:size]
	_, err := io.ReadFull(request.Body, l.frame[lengthSize:])
	if err == nil {
		err = exchange(l.conn, l.frame)
	}
	if err != nil {
		_ = l.conn.Close()
		return err
	}
	select {
	case r.idle <- l:
	default:
		_ = l.conn.Close()
	}
	return nil
}
