package rpc

import (
	"net/http"
	"time"
)

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
