package forwarder

import (
	"slices"
	"sync"

	"github.com/promgrpc/exporter/forwarder/remotewrite"

	"github.com/promgrpc/exporter/internal/invariant"
)

// idle keeps the memory of requests for the next ones, so that a steady stream of them
// allocates nothing. The sum is bounded, and not part of what requests under way count;
// memory that is taken from here counts for the request that takes it.
type idle struct {
	mu       sync.Mutex
	requests []idleRequest // that was used last comes last
	bytes    int64
}

type idleRequest struct {
	request *remotewrite.Request
	size    int64
}

const (
	// idleBytes is enough for some tens of requests of the usual size.
	idleBytes = 16 << 20
	// idleRequestBytes leaves room for others.
	idleRequestBytes = idleBytes / 4
)

// get returns the largest that is no larger than most, nil if there is none.
func (i *idle) get(most int64) *remotewrite.Request {
	i.mu.Lock()
	defer i.mu.Unlock()
	best := -1
	for at := len(i.requests) - 1; at >= 0; at-- {
		if size := i.requests[at].size; size <= most && (best < 0 || size > i.requests[best].size) {
			best = at
		}
	}
	if best < 0 {
		return nil
	}
	found := i.requests[best]
	i.requests = slices.Delete(i.requests, best, best+1)
	i.bytes -= found.size
	return found.request
}

// put keeps a request that is no longer needed, unless it is large, in the place of
// those that have not been used for longest.
func (i *idle) put(r *remotewrite.Request) {
	r.Forget()
	size := r.Size()
	if size > idleRequestBytes {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	out := 0
	for ; i.bytes+size > idleBytes; out++ {
		i.bytes -= i.requests[out].size
	}
	i.requests = append(slices.Delete(i.requests, 0, out), idleRequest{r, size})
	i.bytes += size
	if invariant.On {
		sum := int64(0)
		for _, r := range i.requests {
			sum += r.size
		}
		invariant.Check(sum == i.bytes, "idle requests take %d bytes, counted are %d", sum, i.bytes)
	}
}
