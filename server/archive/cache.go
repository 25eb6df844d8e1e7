package archive

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// blockSize is what is read at a time. An object is cut at its multiples.
	blockSize = 1 << 20
	// blocksAhead of one that is read in order are read, too.
	blocksAhead = 4
	// fetchesAtOnce is how many blocks are on their way at a time.
	fetchesAtOnce = 16
	// readTime is how long a read waits for what is not in memory.
	readTime = 10 * time.Second
)

// blockKey names a block of an object. Its length is a part of that: how large an object
// is may have been known wrongly.
type blockKey struct {
	object        string
	index, length int64
}

// blockOf is the block of an object of a size that has an offset.
func blockOf(object string, size, offset int64) blockKey {
	index := offset / blockSize
	return blockKey{object, index, min(blockSize, size-index*blockSize)}
}

// fetch reads a block of the bucket, all of it.
type fetch func(ctx context.Context, k blockKey) ([]byte, error)

// cache keeps blocks, as many as fit, those that were read last.
type cache struct {
	fetch    fetch
	limit    int64
	lifetime context.Context // of what is on its way
	turns    chan struct{}

	mu     sync.Mutex
	used   int64 // by blocks that are there, and those that are on their way
	coming int64 // by the latter
	blocks map[blockKey]*block
	recent *list.List // of keys of blocks that are there, the newest first
	freed  chan struct{}
}

// block is there once done is closed.
type block struct {
	done  chan struct{}
	data  []byte
	err   error
	place *list.Element // nil while it is on its way
}

func newCache(lifetime context.Context, limit int64, f fetch) *cache {
	return &cache{fetch: f, limit: limit, lifetime: lifetime, turns: make(chan struct{}, fetchesAtOnce), blocks: map[blockKey]*block{}, recent: list.New(), freed: make(chan struct{})}
}

// get returns a block, which is not to be changed.
func (c *cache) get(ctx context.Context, k blockKey) ([]byte, error) {
	for {
		b, freed := c.start(k, false)
		if b == nil {
			select {
			case <-freed:
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("no memory for reading became free: %w (%s)", context.Cause(ctx), FlagBytes)
			}
		}
		select {
		case <-b.done:
			return b.data, b.err
		case <-ctx.Done():
			return nil, fmt.Errorf("%s did not come: %w", k.object, context.Cause(ctx))
		}
	}
}

// prefetch starts to read a block unless that would take more than half of the memory, or
// it is there. It says whether there is room for more.
func (c *cache) prefetch(k blockKey) bool {
	b, _ := c.start(k, true)
	return b != nil
}

// start returns a block, which is there or on its way. Without memory for it, it returns
// nil, and a channel that is closed when some has become free.
func (c *cache) start(k blockKey, ahead bool) (*block, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.blocks[k]; b != nil {
		if b.place != nil && !ahead {
			c.recent.MoveToFront(b.place)
		}
		return b, nil
	}
	most := c.limit
	if ahead {
		most /= 2
	}
	if !c.makeRoom(k.length, most) {
		return nil, c.freed
	}
	b := &block{done: make(chan struct{})}
	c.blocks[k] = b
	c.used += k.length
	c.coming += k.length
	go c.run(k, b)
	return b, nil
}

// makeRoom drops what was not read for longest, until there is room. The caller holds mu.
func (c *cache) makeRoom(length, most int64) bool {
	if c.coming+length > most {
		return false
	}
	for c.used+length > c.limit {
		oldest := c.recent.Back()
		k := c.recent.Remove(oldest).(blockKey)
		c.used -= k.length
		delete(c.blocks, k)
	}
	return true
}

// run reads a block. It does so to the end, also if nobody waits for it any more: who
// asks again finds it.
func (c *cache) run(k blockKey, b *block) {
	c.turns <- struct{}{}
	ctx, cancel := context.WithTimeout(c.lifetime, requestTime)
	b.data, b.err = c.fetch(ctx, k)
	cancel()
	<-c.turns
	c.mu.Lock()
	c.coming -= k.length
	if b.err != nil {
		delete(c.blocks, k)
		c.used -= k.length
	} else {
		b.place = c.recent.PushFront(k)
	}
	close(c.freed)
	c.freed = make(chan struct{})
	c.mu.Unlock()
	close(b.done)
}

// bytes that are held.
func (c *cache) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}
