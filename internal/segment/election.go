package segment

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"
)

// Bounds of an election.
const (
	// MaxElectionText is the longest tenant, cluster and replica, in bytes.
	MaxElectionText = 1024
	MaxTerm         = 1 << 48
	MaxElectionTime = 1 << 52 // ms
)

// Election is the claim of a forwarder that the samples of one sender of a cluster, a
// replica, are taken, and those of the others are not.
type Election struct {
	Tenant, Cluster, Replica string
	// Term counts the claims for a cluster, from 1.
	Term uint64
	// ClaimTime in ms, by the clock of the forwarder that made the claim.
	ClaimTime int64
	// LogID of the log that the claim was made for.
	LogID LogID
	// HeardTime in ms is when the replica was heard last. Of one claim it only grows.
	HeardTime int64
}

// Compare orders claims by which of them holds: the one with the higher term, of those the
// earlier, of those the one of the lower log. Two claims of one log for a cluster differ in
// their terms, and only claims that are one are equal.
func (e *Election) Compare(o *Election) int {
	return cmp.Or(
		cmp.Compare(e.Term, o.Term),
		cmp.Compare(o.ClaimTime, e.ClaimTime),
		bytes.Compare(o.LogID[:], e.LogID[:]),
	)
}

// Merge returns what two elections for a cluster come to: the claim that holds, and the
// latest that its replica was heard. It is the same in whichever order more of them are
// merged.
func (e Election) Merge(o Election) Election { //nolint:gocritic // A value in, a value out.
	switch e.Compare(&o) {
	case -1:
		return o
	case 0:
		e.HeardTime = max(e.HeardTime, o.HeardTime)
	}
	return e
}

// Check returns an error unless the election is within its bounds.
func (e *Election) Check() error {
	within := func(ms int64) bool { return ms >= -MaxElectionTime && ms <= MaxElectionTime }
	switch {
	case len(e.Tenant) > MaxElectionText, len(e.Cluster) > MaxElectionText, len(e.Replica) > MaxElectionText:
		return fmt.Errorf("election: %w: a text of more than %d bytes", ErrTooLarge, MaxElectionText)
	case !utf8.ValidString(e.Tenant), !utf8.ValidString(e.Cluster), !utf8.ValidString(e.Replica):
		return fmt.Errorf("election: %w: a text that is not UTF-8", ErrCorrupt) // It could not be told.
	case e.Term == 0 || e.Term > MaxTerm || !within(e.ClaimTime) || !within(e.HeardTime) || e.LogID.IsZero():
		return fmt.Errorf("election: %w: term %d of %v at %d ms, heard at %d ms", ErrCorrupt, e.Term, e.LogID, e.ClaimTime, e.HeardTime)
	}
	return nil
}

// leastBelieved is the highest term that is believed whatever the time is.
const leastBelieved = 1 << 30

// Believed says whether as many claims can have been made by a time as the term says: one a
// second since 1970 would be far too many. What is not believed must not hold over other
// claims, or one that is wrong would for ever: none could be above it.
func (e *Election) Believed(now time.Time) bool {
	return e.Term <= uint64(max(leastBelieved, now.Unix()))
}

// Bytes is about what the election takes in memory.
func (e *Election) Bytes() int { return 96 + len(e.Tenant) + len(e.Cluster) + len(e.Replica) }

// appendElections fills the section of elections: of each the tenant, the cluster and the
// replica, the term, the claim's time and log, and how long after that time the replica was
// heard.
func appendElections(b []byte, elections []Election) ([]byte, error) {
	if len(elections) > MaxEntries {
		return b, fmt.Errorf("%d elections: %w", len(elections), ErrTooLarge)
	}
	for i := range elections {
		e := &elections[i]
		if err := e.Check(); err != nil {
			return b, err
		}
		for _, s := range [...]string{e.Tenant, e.Cluster, e.Replica} {
			b = appendString(b, s)
		}
		b = binary.AppendUvarint(b, e.Term)
		b = binary.AppendVarint(b, e.ClaimTime)
		b = append(b, e.LogID[:]...)
		b = binary.AppendVarint(b, e.HeardTime-e.ClaimTime)
	}
	return b, nil
}

// readElections reads the section of elections into dst, whose memory is reused.
func readElections(section []byte, h *FrameHeader, dst []Election) ([]Election, error) {
	clear(dst)
	dst = dst[:0]
	if h.Flags&FlagElections == 0 {
		return dst, nil
	}
	r := sectionReader{b: section}
	for len(dst) == 0 || len(r.b) > 0 {
		e := Election{Tenant: r.string(), Cluster: r.string(), Replica: r.string(), Term: r.uvarint(), ClaimTime: r.varint()}
		copy(e.LogID[:], r.next(uint64(len(e.LogID))))
		e.HeardTime = e.ClaimTime + r.varint()
		if r.bad || len(dst) == MaxEntries {
			return dst, fmt.Errorf("elections: %w", ErrCorrupt)
		}
		if err := e.Check(); err != nil {
			return dst, err
		}
		dst = append(dst, e)
	}
	return dst, r.end("elections")
}
