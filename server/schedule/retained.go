package schedule

import "math"

// Began is the time before which nothing was appended to what is retained of the logs.
func (l *Logs) Began() int64 {
	oldest := int64(math.MaxInt64)
	for _, r := range l.replicas.Readable() {
		if first, ok := r.Log.Oldest(); ok {
			oldest = min(oldest, first.CreateTime.UnixMilli())
		}
	}
	return oldest
}

// Lost is the time up to which a part of a log is not retained any more, math.MinInt64 if
// all is there.
func (l *Logs) Lost() int64 {
	lost := int64(math.MinInt64)
	for _, r := range l.replicas.Readable() {
		if first, ok := r.Log.Oldest(); ok && first.FirstSequence > 1 {
			lost = max(lost, first.CreateTime.UnixMilli())
		}
	}
	return lost
}
