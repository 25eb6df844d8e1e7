package receiver

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

func written(h http.Header) []string {
	return []string{
		h.Get("X-Prometheus-Remote-Write-Samples-Written"),
		h.Get("X-Prometheus-Remote-Write-Histograms-Written"),
		h.Get("X-Prometheus-Remote-Write-Exemplars-Written"),
	}
}

func TestVerdictBecomesTheAnswer(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, f)
	cases := []struct {
		name    string
		verdict *linkv1.Verdict
		code    int
		body    string
		written []string
	}{
		{
			"ok", &linkv1.Verdict{Code: linkv1.Code_CODE_OK, SamplesWritten: 3, HistogramsWritten: 2, ExemplarsWritten: 1},
			http.StatusNoContent, "", []string{"3", "2", "1"},
		},
		{
			"ok with nothing in it", &linkv1.Verdict{Code: linkv1.Code_CODE_OK},
			http.StatusNoContent, "", []string{"0", "0", "0"},
		},
		{
			"invalid", &linkv1.Verdict{
				Code: linkv1.Code_CODE_INVALID, SamplesWritten: 99, Rejected: 1,
				Errors: []string{"series {a=\"b\nc\"}: no name", "and another"},
			},
			http.StatusBadRequest,
			"1 rejected; 99 samples, 0 histograms, 0 exemplars written: series {a=\"b c\"}: no name; and another\n",
			[]string{"99", "0", "0"},
		},
		{
			"not readable", &linkv1.Verdict{Code: linkv1.Code_CODE_INVALID, Errors: []string{"snappy: corrupt"}},
			http.StatusBadRequest, "nothing written: snappy: corrupt\n", []string{"0", "0", "0"},
		},
		{
			"too large", &linkv1.Verdict{Code: linkv1.Code_CODE_TOO_LARGE, Errors: []string{"2 GiB"}},
			http.StatusRequestEntityTooLarge, "too large for the forwarder, nothing written: 2 GiB\n", []string{"0", "0", "0"},
		},
		{
			"unavailable", &linkv1.Verdict{Code: linkv1.Code_CODE_UNAVAILABLE, Errors: []string{"disk full"}},
			http.StatusServiceUnavailable, "the forwarder cannot write now: disk full\n", []string{"0", "0", "0"},
		},
		{
			"undecided", &linkv1.Verdict{Code: linkv1.Code_CODE_UNDECIDED, Errors: []string{"who of a pair"}},
			http.StatusServiceUnavailable, "nothing written yet: who of a pair\n", []string{"0", "0", "0"},
		},
		{
			"unconfirmed", &linkv1.Verdict{Code: linkv1.Code_CODE_UNCONFIRMED, Errors: []string{"after 5s (--ack.timeout) block 3 is on the disks of none"}},
			http.StatusServiceUnavailable, "stored by the forwarder, and too few servers have confirmed it in time: after 5s (--ack.timeout) block 3 is on the disks of none\n", []string{"0", "0", "0"},
		},
		{
			"unspecified", &linkv1.Verdict{},
			http.StatusServiceUnavailable, "the forwarder answered CODE_UNSPECIFIED\n", []string{"0", "0", "0"},
		},
		{
			"of a later version", &linkv1.Verdict{Code: 99},
			http.StatusServiceUnavailable, "the forwarder answered 99\n", []string{"0", "0", "0"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f.set(func(*linkv1.Batch) *linkv1.Verdict { return c.verdict })
			a := r.post(t, typeV2, block("x"))
			require.Equal(t, c.code, a.code)
			require.Equal(t, c.body, a.body)
			require.Equal(t, c.written, written(a.header), "2.0 on success and on failure")
			require.Equal(t, c.code == http.StatusServiceUnavailable, a.header.Get("Retry-After") != "")

			a = r.post(t, typeV1, block("x"))
			require.Equal(t, c.code, a.code)
			require.Equal(t, c.body, a.body)
			require.Equal(t, []string{"", "", ""}, written(a.header), "a 1.0 sender would complain")
		})
	}
}

func TestBatchThatTheForwarderDoesNotTake(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0") // Takes 3 MiB.
	r := startWith(t, nil, f)
	body := append([]byte{0x80, 0x80, 0x80, 0x02}, make([]byte, 3<<20)...)
	a := r.post(t, typeV2, body)
	require.Equal(t, http.StatusRequestEntityTooLarge, a.code)
	require.Contains(t, a.body, "the forwarder takes 3145728 in one batch")
	require.Empty(t, f.got())
}

func TestLongReasonsStayOneLine(t *testing.T) {
	v := &linkv1.Verdict{Code: linkv1.Code_CODE_INVALID, Errors: []string{"a\r\nb", "c\x00\u0085d"}}
	require.Equal(t, "nothing written: a  b; c  d", oneLine(describe(v)))
	require.False(t, strings.ContainsAny(oneLine("\n\r"), "\n\r"))
}
