package schedule

import "math"

// Began is the time before which nothing was appended to what is retained of the logs.
func (c *Clock) Began() int64 {
	oldest := int64(math.MaxInt64)
	for _, r := range c.replicas.Readable() {
		if first, ok := r.Log.Oldest(); ok {
			oldest = min(oldest, first.CreateTime.UnixMilli())
		}
	}
	return oldest
}

// Lost is the time up to which a part of a log is not retained any more, math.MinInt64 if
// all is there.
func (c *Clock) Lost() int64 {
	lost := int64(math.MinInt64)
	for _, r := range c.replicas.Readable() {
		if first, ok := r.Log.Oldest(); ok && first.FirstSequence > 1 {
			lost = max(lost, first.CreateTime.UnixMilli())
		}
	}
	return lost
}

// Retained is the time from which on a step with a delay (ms) can be gone on from: before
// it, a part of a log is not there any more, or nothing was.
func (c *Clock) Retained(delay int64) int64 {
	began := c.Began()
	if began == math.MaxInt64 {
		return c.Lost()
	}
	return max(c.Lost(), began-delay)
}
