package merge

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of a GetMetricsResponse.
const (
	fieldTimeSeries = 1
	fieldCursor     = 2
	fieldSynced     = 3
	fieldHeartbeat  = 4
	fieldGap        = 5
	fieldEnd        = 6
	fieldForget     = 7
	fieldAway       = 8
)

// response is what a server's message says, in the bytes of the message.
type response struct {
	// series are the fields that have them, as they are.
	series []byte
	cursor []byte
	// event is the field that it has besides series, 0: none.
	event   protowire.Number
	content []byte
	forget  bool
}

var errCutOff = errors.New("a server's response is cut off or damaged")

// parse walks the fields of a message. It does not look into series.
func parse(message []byte) (response, error) {
	var r response
	rest := message
	whole := true // the series are the beginning of the message
	for len(rest) > 0 {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return response{}, errCutOff
		}
		if number == fieldTimeSeries && kind == protowire.BytesType {
			size, m := protowire.ConsumeVarint(rest[n:])
			if m < 0 || size > uint64(len(rest)-n-m) {
				return response{}, errCutOff
			}
			field := rest[:n+m+int(size)]
			rest = rest[len(field):]
			if whole {
				r.series = message[:len(message)-len(rest)]
			} else {
				r.series = append(r.series[:len(r.series):len(r.series)], field...)
			}
			continue
		}
		whole = false
		m := protowire.ConsumeFieldValue(number, kind, rest[n:])
		if m < 0 {
			return response{}, errCutOff
		}
		r.field(number, kind, rest[n:n+m])
		rest = rest[n+m:]
	}
	return r, nil
}

// field takes one that is no series. Others than are known are of no use to the client of a
// router.
func (r *response) field(number protowire.Number, kind protowire.Type, value []byte) {
	switch {
	case number == fieldForget && kind == protowire.VarintType:
		v, _ := protowire.ConsumeVarint(value)
		r.forget = v != 0
	case kind != protowire.BytesType:
	case number == fieldCursor:
		r.cursor, _ = protowire.ConsumeBytes(value)
	case fieldSynced <= number && number <= fieldEnd:
		r.event = number
		r.content, _ = protowire.ConsumeBytes(value)
	}
}

// eachSeries yields the TimeSeries messages of series fields, with the whole field of each.
func eachSeries(series []byte, yield func(field, message []byte) bool) {
	for len(series) > 0 {
		_, _, n := protowire.ConsumeTag(series)
		message, m := protowire.ConsumeBytes(series[max(n, 0):])
		if n < 0 || m < 0 {
			return // parse has walked them
		}
		if !yield(series[:n+m], message) {
			return
		}
		series = series[n+m:]
	}
}
