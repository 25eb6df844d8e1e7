// Package read reads series from the compared systems, each by its own interface, and
// counts them. It decodes as little as it can, to leave the CPU to the system under
// test.
package read

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/protobuf/encoding/protowire"
)

// Result of a read.
type Result struct {
	FirstByte time.Duration // from the call to the first answer with series
	Elapsed   time.Duration
	Series    int // how often a series occurred
	Samples   int
	Bytes     int64
}

// Federate reads the latest sample of all series as text, with a line for each series
// and one for the type of each metric.
func Federate(ctx context.Context, base string) (Result, error) {
	return get(ctx, base+"/federate?"+url.Values{"match[]": {`{__name__!=""}`}}.Encode(), func(r *Result, body *bufio.Reader) error {
		piece := make([]byte, 1+256<<10)
		for piece[0] = '\n'; ; { // the last byte of the piece before
			n, err := body.Read(piece[1:])
			r.Bytes += int64(n)
			r.Series += bytes.Count(piece[1:1+n], []byte("\n")) - bytes.Count(piece[:1+n], []byte("\n#"))
			r.Samples = r.Series
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			piece[0] = piece[n]
		}
	})
}

// ExportNative reads the samples of the last minutes from VictoriaMetrics, in
// its own format: a header of 16 bytes, then names and blocks in turn, each
// prefixed with its length.
func ExportNative(ctx context.Context, base string, since time.Time) (Result, error) {
	query := url.Values{"match[]": {`{__name__!=""}`}, "start": {strconv.FormatInt(since.Unix(), 10)}}
	return get(ctx, base+"/api/v1/export/native?"+query.Encode(), func(r *Result, body *bufio.Reader) error {
		const header = 16
		n, err := io.CopyN(io.Discard, body, header)
		r.Bytes += n
		if err != nil {
			return err
		}
		for {
			for part := range 2 {
				var length [4]byte
				if _, err := io.ReadFull(body, length[:]); err != nil {
					if part == 0 && errors.Is(err, io.EOF) {
						return nil
					}
					return err
				}
				n, err := io.CopyN(io.Discard, body, int64(binary.BigEndian.Uint32(length[:])))
				if r.Bytes += 4 + n; err != nil {
					return err
				}
			}
			r.Series++
		}
	})
}

// RemoteRead reads the samples of the last minutes as streamed chunks.
func RemoteRead(ctx context.Context, base string, since time.Time) (Result, error) {
	query, err := (&prompb.ReadRequest{
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS},
		Queries: []*prompb.Query{{
			StartTimestampMs: since.UnixMilli(), EndTimestampMs: time.Now().Add(time.Hour).UnixMilli(),
			Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_NEQ, Name: "__name__"}},
		}},
	}).Marshal()
	if err != nil {
		return Result{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v1/read", bytes.NewReader(snappy.Encode(nil, query)))
	if err != nil {
		return Result{}, err
	}
	return answer(request, func(r *Result, body *bufio.Reader) error {
		var frame []byte
		for {
			length, err := binary.ReadUvarint(body)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			const most = 64 << 20
			if length > most {
				return fmt.Errorf("a frame of %d bytes", length)
			}
			frame = append(frame[:0], make([]byte, length+4)...) // after a checksum
			if _, err := io.ReadFull(body, frame); err != nil {
				return err
			}
			r.Bytes += int64(len(frame))
			series, _, err := count(frame[4:], 1, 0)
			if err != nil {
				return err
			}
			r.Series += series
		}
	})
}

func get(ctx context.Context, address string, parse func(*Result, *bufio.Reader) error) (Result, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Result{}, err
	}
	return answer(request, parse)
}

func answer(request *http.Request, parse func(*Result, *bufio.Reader) error) (Result, error) {
	transport := &http.Transport{DisableCompression: true, ReadBufferSize: 64 << 10}
	defer transport.CloseIdleConnections()
	return answerBy(&http.Client{Transport: transport}, request, parse)
}

func answerBy(client *http.Client, request *http.Request, parse func(*Result, *bufio.Reader) error) (Result, error) {
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = response.Body.Close() }()
	var r Result
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return r, fmt.Errorf("%s: %s: %s", request.URL.Path, response.Status, bytes.TrimSpace(text))
	}
	body := bufio.NewReaderSize(response.Body, 256<<10)
	if _, err := body.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		return r, err
	}
	r.FirstByte = time.Since(began)
	err = parse(&r, body)
	r.Elapsed = time.Since(began)
	return r, err
}

// fields yields the number and the value of each field of a message. The value of
// bytes is without their length.
func fields(message []byte, yield func(number protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		length := protowire.ConsumeFieldValue(number, kind, message)
		if length < 0 {
			return protowire.ParseError(length)
		}
		value := message[:length]
		if kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(value)
		}
		if err := yield(number, value); err != nil {
			return err
		}
		message = message[length:]
	}
	return nil
}

// each yields the values of the fields with one number.
func each(message []byte, want protowire.Number, yield func(value []byte) error) error {
	return fields(message, func(number protowire.Number, value []byte) error {
		if number != want {
			return nil
		}
		return yield(value)
	})
}

// count returns how many fields with the number outer a message has, and how many with
// the number inner these have in all.
func count(message []byte, outer, inner protowire.Number) (outers, inners int, err error) {
	err = each(message, outer, func(value []byte) error {
		outers++
		if inner == 0 {
			return nil
		}
		return each(value, inner, func([]byte) error {
			inners++
			return nil
		})
	})
	return outers, inners, err
}
