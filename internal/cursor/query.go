package cursor

import (
	"encoding/base64"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	cursorv1 "github.com/promgrpc/exporter/gen/go/promgrpc/cursor/v1"
)

// Query is how far a query has come. It has no positions: what a step results in is the
// same at every replica.
type Query struct {
	// Query is a hash of what is evaluated.
	Query uint64
	// Evaluated is the last step, in ms.
	Evaluated int64
	// State of what depends on more than the samples. Nil for an expression.
	State []byte
}

// The errors of a cursor of another call.
var (
	errOfQuery   = errors.New("the cursor is one of a query; GetMetrics takes its own only")
	errOfMetrics = errors.New("the cursor is one of GetMetrics; a query takes its own only")
)

// String returns the token.
func (q Query) String() string {
	wire := protowire.AppendTag(nil, 3, protowire.Fixed64Type)
	wire = protowire.AppendFixed64(wire, q.Query)
	wire = appendVarint(wire, 4, uint64(q.Evaluated))
	if len(q.State) > 0 {
		wire = protowire.AppendTag(wire, 5, protowire.BytesType)
		wire = protowire.AppendBytes(wire, q.State)
	}
	return base64.RawURLEncoding.EncodeToString(wire)
}

// ParseQuery reads what String of a query returned.
func ParseQuery(s string) (Query, error) {
	if IsSealed(s) {
		return Query{}, errOfMetrics
	}
	wire, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return Query{}, fmt.Errorf("cursor is not base64url: %w", err)
	}
	if isPositions(wire) {
		return Query{}, errOfMetrics
	}
	var message cursorv1.QueryCursor
	if err := proto.Unmarshal(wire, &message); err != nil {
		return Query{}, fmt.Errorf("cursor is cut off or damaged: %w", err)
	}
	if !isQuery(wire) {
		return Query{}, errors.New("cursor says nothing of what is evaluated")
	}
	q := Query{Query: message.GetQuery(), Evaluated: message.GetEvaluated()}
	if len(message.GetState()) > 0 {
		q.State = message.GetState()
	}
	return q, nil
}

// isQuery says whether a token of a query has these bytes: it begins with the hash.
func isQuery(wire []byte) bool { return beginsWith(wire, 3, protowire.Fixed64Type) }

// isPositions says whether a token of positions in logs has these bytes.
func isPositions(wire []byte) bool {
	return beginsWith(wire, 1, protowire.BytesType) || beginsWith(wire, 2, protowire.VarintType) || beginsWith(wire, 6, protowire.VarintType)
}

func beginsWith(wire []byte, field protowire.Number, kind protowire.Type) bool {
	number, t, n := protowire.ConsumeTag(wire)
	return n > 0 && number == field && t == kind
}
