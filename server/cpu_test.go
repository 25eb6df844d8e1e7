package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1grpc"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server"
)

// The benchmarks here measure the server's CPU time. Their clients run in another
// process, which is this test binary again, and parse only what they need of a
// response.

const (
	benchClientEnv = "PROMGRPC_BENCH_CLIENT"
	benchTLS       = "tls://"   // before the address
	benchPings     = "pings://" // before that: clients look for the size of their windows by pings
	benchQuery     = "query "   // before the request
)

// benchClient makes as many calls at once as the spec says, "ADDRESS N REQUEST", of
// GetMetrics, or of Query if the request begins with benchQuery. It prints each stream's
// first response, synced mark, steps and end.
func benchClient(spec string) {
	address, rest, _ := strings.Cut(spec, " ")
	address, pings := strings.CutPrefix(address, benchPings)
	address, secured := strings.CutPrefix(address, benchTLS)
	count, text, _ := strings.Cut(rest, " ")
	var n int
	_, _ = fmt.Sscan(count, &n)
	var req proto.Message = new(getRequest)
	method, syncedField := metricsv1grpc.MetricsService_GetMetrics_FullMethodName, protowire.Number(3)
	text, isQuery := strings.CutPrefix(text, benchQuery)
	if isQuery {
		req, method, syncedField = new(queryRequest), queryv1grpc.QueryService_Query_FullMethodName, 6
	}
	must(protojson.Unmarshal([]byte(text), req))
	var wg sync.WaitGroup
	for range n {
		security := insecure.NewCredentials()
		if secured {
			security = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}) // It is this process' parent.
		}
		options := []grpc.DialOption{grpc.WithTransportCredentials(security)}
		if !pings {
			options = append(options, grpc.WithInitialWindowSize(4<<20), grpc.WithInitialConnWindowSize(4<<20))
		}
		conn, err := grpc.NewClient(address, options...)
		must(err)
		wg.Go(func() {
			desc := &grpc.StreamDesc{ServerStreams: true}
			began := time.Now()
			stream, err := conn.NewStream(context.Background(), desc, method, grpc.ForceCodecV2(rawCodec{}))
			must(err)
			must(stream.SendMsg(req))
			must(stream.CloseSend())
			for first, synced := true, false; ; first = false {
				var raw mem.BufferSlice
				if err := stream.RecvMsg(&raw); err != nil {
					fmt.Println("end", err)
					return
				}
				if first {
					fmt.Println("first", time.Since(began).Seconds())
				}
				if !synced && hasField(raw.Materialize(), syncedField) {
					synced = true
					fmt.Println("synced")
				}
				if isQuery && hasField(raw.Materialize(), 3) {
					fmt.Println("step")
				}
				raw.Free()
			}
		})
	}
	wg.Wait()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func hasField(b []byte, want protowire.Number) bool {
	for len(b) > 0 {
		field, _, n := protowire.ConsumeField(b)
		if n < 0 || field == want {
			return n > 0
		}
		b = b[n:]
	}
	return false
}

// rawCodec leaves responses as bytes.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, err := proto.Marshal(v.(proto.Message))
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	*v.(*mem.BufferSlice) = data
	return nil
}

// clients are n calls in another process.
type clients struct {
	b    *testing.B
	cmd  *exec.Cmd
	out  *bufio.Scanner
	stop func()
}

func callers(b *testing.B, s *instance, n int, req *getRequest) *clients {
	text, err := protojson.Marshal(req)
	require.NoError(b, err)
	return callersOf(b, s, n, string(text))
}

// callersOf is callers of a request as benchClient takes it.
func callersOf(b *testing.B, s *instance, n int, text string) *clients {
	address := s.RPCAddr().String()
	if s.SecuresTLS() {
		address = benchTLS + address
	}
	return callersAt(b, address, n, text)
}

// callersAt is callersOf of an address.
func callersAt(b *testing.B, address string, n int, text string) *clients {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s", benchClientEnv, address, n, text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	b.Cleanup(stop)
	return &clients{b: b, cmd: cmd, out: bufio.NewScanner(out), stop: stop}
}

// await reads what the clients print until each has printed a word, and returns what
// came after the first.
func (c *clients) await(n int, word string) (first string) {
	for n > 0 && c.out.Scan() {
		got, rest, _ := strings.Cut(c.out.Text(), " ")
		if got == word {
			first, n = rest, n-1
		}
	}
	require.Zero(c.b, n, c.out.Err())
	return first
}

// cpu is the CPU time that this process has taken.
func cpu() time.Duration {
	var u syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func request(references bool, req *getRequest) *getRequest {
	req = proto.CloneOf(req)
	req.LabelReferences = references
	return req
}

func everyWay(b *testing.B, run func(b *testing.B, references bool)) {
	b.Run("labels", func(b *testing.B) { run(b, false) })
	b.Run("references", func(b *testing.B) { run(b, true) })
}

// withTLS runs a benchmark of a server's RPC port in cleartext and with TLS.
func withTLS(b *testing.B, run func(b *testing.B, c server.Config)) {
	b.Run("cleartext", func(b *testing.B) { run(b, testConfig(b)) })
	b.Run("tls", func(b *testing.B) { run(b, newCerts(b).config(rpcTLS)) })
}

// BenchmarkSnapshot takes snapshots of a million series.
func BenchmarkSnapshot(b *testing.B) {
	src := million(b)
	withTLS(b, func(b *testing.B, c server.Config) { benchmarkSnapshot(b, c, src) })
}

func benchmarkSnapshot(b *testing.B, c server.Config, src *source, selectors ...string) {
	c.Staleness = time.Hour
	s := startFed(b, c, src)
	defer s.stop()
	b.ResetTimer()
	before, bytes := cpu(), s.metric(b, "promgrpc_server_sent_bytes_total")
	for range b.N {
		calls := callers(b, s, 1, &getRequest{Selectors: selectors})
		first := calls.await(1, "first")
		require.Equal(b, io.EOF.Error(), calls.await(1, "end"))
		calls.stop()
		var seconds float64
		_, _ = fmt.Sscan(first, &seconds)
		b.ReportMetric(1e3*seconds, "ms-to-first")
	}
	b.ReportMetric(manySeries*float64(b.N)/(cpu()-before).Seconds(), "series/cpu-s")
	b.ReportMetric((s.metric(b, "promgrpc_server_sent_bytes_total")-bytes)/manySeries/float64(b.N), "B/series")
}

// BenchmarkFollowers has a hundred followers of 20,000 samples a second.
func BenchmarkFollowers(b *testing.B) {
	withTLS(b, func(b *testing.B, c server.Config) {
		everyWay(b, func(b *testing.B, references bool) {
			benchmarkFollowers(b, c, request(references, &getRequest{Follow: true}))
		})
	})
}

func benchmarkFollowers(b *testing.B, c server.Config, req *getRequest) {
	const followers, series, blocksASecond = 100, 20000, 10
	src := newSource(b)
	src.append(tenLabels(0, series))
	c.StoragePath = b.TempDir()
	s := startFed(b, c, src)
	callers(b, s, followers, req).await(followers, "synced")
	time.Sleep(100 * time.Millisecond)
	sent, bytes := s.metric(b, "promgrpc_server_samples_sent_total"), s.metric(b, "promgrpc_server_sent_bytes_total")
	refs := make([]uint64, series)
	for i := range refs {
		refs[i] = uint64(i + 1)
	}
	before := cpu()
	b.ResetTimer()
	ticks := time.NewTicker(time.Second / blocksASecond)
	defer ticks.Stop()
	for i := range b.N * blocksASecond {
		part := refs[i%blocksASecond*(series/blocksASecond):][:series/blocksASecond]
		src.append(floats(part, now(), float64(i)))
		<-ticks.C
	}
	elapsed, took := b.Elapsed(), cpu()-before
	sent, bytes = s.metric(b, "promgrpc_server_samples_sent_total")-sent, s.metric(b, "promgrpc_server_sent_bytes_total")-bytes
	b.ReportMetric(took.Seconds()/elapsed.Seconds(), "cpu-s/s")
	b.ReportMetric(sent/float64(b.N*series*followers), "delivered")
	b.ReportMetric(sent/took.Seconds(), "samples/cpu-s")
	b.ReportMetric(bytes/sent, "B/sample")
}

// BenchmarkSmallMessages has followers of ten messages a second, of ten samples each. They
// share the cores with the server, so there are no more than can follow.
func BenchmarkSmallMessages(b *testing.B) {
	b.Run("pings", func(b *testing.B) { benchmarkSmallMessages(b, testConfig(b), benchPings) })
	b.Run("fixed windows", func(b *testing.B) { benchmarkSmallMessages(b, testConfig(b), "") })
	b.Run("tls", func(b *testing.B) { benchmarkSmallMessages(b, newCerts(b).config(rpcTLS), benchTLS) })
}

func benchmarkSmallMessages(b *testing.B, c server.Config, way string) {
	const followers, series, blocksASecond = 300, 10, 10
	src := newSource(b)
	src.append(tenLabels(0, series))
	s := startFed(b, c, src)
	text, err := protojson.Marshal(&getRequest{Follow: true, LabelReferences: true})
	require.NoError(b, err)
	callersAt(b, way+s.RPCAddr().String(), followers, string(text)).await(followers, "synced")
	sent := s.metric(b, "promgrpc_server_samples_sent_total")
	refs := make([]uint64, series)
	for i := range refs {
		refs[i] = uint64(i + 1)
	}
	before := cpu()
	b.ResetTimer()
	ticks := time.NewTicker(time.Second / blocksASecond)
	defer ticks.Stop()
	for i := range b.N * blocksASecond {
		src.append(floats(refs, now(), float64(i)))
		<-ticks.C
	}
	took := cpu() - before
	sent = s.metric(b, "promgrpc_server_samples_sent_total") - sent
	b.ReportMetric(sent/float64(b.N*blocksASecond*series*followers), "delivered")
	b.ReportMetric(1e6*took.Seconds()/sent*series, "cpu-µs/message")
}

// BenchmarkPolicies has snapshots and followers with a selector of the request, and with one of a
// policy.
func BenchmarkPolicies(b *testing.B) {
	const selector = `{cluster="production-1"}`
	byPolicy := func(b *testing.B) server.Config {
		return restricted(b, "cursor_key_files: [cursor.key]\npolicies: [{name: a, anonymous: true, read: {selectors: ['"+selector+"']}}]")
	}
	src := million(b)
	b.Run("snapshot/request", func(b *testing.B) { benchmarkSnapshot(b, testConfig(b), src, selector) })
	b.Run("snapshot/policy", func(b *testing.B) { benchmarkSnapshot(b, byPolicy(b), src) })
	b.Run("snapshot/both", func(b *testing.B) { benchmarkSnapshot(b, byPolicy(b), src, `{code="201"}`) })
	everyWay(b, func(b *testing.B, references bool) {
		b.Run("follow/request", func(b *testing.B) {
			benchmarkFollowers(b, testConfig(b), request(references, &getRequest{Follow: true, Selectors: []string{selector}}))
		})
		b.Run("follow/policy", func(b *testing.B) {
			benchmarkFollowers(b, byPolicy(b), request(references, &getRequest{Follow: true}))
		})
	})
}

// BenchmarkReplay replays samples from the files, delivered and skipped.
func BenchmarkReplay(b *testing.B) {
	const series, blocks = 100000, 50
	src := newSource(b)
	src.append(tenLabels(0, series))
	refs := make([]uint64, series)
	for i := range refs {
		refs[i] = uint64(i + 1)
	}
	for i := range blocks {
		for part := refs; len(part) > 0; part = part[2000:] {
			src.append(floats(part[:2000], now(), float64(i)))
		}
	}
	s := startFed(b, testConfig(b), src)
	for name, req := range map[string]*getRequest{
		"delivered": {}, "skipped": {Selectors: []string{`{pod="none"}`}},
	} {
		b.Run(name, func(b *testing.B) {
			everyWay(b, func(b *testing.B, references bool) {
				req.Start = &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}
				before := cpu()
				for range b.N {
					calls := callers(b, s, 1, request(references, req))
					require.Equal(b, io.EOF.Error(), calls.await(1, "end"))
					calls.stop()
				}
				b.ReportMetric(series*(blocks+1)*float64(b.N)/(cpu()-before).Seconds(), "samples/cpu-s")
			})
		})
	}
}

func floats(refs []uint64, at int64, v float64) *segment.Block {
	b := &segment.Block{Time: now()}
	for i, ref := range refs {
		b.Samples.Add(segment.Sample{Ref: ref, Timestamp: at, Value: v + math.Sqrt(float64(i))})
	}
	return b
}
