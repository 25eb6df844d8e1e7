package merge

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/server/call"
)

// joined is the response to the client that is being made, as wire bytes with room for a
// prefix: the series of one group's responses after those of another's, then a cursor of
// all, then an event.
type joined struct {
	wire   []byte
	gap    []byte // nil: none. It goes with this response
	forget bool   // the client has to forget all references first
}

func newJoined() joined { return joined{wire: make([]byte, call.PrefixSize)} }

// empty says whether there is nothing that a client has to get.
func (j *joined) empty() bool { return len(j.wire) == call.PrefixSize && j.gap == nil }

// join takes what came of a group, and says false where it has to wait for the next
// response. The first is taken as it is.
func (j *joined) join(in *pending) bool {
	switch {
	case j.gap != nil:
		return false
	case len(j.wire) == call.PrefixSize:
		j.wire, in.wire = in.wire, j.wire
	case in.hasSeries() && len(j.wire)+len(in.wire) > mostJoined:
		return false
	default:
		j.wire = append(j.wire, in.wire[call.PrefixSize:]...)
	}
	j.gap = in.gap
	return true
}

// complete adds what comes after the series.
func (j *joined) complete(cursor string, event protowire.Number, content []byte) []byte {
	if cursor != "" {
		j.wire = protowire.AppendTag(j.wire, fieldCursor, protowire.BytesType)
		j.wire = protowire.AppendString(j.wire, cursor)
	}
	if j.forget {
		j.wire = protowire.AppendTag(j.wire, fieldForget, protowire.VarintType)
		j.wire = protowire.AppendVarint(j.wire, 1)
	}
	if event != 0 {
		j.wire = protowire.AppendTag(j.wire, event, protowire.BytesType)
		j.wire = protowire.AppendBytes(j.wire, content)
	}
	return j.wire
}

func (j *joined) reset() {
	if cap(j.wire) > most {
		j.wire = make([]byte, call.PrefixSize)
	}
	j.wire, j.gap, j.forget = j.wire[:call.PrefixSize], nil, false
}
