// Package cursor encodes where a stream goes on: the token that a client gets with each
// response, and sends to any server to resume after that response.
//
// Guaranteed: Parse accepts only what String could have made, apart from fields of newer
// versions, which it ignores. It is neither secret nor authentic: a forged cursor leads to
// an error, or to data that the client could have asked for anyway. Where it must not tell
// of other series, it is sealed: Open accepts only what Seal made with one of the keys, for
// the same owner, and without a key nothing can be learned from it but roughly how many
// logs there are.
//
// Not guaranteed: that a sealed cursor is used once, or by nobody else who has its owner's
// credential.
package cursor

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	cursorv1 "github.com/promgrpc/exporter/gen/go/promgrpc/cursor/v1"
	"github.com/promgrpc/exporter/internal/segment"
)

// MaxPositions bounds the logs in one cursor, so that its string stays below the 16384
// bytes that a request may have.
const MaxPositions = 256

// MaxLogs bounds the logs of one server, so that a cursor has room for those of several.
const MaxLogs = 48

// Cursor is where a stream goes on. Without positions it is that of a client that has
// nothing yet, and gets each log from its oldest block on.
type Cursor struct {
	// Positions, one a log, sorted by Log.
	Positions []Position
	// Since in ms: the stream leaves out samples with older timestamps. Nil: it has all.
	Since *int64
}

// Position is where a stream goes on in one log.
type Position struct {
	Log segment.LogID
	// Sequence of the last block that was delivered whole.
	Sequence uint64
	// Entries of block Sequence+1 that were delivered as well: counted over its samples
	// and histograms in order of arrival, then its exemplars.
	Entries uint32
	// SnapshotRef, if not zero, says that the stream is within a snapshot of the log at
	// Sequence, and that it delivered the series with lower references.
	SnapshotRef uint64
	// SnapshotTime in ms is when the client asked for that snapshot.
	SnapshotTime int64
	// Gone says that the client knows it gets no more of the log, unless it comes to a
	// replica that has more.
	Gone bool
}

// Of returns the position in a log, and whether the cursor has one.
func (c *Cursor) Of(log segment.LogID) (Position, bool) {
	for _, p := range c.Positions {
		if p.Log == log {
			return p, true
		}
	}
	return Position{}, false
}

// String returns the token.
func (c *Cursor) String() string { return base64.RawURLEncoding.EncodeToString(c.wire()) }

func (c *Cursor) wire() []byte {
	var wire, position []byte
	for _, p := range c.Positions {
		position = protowire.AppendTag(position[:0], 1, protowire.BytesType)
		position = protowire.AppendBytes(position, p.Log[:])
		position = appendVarint(position, 2, p.Sequence)
		position = appendVarint(position, 3, uint64(p.Entries))
		position = appendVarint(position, 4, p.SnapshotRef)
		position = appendVarint(position, 5, uint64(p.SnapshotTime))
		if p.Gone {
			position = appendVarint(position, 6, 1)
		}
		wire = protowire.AppendTag(wire, 1, protowire.BytesType)
		wire = protowire.AppendBytes(wire, position)
	}
	if c.Since != nil {
		wire = protowire.AppendVarint(protowire.AppendTag(wire, 2, protowire.VarintType), uint64(*c.Since))
	}
	if len(c.Positions) == 0 {
		wire = appendVarint(wire, 6, 1)
	}
	return wire
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

// Parse reads what String returned.
func Parse(s string) (*Cursor, error) {
	wire, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("cursor is not base64url: %w", err)
	}
	return parse(wire)
}

func parse(wire []byte) (*Cursor, error) {
	if isQuery(wire) {
		return nil, errOfQuery
	}
	var message cursorv1.Cursor
	if err := proto.Unmarshal(wire, &message); err != nil {
		return nil, fmt.Errorf("cursor is cut off or damaged: %w", err)
	}
	switch n := len(message.GetPositions()); {
	case message.GetBeginning() && n > 0:
		return nil, fmt.Errorf("cursor is that of the beginning, and has %d positions", n)
	case !message.GetBeginning() && n == 0, n > MaxPositions:
		return nil, fmt.Errorf("cursor has %d positions, want 1 to %d", n, MaxPositions)
	}
	c := &Cursor{Since: message.Since}
	if n := len(message.GetPositions()); n > 0 {
		c.Positions = make([]Position, 0, n)
	}
	for i, m := range message.GetPositions() {
		p, err := parsePosition(m)
		if err != nil {
			return nil, fmt.Errorf("cursor position %d: %w", i, err)
		}
		if i > 0 && bytes.Compare(c.Positions[i-1].Log[:], p.Log[:]) >= 0 {
			return nil, fmt.Errorf("cursor position %d: logs are not in order", i)
		}
		if p.SnapshotRef != 0 && len(message.GetPositions()) > 1 {
			return nil, fmt.Errorf("cursor position %d: a snapshot under way needs a cursor of one log", i)
		}
		c.Positions = append(c.Positions, p)
	}
	return c, nil
}

func parsePosition(m *cursorv1.Position) (Position, error) {
	p := Position{
		Sequence:     m.GetSequence(),
		Entries:      m.GetEntries(),
		SnapshotRef:  m.GetSnapshotRef(),
		SnapshotTime: m.GetSnapshotTime(),
		Gone:         m.GetGone(),
	}
	if len(m.GetLogId()) != len(p.Log) {
		return p, fmt.Errorf("log id has %d bytes, want %d", len(m.GetLogId()), len(p.Log))
	}
	copy(p.Log[:], m.GetLogId())
	switch {
	case p.Log.IsZero():
		return p, fmt.Errorf("log id is zero")
	case p.Sequence == math.MaxUint64:
		return p, fmt.Errorf("sequence %d has no successor", p.Sequence)
	case (p.SnapshotRef == 0) != (p.SnapshotTime == 0):
		return p, fmt.Errorf("snapshot reference %d does not go with snapshot time %d", p.SnapshotRef, p.SnapshotTime)
	case p.SnapshotRef != 0 && p.Entries != 0:
		return p, fmt.Errorf("it is within a snapshot and within a block")
	case p.SnapshotRef != 0 && p.Gone:
		return p, fmt.Errorf("it is within a snapshot of a log that is gone")
	}
	return p, nil
}
