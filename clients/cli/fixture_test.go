package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// asProgram is set to run the tests' binary as the program.
const asProgram = "PROMGRPC_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main())
	}
	goleak.VerifyTestMain(m)
}

const t0 = metricstest.T0

var (
	labels = metricstest.Labels
	float  = metricstest.Float
	stale  = metricstest.Stale
)

// The control sequences at the start and the end of the table.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
)

func end(cursor string) *metricsv1.GetMetricsResponse {
	return &metricsv1.GetMetricsResponse{Cursor: cursor, Event: &metricsv1.GetMetricsResponse_End{End: &metricsv1.End{}}}
}

// snapshot serves the fixture.
func snapshot() *metricstest.Server {
	return &metricstest.Server{
		Metadata: metricstest.Metadata(),
		Script: func(_ context.Context, call *metricstest.Call) error {
			if err := call.Send(&metricsv1.GetMetricsResponse{Timeseries: metricstest.Series(), Cursor: "c1"}); err != nil {
				return err
			}
			return call.Send(end("c2"))
		},
	}
}

// following sends one sample and then is quiet.
func following() *metricstest.Server {
	return &metricstest.Server{Script: func(ctx context.Context, call *metricstest.Call) error {
		if err := call.Send(&metricsv1.GetMetricsResponse{
			Timeseries: []*metricsv1.TimeSeries{float(1, "__name__", "up")}, Cursor: "c1",
			Event: &metricsv1.GetMetricsResponse_Synced{Synced: &metricsv1.Synced{}},
		}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}}
}

// mortal is a server that every stream kills, and that restarts at once.
type mortal struct{ metricstest.Server }

func (m *mortal) start(t *testing.T) string {
	m.Status = &metricsv1.GetStatusResponse{Uptime: durationpb.New(0)}
	m.Script = func(ctx context.Context, _ *metricstest.Call) error {
		go m.Cut()
		<-ctx.Done()
		return ctx.Err()
	}
	return m.Start(t)
}

// refusing returns an address that refuses connections. It stays so, since the port
// is bound.
func refusing(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := unix.Getsockname(fd)
	require.NoError(t, err)
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

// result of a run of the program.
type result struct {
	code           int
	stdout, stderr string
}

func runCLI(t *testing.T, ctx context.Context, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var stdout, stderr buffer
	code := run(ctx, args, environment{stdout: &stdout, stderr: &stderr})
	return result{code, stdout.String(), stderr.String()}
}

// buffer may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
