package merge

import "sync"

// numbers are those of the streams that label references of one call come from: each stream
// that is opened gets another, so that its references mean nothing that those of an earlier
// one meant. Once all have been given out, the client has to forget all references, and
// every stream to be opened again.
type numbers struct {
	mu     sync.Mutex
	stride uint32
	given  uint32
}

// streamsPerGroup is how many numbers there are for each group: the fewer, the fewer bits
// they take in each reference; the more, the longer a client keeps the labels of streams
// that have broken off.
const streamsPerGroup = 4

// newNumbers has those for so many groups. A power of two keeps apart what the server
// counts by bits.
func newNumbers(groups int) *numbers {
	n := &numbers{stride: streamsPerGroup}
	for int(n.stride) < streamsPerGroup*groups {
		n.stride *= 2
	}
	return n
}

// next returns a number, and false if all have been given out.
func (n *numbers) next() (stride, number uint32, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.given == n.stride {
		return 0, 0, false
	}
	n.given++
	return n.stride, n.given - 1, true
}
