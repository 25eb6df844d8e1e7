package stream

import "github.com/promgrpc/exporter/server/replica"

// A replica knows which requests are in the newest blocks that it has on its disk, and just
// before them. A stream of several logs that reads older ones from the bucket keeps for
// itself which requests are in the last [replica.RequestsBefore] blocks that it has passed,
// and reads those before its cursor.

// keepPassed has a source that begins in the bucket keep the requests of what it passes, if
// there is another log that may have them, too.
func (src *source) keepPassed() {
	if src.passed == nil && src.sequence+1 < src.replica.Log.FirstLocal() && len(src.labels.stream.streams.Replicas.Readable()) > 1 {
		src.passed = replica.NewRequests(replica.RequestsBefore)
	}
}

// loadPassed reads the requests of the blocks before the one that a source goes on with.
func (st *stream) loadPassed(src *source) error {
	if src.passed == nil || src.sequence == 0 {
		return nil
	}
	_, err := src.replica.Recall(src.passed, src.reached(), replica.RequestsBefore, st.decoding.wait)
	st.decoding.release()
	return err
}
