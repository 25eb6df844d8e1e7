package segment

import (
	"bytes"
	"cmp"
	"fmt"
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
	case e.Term == 0 || e.Term > MaxTerm || !within(e.ClaimTime) || !within(e.HeardTime) || e.LogID.IsZero():
		return fmt.Errorf("election: %w: term %d of %v at %d ms, heard at %d ms", ErrCorrupt, e.Term, e.LogID, e.ClaimTime, e.HeardTime)
	}
	return nil
}
