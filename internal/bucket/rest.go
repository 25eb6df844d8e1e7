package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/oauth2"
)

// rest makes the requests of the providers whose five calls are written here: their
// own libraries link megabytes for hundreds.
type rest struct {
	transport *transport
	client    *http.Client
	// authorize puts what proves who asks on a request, whose headers are complete.
	authorize func(*http.Request) error
	// meaning is what an answer that is no success means, by its status, headers and the
	// begin of its body.
	meaning func(status int, header http.Header, body string) error
}

func newREST(options Options) *rest {
	t := newTransport(options.Timeout)
	return &rest{transport: t, client: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (r *rest) close() { r.transport.close() }

// errPastEnd says that a range begins where an object has ended.
var errPastEnd = errors.New("the range begins after the object's end")

// longestMessage is what is read of an error.
const longestMessage = 4 << 10

// do makes a request, and returns a successful answer, whose body the caller closes.
func (r *rest) do(ctx context.Context, method, url string, header http.Header, body io.Reader, size int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, &refusal{err}
	}
	request.ContentLength = size
	if size == 0 {
		request.Body = http.NoBody
	}
	request.Header = header
	if err := r.authorize(request); err != nil {
		return nil, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode < http.StatusMultipleChoices {
		return response, nil
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, longestMessage)) // as much as there is
	_ = response.Body.Close()                                            // it is an error already
	return nil, r.meaning(response.StatusCode, response.Header, string(text))
}

// done is do without an answer's body.
func (r *rest) done(ctx context.Context, method, url string, header http.Header, body io.Reader, size int64) (http.Header, error) {
	response, err := r.do(ctx, method, url, header, body, size)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(io.Discard, io.LimitReader(response.Body, longestMessage)); err != nil {
		_ = response.Body.Close() // err says more
		return nil, err
	}
	return response.Header, response.Body.Close()
}

// open asks for a range of an object.
func (r *rest) open(ctx context.Context, url string, header http.Header, offset, length int64) (io.ReadCloser, error) {
	if offset > 0 || length >= 0 {
		header.Set("Range", httpRange(offset, length))
	}
	response, err := r.do(ctx, http.MethodGet, url, header, nil, 0) //nolint:bodyclose // the caller closes it
	if errors.Is(err, errPastEnd) {
		return empty, nil
	}
	if err != nil {
		return nil, err
	}
	return startingAt(offset, response.Header, response.Body)
}

// bearer has requests carry the token of a source.
func bearer(source func() (oauth2.TokenSource, error)) func(*http.Request) error {
	return func(request *http.Request) error {
		tokens, err := source()
		if err != nil {
			return fmt.Errorf("find credentials: %w", err)
		}
		token, err := tokens.Token()
		if err != nil {
			return fmt.Errorf("get a token: %w", withoutURL(err))
		}
		token.SetAuthHeader(request)
		return nil
	}
}

// answered is an error as its provider worded it.
func answered(status int, code, message string) error {
	if status == http.StatusRequestedRangeNotSatisfiable {
		return errPastEnd
	}
	message = strings.Join(strings.Fields(message), " ")
	if code != "" {
		code += ", "
	}
	return byStatus(status, fmt.Errorf("%.300s (%sstatus %d)", message, code, status))
}
