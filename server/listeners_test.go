package server_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/server"
)

// A server says of each of its listeners what protects it, in its log when it starts and
// in its status, over each protocol.
func TestListeners(t *testing.T) {
	certs := newCerts(t)
	open := testConfig(t)
	open.RPCAddress, open.LinkAddress, open.WebAddress = ":0", ":0", ":0"
	secured := certs.config(rpcMTLS)
	secured.RPCAddress, secured.LinkAddress, secured.LinkConfigFile = ":0", ":0", secured.RPCConfigFile
	relay := testConfig(t)
	relay.Upstream = "127.0.0.1:1"
	for name, test := range map[string]struct {
		config server.Config
		want   []*metricsv1.Listener
	}{
		"loopback": {testConfig(t), []*metricsv1.Listener{{Name: "rpc"}, {Name: "web"}, {Name: "link"}}},
		"open":     {open, []*metricsv1.Listener{{Name: "rpc", Exposed: true}, {Name: "web", Exposed: true}, {Name: "link", Exposed: true}}},
		"secured": {secured, []*metricsv1.Listener{
			{Name: "rpc", Tls: true, ClientCertificates: true}, {Name: "web"}, {Name: "link", Tls: true, ClientCertificates: true},
		}},
		"a relay": {relay, []*metricsv1.Listener{{Name: "rpc"}, {Name: "web"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, test.config)
			exposed := 0
			for _, l := range test.want {
				if l.GetExposed() {
					exposed++
				}
			}
			require.Equal(t, exposed, strings.Count(s.log.String(), `msg="listener is open to whoever reaches it"`), s.log.String())
			for protocol, options := range unary {
				got := statusOf(t, certs, s, test.want[0].GetTls(), options).GetListeners()
				require.Len(t, got, len(test.want), protocol)
				for i, l := range got {
					require.NotEmpty(t, l.GetAddress())
					want := proto.CloneOf(test.want[i])
					want.Address = l.GetAddress()
					require.True(t, proto.Equal(want, l), "%s: %v", protocol, l)
				}
			}
		})
	}
}

func statusOf(t *testing.T, c certs, s *instance, encrypted bool, options []connect.ClientOption) *metricsv1.GetStatusResponse {
	t.Helper()
	scheme, config := "http://", (*tls.Config)(nil)
	if encrypted {
		scheme, config = "https://", c.client(c.pair("spiffe://test/me"))
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(s.RPCAddr().String(), "[::]"), ":")
	protocols := new(http.Protocols)
	protocols.SetHTTP2(encrypted)
	protocols.SetUnencryptedHTTP2(!encrypted)
	transport := &http.Transport{TLSClientConfig: config, Protocols: protocols}
	defer transport.CloseIdleConnections()
	client := metricsv1connect.NewMetricsServiceClient(&http.Client{Transport: transport}, scheme+"127.0.0.1:"+port, options...)
	answer, err := client.GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
	require.NoError(t, err)
	return answer.Msg
}
