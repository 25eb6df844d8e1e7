package remotewrite

import "github.com/promgrpc/exporter/internal/protoscan"

// Identity is what distinguishes a histogram from others of its series at the same
// time.
type Identity struct {
	// Hash of what was counted, under a seed of the process. The other fields are not
	// in it: a sender that knows more about a histogram sends the same one.
	Hash uint64
	// Start timestamp in ms, 0 where there is none.
	Start int64
	// Hint is the ResetHint, 0 where it is not known, and one more than maxHint where
	// it has no name.
	Hint uint8
}

// maxHint is the highest ResetHint.
const maxHint = 3

// IdentityOf returns the identity of a valid prometheus.Histogram.
func IdentityOf(data []byte) Identity {
	var id Identity
	i := 0
	for i < len(data) {
		f, ok := protoscan.Read(data, i)
		if !ok || f.Number >= fieldResetHint {
			break
		}
		i = f.Next
	}
	// As a rule the rest is short, and the timestamp is all of it that is hashed.
	id.Hash = hashA(data[:i])
	for i < len(data) {
		f, ok := protoscan.Read(data, i)
		if !ok {
			return id
		}
		switch f.Number {
		case fieldResetHint:
			id.Hint = uint8(min(f.Value, maxHint+1))
		case fieldStartTimestamp:
			id.Start = int64(f.Value)
		default:
			id.Hash = mix(id.Hash, hashA(data[i:f.Next]), secretA)
		}
		i = f.Next
	}
	return id
}
