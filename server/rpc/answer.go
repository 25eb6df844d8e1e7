package rpc

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// answerSize is the most of a call's answer: clients of gRPC accept 4 MiB by default.
	answerSize = 3 << 20
	// answerCost is how many bytes a byte of an answer takes: in the message, and in the
	// buffers in which it is encoded and compressed.
	answerCost = 4
	// entryCost is what an entry of an answer takes besides its bytes, where it is
	// collected and in the message.
	entryCost = 160
)

// answerRoom takes room for the answer of a call, instead of that for its request,
// which has been read.
func answerRoom(ctx context.Context) func(int64) error {
	room := callerOf(ctx).Room
	return func(bytes int64) error { return room.Resize(callCost + bytes) }
}

// stringSize is the size of a string as a field of a message.
func stringSize(s string) int { return protowire.SizeTag(1) + protowire.SizeBytes(len(s)) }

// answerWriter writes an answer that has to be taken in time: within the stall timeout,
// to which what was taken adds time by the least rate. Streams set deadlines of their own.
type answerWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	stall    time.Duration
	rate     int64 // bytes a second
	deadline time.Time
}

// inTime returns a writer that cuts off a client that does not take the answer.
func (s *Service) inTime(w http.ResponseWriter) http.ResponseWriter {
	return &answerWriter{ResponseWriter: w, control: http.NewResponseController(w), stall: s.StallTimeout, rate: s.MinRate}
}

// Write implements [http.ResponseWriter].
func (w *answerWriter) Write(p []byte) (int, error) {
	w.setDeadline()
	n, err := w.ResponseWriter.Write(p)
	w.deadline = w.deadline.Add(time.Duration(n) * time.Second / time.Duration(w.rate))
	return n, err
}

// WriteHeader implements [http.ResponseWriter].
func (w *answerWriter) WriteHeader(status int) {
	w.setDeadline()
	w.ResponseWriter.WriteHeader(status)
}

// Flush implements [http.Flusher].
func (w *answerWriter) Flush() { _ = w.control.Flush() }

// Unwrap is for [http.ResponseController].
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *answerWriter) setDeadline() {
	if w.deadline.IsZero() {
		w.deadline = time.Now().Add(w.stall)
	}
	_ = w.control.SetWriteDeadline(w.deadline)
}
