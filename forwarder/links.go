package forwarder

import (
	"sync"

	"github.com/promgrpc/exporter/internal/link"
)

// links are those of receivers, each with the placement by which it writes.
type links struct {
	mu   sync.Mutex
	open map[*linked]struct{}
}

// linked is one of them.
type linked struct {
	conn    *link.Conn
	version uint64 // of its placement
	newer   uint64 // for which it was ended, 0 if it was not
}

// add notes a link, before it is known whether its placement is the newest.
func (l *links) add(c *link.Conn, version uint64) *linked {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := &linked{conn: c, version: version}
	l.open[k] = struct{}{}
	return k
}

// remove forgets a link, and returns what its receiver is told if it was ended.
func (l *links) remove(k *linked) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, k)
	if k.newer > 0 {
		return &link.MisplacedError{Version: k.newer, Err: errOutdated}
	}
	return nil
}

// endOlder ends the reading of all links that have an older placement.
func (l *links) endOlder(version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.open {
		if k.version < version {
			k.newer = version
			k.conn.Interrupt()
		}
	}
}
