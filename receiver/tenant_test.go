package receiver

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/tenant"
	"github.com/promgrpc/exporter/internal/usage"
)

// A sender's tenant becomes a label, or its request is refused: it is never left out.
func TestTenants(t *testing.T) {
	type request struct {
		header http.Header
		want   string // of the tenant; empty if there is none
		text   string // of the refusal
	}
	of := func(names ...string) http.Header { return http.Header{http.CanonicalHeaderKey(tenant.Header): names} }
	longest := strings.Repeat("x", tenant.MaxBytes)
	for label, requests := range map[string][]request{
		"": {
			{header: http.Header{}},
			{header: of("a"), text: `X-Scope-OrgID names the tenant "a", and tenants are not stored here: that takes --tenant.label`},
			{header: of(""), text: "--tenant.label"},
			{header: of("anonymous"), text: "--tenant.label"},
			{header: http.Header{"Thanos-Tenant": {"a"}}, text: "a tenant is in X-Scope-OrgID"},
		},
		"team": {
			{header: http.Header{}},
			{header: of("a"), want: "a"},
			{header: of(longest), want: longest},
			{header: of(longest + "x"), text: "at most"},
			{header: of("a|b"), text: "several tenants"},
			{header: of("a", "a"), text: "more than once"},
			{header: of("a", "b"), text: "more than once"},
			{header: of(""), text: "empty"},
			{header: of("a b"), text: "has the character"},
			{header: of("a\xff"), text: "has the character"},
			{header: http.Header{"Thanos-Tenant": {"a"}}, text: "a tenant is in X-Scope-OrgID"},
			{header: http.Header{"Accountid": {"1"}}, text: "a tenant is in X-Scope-OrgID"},
			{header: http.Header{"Projectid": {"1"}, http.CanonicalHeaderKey(tenant.Header): {"a"}}, text: "a tenant is in X-Scope-OrgID"},
		},
	} {
		t.Run(label, func(t *testing.T) {
			f := newForwarder(t, "127.0.0.1:0")
			r := startWith(t, func(c *Config) { c.TenantLabel = label }, f)
			for _, contentType := range []string{typeV1, typeV2} {
				for _, q := range requests {
					before := len(f.got())
					a := r.postWith(t, contentType, q.header)
					if q.text != "" {
						require.Equal(t, http.StatusBadRequest, a.code, "%v: %s", q.header, a.body)
						require.Contains(t, a.body, q.text)
						require.Len(t, f.got(), before)
						continue
					}
					require.Equal(t, http.StatusNoContent, a.code, "%v: %s", q.header, a.body)
					got := f.got()[before]
					require.Equal(t, q.want, got.GetTenant().GetValue())
					require.Equal(t, q.want != "", got.GetTenant() != nil)
					if q.want != "" {
						require.Equal(t, label, got.GetTenant().GetName())
					}
				}
			}
			require.Contains(t, r.do(t, "GET", "/metrics", "", nil, "Accept", "text/plain").body, `promgrpc_receiver_requests_total{code="400",schema="2.0"}`)
			require.Contains(t, r.log.String(), "request refused")
		})
	}
}

// postWith posts a body with headers of which there may be several of a name.
func (r *running) postWith(t *testing.T, contentType string, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.url+"/api/v1/write", bytes.NewReader(block("x")))
	require.NoError(t, err)
	req.Header = header.Clone()
	req.Header.Set("Content-Type", contentType)
	resp, err := r.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, string(text), resp.Header}
}

func TestTenantLabelIsChecked(t *testing.T) {
	for _, label := range []string{"__name__", "__tenant__", "a-b", "le"} {
		c := DefaultConfig()
		c.TenantLabel = label
		_, err := New(c, nil, nil)
		var mistake *usage.Error
		require.ErrorAs(t, err, &mistake)
		require.ErrorContains(t, err, "--tenant.label")
	}
}

// A query would choose a database or add labels at others' receivers.
func TestQueriesAreRefused(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, f)
	for _, query := range []string{"extra_label=team=a", "db=metrics", "x"} {
		a := r.do(t, http.MethodPost, "/api/v1/write?"+query, typeV1, bytes.NewReader(block("x")))
		require.Equal(t, http.StatusBadRequest, a.code)
		require.Contains(t, a.body, query)
	}
	require.Empty(t, f.got())
	require.Equal(t, http.StatusNoContent, r.do(t, http.MethodPost, "/api/v1/write?", typeV1, bytes.NewReader(block("x"))).code)
}
