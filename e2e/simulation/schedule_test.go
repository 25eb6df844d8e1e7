package simulation

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// kind of a fault.
type kind int

// The faults that there are.
const (
	kill kind = iota
	powerCut
	blackout
	lost
	gone
	pause
	partition
	oneWay
	isolated
	answersLost
	syncFails
	slowDisk
	bucketAway
	bucketSlow
	bucketRefuses
	bucketAnswersLost
	replicaSilent
	kinds
)

var names = [kinds]string{
	"is killed", "loses its power", "and all others lose their power", "is lost with its disk", "is lost with its disk for good", "is paused",
	"and another cannot reach each other", "cannot reach another", "is isolated", "gives answers that are lost", "fails to force its disk", "has a slow disk",
	"bucket is away", "bucket is slow", "bucket refuses", "bucket gives answers that are lost", "sender of the pair is silent",
}

// fault is something that goes wrong for a while.
type fault struct {
	at, lasts     time.Duration
	kind          kind
	target, other int // of which the remainders say who
	// answer is after which answer to a sender it begins, 0 for at the time.
	answer int
}

func (f fault) String() string {
	when := fmt.Sprintf("%8.3fs", f.at.Seconds())
	if f.answer > 0 {
		when = fmt.Sprintf("answer %d:", f.answer)
	}
	return fmt.Sprintf("%s %s, target %d and %d, for %.3fs", when, names[f.kind], f.target, f.other, f.lasts.Seconds())
}

// post is when a sender has another request.
type post struct {
	at     time.Duration
	sender int
}

// shape of a deployment.
type shape struct {
	forwarders, servers, senders int
	confirmations                int  // --ack.servers
	pair                         bool // the first two senders
	bucket                       bool
	retires                      bool // logs are given up
}

// schedule is a deployment, and what is to happen to it.
type schedule struct {
	seed uint64
	shape
	posts  []post
	faults []fault
}

// When what happens.
const (
	postsEnd  = 20 * time.Second
	faultsEnd = 45 * time.Second
	// healed is when all faults have ended.
	healed = 60 * time.Second
	// settled is by when all has to be as it should be, even who of a pair is elected.
	settled = healed + 3*time.Minute
	// ends is when it is looked at.
	ends = settled + time.Minute
	// settledTicks are the last ones of a pair, of which one's samples alone are stored.
	settledTicks = 4
)

// weights say how often each fault comes beside the others.
var weights = [kinds]int{
	kill: 12, powerCut: 8, blackout: 2, lost: 10, gone: 3, pause: 8, partition: 8, oneWay: 8, isolated: 5, answersLost: 5, syncFails: 3, slowDisk: 4,
	bucketAway: 4, bucketSlow: 3, bucketRefuses: 3, bucketAnswersLost: 4, replicaSilent: 4,
}

// make makes the schedule of a seed.
func (s *schedule) make(seed uint64, r *rand.Rand) {
	s.seed = seed
	s.shape = shape{forwarders: 1 + r.IntN(2), servers: 2 + r.IntN(2), senders: 1 + r.IntN(3), bucket: r.IntN(3) == 0, retires: r.IntN(4) == 0}
	s.confirmations = r.IntN(min(s.servers, 3))
	if r.IntN(3) == 0 {
		s.pair, s.senders = true, max(s.senders, 2)
	}
	s.posts, s.faults = s.posts[:0], s.faults[:0]
	posts := 3 + r.IntN(8)
	if s.bucket {
		posts *= 2 // So that segments are complete while others are sent.
	}
	for range posts {
		s.posts = append(s.posts, post{time.Duration(r.Int64N(int64(postsEnd))), r.IntN(s.senders)})
	}
	if r.IntN(8) == 0 {
		s.loseOneThatConfirmed(r)
	}
	total := 0
	for _, n := range weights {
		total += n
	}
	for range 1 + r.IntN(6) {
		f := fault{at: time.Duration(r.Int64N(int64(faultsEnd))), target: r.IntN(60), other: r.IntN(60)}
		switch r.IntN(4) {
		case 0: // Just when something was promised.
			f.answer = 1 + r.IntN(len(s.posts))
		case 1: // While there is something under way.
			f.at = s.posts[r.IntN(len(s.posts))].at + time.Duration(r.Int64N(int64(300*time.Millisecond)))
		}
		f.lasts = time.Duration(r.Int64N(int64(time.Second) << r.IntN(7)))
		for n := r.IntN(total); n >= weights[f.kind]; f.kind++ {
			n -= weights[f.kind]
		}
		if f.kind >= bucketAway && f.kind <= bucketAnswersLost && !s.bucket || f.kind == replicaSilent && !s.pair {
			continue
		}
		f.lasts = min(f.lasts, healed-f.at)
		s.faults = append(s.faults, f)
	}
}

// loseOneThatConfirmed adds that a server is lost which has confirmed what is not answered
// yet: the answers of all forwarders are lost meanwhile.
func (s *schedule) loseOneThatConfirmed(r *rand.Rand) {
	at := s.posts[r.IntN(len(s.posts))].at
	for i := range s.forwarders {
		s.faults = append(s.faults, fault{at: at, lasts: 3 * time.Second, kind: answersLost, target: i})
	}
	s.faults = append(s.faults, fault{
		at: at + time.Duration(r.Int64N(int64(time.Second))), lasts: time.Duration(r.Int64N(int64(healed - postsEnd - time.Second))),
		kind: lost, target: s.forwarders + r.IntN(s.servers),
	})
}

func (s *schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %+v\n", s.seed, s.shape)
	for _, p := range s.posts {
		fmt.Fprintf(&b, "%8.3fs sender %d has a request\n", p.at.Seconds(), p.sender)
	}
	for _, f := range s.faults {
		fmt.Fprintf(&b, "%v\n", f)
	}
	return b.String()
}
