// Package answer is what the answers have in common of calls that do not last: how large
// they get, the room that they take, and which entries they have if there are too many.
//
// Guaranteed: an answer fits into what clients of gRPC accept by default.
package answer

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/internal/limit"
)

const (
	// Size is the most of a call's answer: clients of gRPC accept 4 MiB by default.
	Size = 3 << 20
	// Cost is how many bytes a byte of an answer takes: in the message, and in the
	// buffers in which it is encoded and compressed.
	Cost = 4
	// MostEntries that an answer may have.
	MostEntries = 100000
	// EntryCost is what an entry of an answer takes besides its bytes, where it is
	// collected and in the message.
	EntryCost = 160
	// CallCost is what a call takes at least: its goroutine, headers and buffers.
	CallCost = 32 << 10
)

// Room takes room for the answer of a call, instead of that for its request, which has
// been read.
func Room(of *limit.Hold) func(bytes int64) error {
	return func(bytes int64) error { return of.Resize(CallCost + bytes) }
}

// StringSize is the size of a string as a field of a message.
func StringSize(s string) int { return protowire.SizeTag(1) + protowire.SizeBytes(len(s)) }
