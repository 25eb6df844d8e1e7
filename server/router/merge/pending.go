package merge

import (
	"github.com/promgrpc/exporter/internal/h2frames"
	"github.com/promgrpc/exporter/server/call"
)

// mostJoined is as large as a response gets by joining others: as large as a server's. One
// that comes larger stays as it is.
const mostJoined = h2frames.Large - 1<<10

// pending is what came of a group and was not taken yet: the series of one response or of
// several, and what the last of them says.
type pending struct {
	wire   []byte // with room for a prefix
	cursor string // "": none that the call does not have
	gap    []byte // nil: none. Nothing comes after it
	synced bool
	ended  bool
}

func newPending() pending { return pending{wire: make([]byte, call.PrefixSize)} }

// hasSeries says whether there is more than a cursor and events.
func (p *pending) hasSeries() bool { return len(p.wire) > call.PrefixSize }

// urgent says whether the client has to get it now.
func (p *pending) urgent() bool { return p.hasSeries() || p.gap != nil || p.synced || p.ended }

// fits says whether the series of another response can be added.
func (p *pending) fits(series int) bool {
	return p.gap == nil && !p.ended && (!p.hasSeries() || len(p.wire)+series <= mostJoined)
}

// add adds a response.
func (p *pending) add(r response) {
	p.wire = append(p.wire, r.series...)
	if len(r.cursor) > 0 {
		p.cursor = string(r.cursor)
	}
	switch r.event {
	case fieldSynced:
		p.synced = true
	case fieldEnd:
		p.ended = true
	case fieldGap:
		p.gap = append([]byte{}, r.content...)
	}
}

// most is what its buffers may keep when they are empty.
const most = 1 << 20

// reset empties it.
func (p *pending) reset() {
	if cap(p.wire) > most {
		p.wire = make([]byte, call.PrefixSize)
	}
	p.wire, p.cursor, p.gap, p.synced, p.ended = p.wire[:call.PrefixSize], "", nil, false, false
}

func (p *pending) bytes() int64 { return int64(cap(p.wire)) }
