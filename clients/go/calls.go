package promgrpc

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
	"github.com/promgrpc/exporter/internal/backoff"
)

// GetLabelNames returns the label names of the live series that match.
func (c *Client) GetLabelNames(ctx context.Context, req *metricsv1.GetLabelNamesRequest) (*metricsv1.GetLabelNamesResponse, error) {
	return ask(ctx, c, metricsv1grpc.MetricsService_GetLabelNames_FullMethodName, req, &metricsv1.GetLabelNamesResponse{})
}

// GetLabelValues returns the values of a label in the live series that match.
func (c *Client) GetLabelValues(ctx context.Context, req *metricsv1.GetLabelValuesRequest) (*metricsv1.GetLabelValuesResponse, error) {
	return ask(ctx, c, metricsv1grpc.MetricsService_GetLabelValues_FullMethodName, req, &metricsv1.GetLabelValuesResponse{})
}

// GetMetadata returns type, help and unit of metric families.
func (c *Client) GetMetadata(ctx context.Context, req *metricsv1.GetMetadataRequest) (*metricsv1.GetMetadataResponse, error) {
	return ask(ctx, c, metricsv1grpc.MetricsService_GetMetadata_FullMethodName, req, &metricsv1.GetMetadataResponse{})
}

// ListSegments returns the files of the first replica that answers.
func (c *Client) ListSegments(ctx context.Context) (*metricsv1.ListSegmentsResponse, error) {
	return ask(ctx, c, metricsv1grpc.MetricsService_ListSegments_FullMethodName, &metricsv1.ListSegmentsRequest{}, &metricsv1.ListSegmentsResponse{})
}

// GetStatus returns the state of the first replica that answers.
func (c *Client) GetStatus(ctx context.Context) (*metricsv1.GetStatusResponse, error) {
	return ask(ctx, c, metricsv1grpc.MetricsService_GetStatus_FullMethodName, &metricsv1.GetStatusRequest{}, &metricsv1.GetStatusResponse{})
}

// ask makes a unary call and returns its response.
func ask[Res proto.Message](ctx context.Context, c *Client, method string, req proto.Message, res Res) (Res, error) {
	if err := c.call(ctx, method, req, res); err != nil {
		var none Res
		return none, err
	}
	return res, nil
}

// call makes a unary call, which only reads, at one address after the other, twice
// at each, until one answers or the call seems to kill servers.
func (c *Client) call(ctx context.Context, method string, req, res proto.Message) error {
	if err := sendable(req); err != nil {
		return err
	}
	tries, suspect := c.newAttempts(), suspicion{client: c}
	for {
		err := tries.refresh(ctx)
		if err == nil {
			c.keep(tries.addresses)
			err = c.callOnce(ctx, &suspect, tries.address(), method, req, res)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if tries.outdated(err) {
			continue
		}
		if !resumable(err) {
			return err
		}
		if killer := suspect.after(ctx, tries.address(), err); killer != nil {
			return killer
		}
		if tries.failed(err) >= 2*len(tries.addresses) {
			return tries.unreachable()
		}
		if err := backoff.Sleep(ctx, max(tries.delay(err), suspect.pause())); err != nil {
			return err
		}
	}
}

// sendable returns an error for a request that cannot be encoded, since its text is
// not UTF-8. The libraries would report that as a failed connection, at each attempt.
func sendable(req proto.Message) error {
	if _, err := proto.Marshal(req); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return nil
}

func (c *Client) callOnce(ctx context.Context, suspect *suspicion, address, method string, req, res proto.Message) error {
	t, err := c.sharedTransport(address)
	if err != nil {
		return err
	}
	if err := suspect.before(ctx, address, t); err != nil {
		c.drop(address, t)
		return err
	}
	e := c.invoke(ctx, address, t, method, req, res)
	if e == nil {
		return nil
	}
	if resumable(e) {
		c.drop(address, t)
	}
	return e
}

// invoke makes one attempt of a unary call, within CallTimeout.
func (c *Client) invoke(ctx context.Context, address string, t transport, method string, req, res proto.Message) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.CallTimeout)
	defer cancel()
	ctx, x, end := withExchange(ctx)
	defer end()
	ctx, err := c.withHeader(ctx, address)
	if err != nil {
		return err
	}
	proto.Reset(res)
	if err := t.invoke(ctx, method, req, res); err != nil {
		return c.wrap(ctx, t, x, err)
	}
	return nil
}

// wrap turns an error of a transport into an *Error.
func (c *Client) wrap(ctx context.Context, t transport, x *exchange, err error) *Error {
	e := t.wrap(x, err)
	e.outdated = c.outdated(ctx, x, e)
	return e
}

func (c *Client) sharedTransport(address string) (transport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("client is closed")
	}
	if c.shared[address] == nil {
		t, err := c.newTransport(address)
		if err != nil {
			return nil, err
		}
		c.shared[address] = t
	}
	return c.shared[address], nil
}

// keep closes the connections to servers that are not among addresses.
func (c *Client) keep(addresses []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for address, t := range c.shared {
		if !slices.Contains(addresses, address) {
			delete(c.shared, address)
			_ = t.close()
		}
	}
}

// drop closes a connection that failed, so that the next call makes a new one.
func (c *Client) drop(address string, t transport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shared[address] == t {
		delete(c.shared, address)
		_ = t.close()
	}
}
