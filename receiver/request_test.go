package receiver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

func TestOnlyPost(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, f)
	for _, path := range []string{"/", "/api/v1/write"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			a := r.do(t, method, path, typeV1, nil)
			require.Equal(t, http.StatusMethodNotAllowed, a.code, "%s %s", method, path)
			require.Equal(t, "POST", a.header.Get("Allow"))
		}
		a := r.do(t, "POST", path, typeV1, bytes.NewReader(block("x")))
		require.Equal(t, http.StatusNoContent, a.code, a.body)
	}
	require.Len(t, f.got(), 2)
}

// Who has mistyped the path reads in the log of his Prometheus which one is right, and
// the receiver counts and tells what is lost.
func TestOtherPathsTellTheRightOne(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, f)
	paths := []string{"/write", "/api/v1/push", "/api/v1/write/", "/api/v1/receive", "/api/v1"}
	for _, path := range paths {
		a := r.do(t, "POST", path, typeV1, bytes.NewReader(block("x")))
		require.Equal(t, http.StatusNotFound, a.code, path)
		require.Equal(t, "nothing takes POST \""+path+"\" here: remote write is POST /api/v1/write, and GET /metrics, /-/healthy and /-/ready are there\n", a.body)
	}
	require.Empty(t, f.got())
	require.Contains(t, r.do(t, "GET", "/metrics", "", nil, "Accept", "text/plain").body,
		fmt.Sprintf(`promgrpc_web_refused_requests_total{code="404"} %d`, len(paths)))
	require.Contains(t, r.log.String(), `msg="request for what is not there"`)
	require.Contains(t, r.log.String(), `path=/api/v1/push`)
	// net/http has this one come again at the right path.
	require.Equal(t, http.StatusNoContent, r.do(t, "POST", "//api/v1/write", typeV1, bytes.NewReader(block("x"))).code)
}

// vmagent tries its own protocols first. It is told that they are not known here, and
// nobody else is.
func TestOtherProtocolsAreRefusedQuietly(t *testing.T) {
	r := startWith(t, nil, newForwarder(t, "127.0.0.1:0"))
	a := r.post(t, typeV1, []byte{0x28, 0xb5, 0x2f, 0xfd}, "Content-Encoding", "zstd", "X-VictoriaMetrics-Remote-Write-Version", "1")
	require.Equal(t, http.StatusUnsupportedMediaType, a.code)
	require.Equal(t, http.StatusMethodNotAllowed, r.do(t, "GET", "/api/v1/write?get_vm_proto_version=1", "", nil).code)
	require.NotContains(t, r.log.String(), "request refused")
	counted := r.do(t, "GET", "/metrics", "", nil, "Accept", "text/plain").body
	require.Contains(t, counted, `promgrpc_receiver_requests_total{code="415",schema="1.0"} 1`)
	require.Contains(t, counted, `promgrpc_receiver_requests_total{code="405",schema="none"} 1`)
	require.Equal(t, http.StatusUnsupportedMediaType, r.post(t, typeV1, block("x"), "Content-Encoding", "zstd").code)
	require.Contains(t, r.log.String(), "request refused")
}

// A sender that knows that there is HTTP/2 without TLS is answered as any other.
func TestHTTP2WithoutTLS(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, f)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	r.client = &http.Client{Transport: transport}
	for _, size := range []int{10, 300_000} { // more than a connection takes in by itself
		body := append(binary.AppendUvarint(nil, uint64(size)), make([]byte, size)...)
		require.Equal(t, http.StatusNoContent, r.post(t, typeV2, body).code)
	}
	require.Equal(t, http.StatusNotFound, r.do(t, "POST", "/write", typeV1, nil).code)
	require.Len(t, f.got(), 2)
}

func TestSchemaComesFromTheContentType(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, f)
	const v1, v2 = linkv1.Schema_SCHEMA_WRITE_V1, linkv1.Schema_SCHEMA_WRITE_V2
	cases := []struct {
		contentType string
		schema      linkv1.Schema // Unspecified: 415.
	}{
		{"application/x-protobuf", v1},
		{"application/x-protobuf;proto=prometheus.WriteRequest", v1},
		{"application/x-protobuf; proto=prometheus.WriteRequest", v1},
		{`Application/X-Protobuf ; Proto="prometheus.WriteRequest"`, v1},
		{"application/x-protobuf; charset=utf-8", v1},
		{"", v1}, // As in Prometheus' own receiver.
		{"application/x-protobuf;proto=io.prometheus.write.v2.Request", v2},
		{"application/x-protobuf; charset=utf-8; proto=io.prometheus.write.v2.Request", v2},
		{"application/x-protobuf;proto=io.prometheus.write.v3.Request", 0},
		{"application/x-protobuf;proto=", 0},
		{"application/x-protobuf;proto=a;proto=b", 0},
		{"application/protobuf", 0},
		{"application/json", 0},
		{"image/png", 0},
		{"text/plain; charset=utf-8", 0},
		{";", 0},
	}
	for _, c := range cases {
		t.Run(c.contentType, func(t *testing.T) {
			before := len(f.got())
			a := r.post(t, typeV1, block("the body says nothing about it"), "Content-Type", c.contentType)
			if c.schema == 0 {
				require.Equal(t, http.StatusUnsupportedMediaType, a.code)
				require.NotEmpty(t, a.body)
				require.Len(t, f.got(), before)
				return
			}
			require.Equal(t, http.StatusNoContent, a.code, a.body)
			got := f.got()
			require.Equal(t, c.schema, got[len(got)-1].GetSchema())
		})
	}
}

func TestContentEncoding(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, f)
	for encoding, code := range map[string]int{
		"snappy":          http.StatusNoContent,
		"Snappy":          http.StatusNoContent,
		"":                http.StatusNoContent, // As in Prometheus' own receiver.
		"gzip":            http.StatusUnsupportedMediaType,
		"deflate":         http.StatusUnsupportedMediaType,
		"zstd":            http.StatusUnsupportedMediaType,
		"identity":        http.StatusUnsupportedMediaType,
		"x-snappy-framed": http.StatusUnsupportedMediaType,
		"snappy, gzip":    http.StatusUnsupportedMediaType,
	} {
		a := r.post(t, typeV2, block("x"), "Content-Encoding", encoding)
		require.Equal(t, code, a.code, encoding)
		if code != http.StatusNoContent {
			require.Contains(t, a.body, "snappy (block format)")
			require.Equal(t, "0", a.header.Get("X-Prometheus-Remote-Write-Samples-Written"))
		}
	}
	require.Len(t, f.got(), 3)
}

func TestVersionHeaderIsNotRequired(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, f)
	for _, version := range []string{"", "0.1.0", "2.0.0", "2.0.0-rc.4", "nonsense"} {
		a := r.post(t, typeV2, block("x"), "X-Prometheus-Remote-Write-Version", version)
		require.Equal(t, http.StatusNoContent, a.code, version)
	}
}

func TestBodyIsPassedOnAsItCame(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, f)
	var want [][]byte
	for _, size := range []int{0, 1, 100, 1 << 14, 1<<16 + 3, 1<<20 - 1, 1 << 20, 5<<19 + 7} {
		// Bytes that snappy cannot compress, in its own clothes.
		body := append(binary.AppendUvarint(nil, uint64(size)), bytes.Repeat([]byte{7, 9}, size/2+1)[:size]...)
		want = append(want, body, body)
		require.Equal(t, http.StatusNoContent, r.post(t, typeV1, body).code)
		chunked := r.do(t, "POST", "/", typeV1, struct{ io.Reader }{bytes.NewReader(body)})
		require.Equal(t, http.StatusNoContent, chunked.code, chunked.body)
	}
	for i, b := range f.got() {
		require.True(t, bytes.Equal(want[i], b.GetBody()), "body %d of %d bytes", i, len(want[i]))
	}
}

func TestBodiesThatAreRefusedAtTheDoor(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, func(c *Config) { c.RequestBytes, c.DecodedBytes = 10_000, 100_000 }, f)
	var framed bytes.Buffer
	w := snappy.NewBufferedWriter(&framed)
	_, _ = w.Write([]byte("framed"))
	require.NoError(t, w.Close())
	claim := func(decoded uint64, bytes int) []byte {
		return append(binary.AppendUvarint(nil, decoded), make([]byte, bytes)...)
	}
	cases := []struct {
		name    string
		body    []byte
		code    int
		message string
	}{
		{"empty", nil, 400, "no snappy block"},
		{"half a length", []byte{0x80}, 400, "no snappy block"},
		{"no length", bytes.Repeat([]byte{0xff}, 20), 400, "no snappy block"},
		{"framed snappy", framed.Bytes(), 415, "framed format"},
		{"claims 4 GiB", claim(4<<30, 100), 413, "--limit.decoded-bytes"},
		{"claims 2^63", claim(1<<63, 100), 413, "--limit.decoded-bytes"},
		{"one byte over the decoded limit", claim(100_001, 9000), 413, "--limit.decoded-bytes"},
		{"claims more than it can hold", claim(99_999, 100), 400, "cannot hold"},
		{"oversized", make([]byte, 10_001), 413, "--limit.request-bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, a := range []answer{
				r.post(t, typeV2, c.body),
				r.do(t, "POST", "/", typeV2, struct{ io.Reader }{bytes.NewReader(c.body)}),
			} {
				require.Equal(t, c.code, a.code)
				require.Contains(t, a.body, c.message)
				require.Equal(t, "0", a.header.Get("X-Prometheus-Remote-Write-Samples-Written"))
				require.Empty(t, a.header.Get("Retry-After"))
			}
		})
	}
	require.Empty(t, f.got())
	counted := r.do(t, "GET", "/metrics", "", nil, "Accept", "text/plain").body
	require.Contains(t, counted, `promgrpc_receiver_over_limit_total{limit="decoded-bytes"} 6`)
	require.Contains(t, counted, `promgrpc_receiver_over_limit_total{limit="request-bytes"} 2`)
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, snappy.Encode(nil, make([]byte, 100_000))).code, "the best that snappy can do")
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, claim(9_000, 9_998)).code)
}

func TestOperators(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, f)
	require.Equal(t, http.StatusNoContent, r.post(t, typeV2, block("x")).code)
	require.Equal(t, http.StatusUnsupportedMediaType, r.post(t, "a/b", block("x")).code)
	require.Equal(t, http.StatusOK, r.do(t, "GET", "/-/healthy", "", nil).code)
	require.Equal(t, http.StatusOK, r.do(t, "GET", "/-/ready", "", nil).code)
	require.NoError(t, r.Ready())
	body := r.do(t, "GET", "/metrics", "", nil, "Accept", "text/plain").body
	for _, want := range []string{
		`promgrpc_receiver_requests_total{code="204",schema="2.0"} 1`,
		`promgrpc_receiver_requests_total{code="415",schema="none"} 1`,
		`promgrpc_receiver_request_bytes_total 3`,
		`promgrpc_receiver_request_duration_seconds_count 2`,
		`promgrpc_receiver_inflight_requests 0`,
		`promgrpc_receiver_inflight_bytes 0`,
		`promgrpc_receiver_forwarder_up{forwarder="` + f.addr + `",group=""} 1`,
		`promgrpc_receiver_forwarder_batches_total{forwarder="` + f.addr + `",group="",outcome="ok"} 1`,
		`promgrpc_link_connections{direction="out"} 1`,
	} {
		require.Contains(t, body, want)
	}
	require.Equal(t, 1, strings.Count(r.log.String(), "request refused"))
}
