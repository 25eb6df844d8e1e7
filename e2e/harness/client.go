package harness

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
)

// Output is what the client printed of series.
type Output struct {
	Points    Points
	Exemplars Points // with the exemplar's labels in the value
}

func newOutput() Output { return Output{Points: Points{}, Exemplars: Points{}} }

// Run runs a program to its end and returns its exit code and what it printed.
func Run(t testing.TB, program string, args ...string) (code int, stdout, stderr []byte) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatalf("run %s: %v", program, err)
	}
	return cmd.ProcessState.ExitCode(), out.Bytes(), log.Bytes()
}

// Client runs the client.
func Client(t testing.TB, args ...string) (code int, stdout, stderr []byte) {
	t.Helper()
	return Run(t, Binary(t, "prometheus-grpc-client"), args...)
}

// must is Client for what has to succeed.
func must(t testing.TB, args ...string) []byte {
	t.Helper()
	code, stdout, stderr := Client(t, args...)
	if code != 0 {
		t.Fatalf("prometheus-grpc-client %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

func get(address, protocol, output string, args []string) []string {
	return append([]string{"get", "--address=" + address, "--protocol=" + protocol, "--output=" + output}, args...)
}

// Get runs `get` to its end and returns the series as they went over the wire.
func Get(t testing.TB, address, protocol string, args ...string) Output {
	t.Helper()
	data := must(t, get(address, protocol, "proto", args)...)
	o := newOutput()
	if rest := o.parseProto(t, data); len(rest) != 0 {
		t.Errorf("the client's output ends within a message, %d bytes too early or late", len(rest))
	}
	return o
}

// GetJSON runs `get` to its end and returns the series as JSON tells of them.
// Histograms are in the form that Prometheus' HTTP API has them in.
func GetJSON(t testing.TB, address, protocol string, args ...string) Output {
	t.Helper()
	return ParseJSON(t, must(t, get(address, protocol, "json", args)...))
}

// ParseJSON reads what a program printed, in the form of the client's JSON.
func ParseJSON(t testing.TB, data []byte) Output {
	t.Helper()
	o := newOutput()
	if rest := o.parseJSON(t, data); len(rest) != 0 {
		t.Errorf("the output ends without a newline: %q", rest)
	}
	return o
}

// Follower is a client, of the project or another, that goes on reading.
type Follower struct {
	*Process

	t      testing.TB
	parsed int
	output Output
}

// Follow starts `get --follow` with JSON output.
func Follow(t testing.TB, addresses, protocol string, args ...string) *Follower {
	t.Helper()
	args = append(get(addresses, protocol, "json", args), "--follow")
	return NewFollower(t, Start(t, "client-"+protocol, Binary(t, "prometheus-grpc-client"), args...))
}

// NewFollower reads what a process prints, in the form of the client's JSON.
func NewFollower(t testing.TB, p *Process) *Follower {
	return &Follower{Process: p, t: t, output: newOutput()}
}

// Points that were printed so far. The result is valid until the next call,
// which must not come from another goroutine.
func (f *Follower) Points() Points {
	f.t.Helper()
	data := f.Stdout().Bytes()[f.parsed:]
	f.parsed += len(data) - len(f.output.parseJSON(f.t, data))
	return f.output.Points
}

// parseProto reads TimeSeries messages, each after its length, and returns
// what does not make a whole one.
func (o *Output) parseProto(t testing.TB, data []byte) []byte {
	t.Helper()
	for {
		size, n := binary.Uvarint(data)
		if n <= 0 || uint64(len(data)-n) < size {
			return data
		}
		// The fields of prometheus.TimeSeries are those of ours.
		var s prompb.TimeSeries
		if err := s.Unmarshal(data[n : n+int(size)]); err != nil {
			t.Fatalf("the client's output: %v", err)
		}
		data = data[n+int(size):]
		series := Series(labelMap(s.Labels))
		for _, sample := range s.Samples {
			o.Points.Add(series, sample.Timestamp, Float(sample.Value))
		}
		for _, h := range s.Histograms {
			o.Points.Add(series, h.Timestamp, Histogram(h))
		}
		for _, e := range s.Exemplars {
			o.Exemplars.Add(series, e.Timestamp, Series(labelMap(e.Labels))+" "+Float(e.Value))
		}
	}
}

func labelMap(list []prompb.Label) map[string]string {
	labels := map[string]string{}
	for _, l := range list {
		labels[l.Name] = l.Value
	}
	return labels
}

// jsonLine is a sample, an exemplar, or an event, which is not used.
type jsonLine struct {
	Metric    map[string]string
	Timestamp int64
	Value     string
	Stale     bool
	Histogram json.RawMessage
	Exemplar  *struct {
		Labels    map[string]string
		Value     string
		Timestamp int64
	}
}

// parseJSON reads an object a line and returns what does not make a whole one.
func (o *Output) parseJSON(t testing.TB, data []byte) []byte {
	t.Helper()
	for {
		line, rest, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			return data
		}
		data = rest
		var l jsonLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("the client's output: %v: %s", err, line)
		}
		series := Series(l.Metric)
		switch {
		case l.Exemplar != nil:
			o.Exemplars.Add(series, l.Exemplar.Timestamp, Series(l.Exemplar.Labels)+" "+parseFloat(t, l.Exemplar.Value))
		case l.Stale:
			o.Points.Add(series, l.Timestamp, "stale")
		case l.Histogram != nil:
			o.Points.Add(series, l.Timestamp, apiHistogram(l.Histogram))
		case l.Metric != nil:
			o.Points.Add(series, l.Timestamp, parseFloat(t, l.Value))
		}
	}
}

func parseFloat(t testing.TB, text string) string {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("value %q: %v", text, err)
	}
	return Float(v)
}

// apiHistogram writes a histogram of the HTTP API as a value of a point.
func apiHistogram(data json.RawMessage) string {
	var h struct {
		Count, Sum string
		Buckets    [][]any
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("histogram count=%s sum=%s %v", h.Count, h.Sum, h.Buckets)
}

// GetMetadata runs `metadata` and returns it by metric family.
func GetMetadata(t testing.TB, address, protocol string) map[string]Metadata {
	t.Helper()
	data := must(t, "metadata", "--address="+address, "--protocol="+protocol, "--output=json")
	metadata := map[string]Metadata{}
	for line := range bytes.Lines(data) {
		var m struct {
			Family string
			Metadata
		}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("the client's metadata: %v: %s", err, line)
		}
		metadata[m.Family] = m.Metadata
	}
	return metadata
}
