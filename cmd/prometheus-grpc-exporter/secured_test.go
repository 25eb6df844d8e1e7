package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/authority"
)

// Whatever others need to call it, the exporter writes its own metrics, and they come
// through its own links, which nobody else is let in at.
func TestSecured(t *testing.T) {
	dir := t.TempDir()
	ca, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	pair, err := ca.Issue(authority.Request{Names: []string{"127.0.0.1"}})
	require.NoError(t, err)
	require.NoError(t, pair.Write(dir, "server"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), ca.Cert(), 0o600))
	// The password is "secret".
	const text = "tls_server_config:\n  cert_file: server.pem\n  key_file: server-key.pem\n" +
		"  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n" +
		"basic_auth_users:\n  me: $2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC\n" +
		"  you: $2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC\n"
	const policies = "policies:\n- {name: readers, users: [me], read: {}}\n"
	c := defaultConfig()
	c.StoragePath, c.selfInterval = filepath.Join(dir, "data"), 100*time.Millisecond
	c.receiverAddress, c.rpcAddresses = "127.0.0.1:0", []string{"127.0.0.1:0", "127.0.0.1:0"}
	c.web = filepath.Join(dir, "web.yml")
	c.rpc, c.access = c.web, filepath.Join(dir, "access.yml")
	require.NoError(t, os.WriteFile(c.access, []byte(policies), 0o600))
	require.NoError(t, os.WriteFile(c.web, []byte(text), 0o600))
	e := startExporter(t, c)

	mine, err := pair.TLS()
	require.NoError(t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{mine}}, DisableKeepAlives: true}
	names := func(address net.Addr, user, password string) (*connect.Response[metricsv1.GetLabelValuesResponse], error) {
		request := connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "__name__"})
		r := &http.Request{Header: request.Header()}
		r.SetBasicAuth(user, password)
		client := metricsv1connect.NewMetricsServiceClient(&http.Client{Transport: transport}, "https://"+address.String())
		return client.GetLabelValues(t.Context(), request)
	}
	for _, s := range e.servers {
		require.True(t, s.SecuresTLS())
		_, err := names(s.RPCAddr(), "me", "wrong")
		require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(err))
		_, err = names(s.RPCAddr(), "you", "secret")
		require.Equal(t, connect.CodePermissionDenied, connect.CodeOf(err))
		require.Eventually(t, func() bool {
			answer, err := names(s.RPCAddr(), "me", "secret")
			return err == nil && slices.Contains(answer.Msg.GetValues(), "up")
		}, time.Minute, 10*time.Millisecond)
	}
	// The logs can be fed by separate programs one day, which have other names.
	owners, err := filepath.Glob(filepath.Join(dir, "data", "server-*", "*", "owner"))
	require.NoError(t, err)
	require.Empty(t, owners)
	require.True(t, e.receiver.SecuresTLS())
	for _, address := range []net.Addr{e.forwarder.LinkAddr(), e.servers[0].LinkAddr()} {
		_, err := tls.Dial("tcp", address.String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		require.Error(t, err, "links are of their own")
		conn, err := tls.Dial("tcp", address.String(), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{mine}})
		require.NoError(t, err)
		_, err = conn.Read(make([]byte, 1))
		require.Error(t, err, "links are for certificates of their own")
		require.NoError(t, conn.Close())
	}
}

// By default nobody but this machine's users reaches it.
func TestListensOnLoopback(t *testing.T) {
	c := defaultConfig()
	for _, address := range append(c.rpcAddresses, c.receiverAddress) {
		host, _, err := net.SplitHostPort(address)
		require.NoError(t, err)
		require.True(t, net.ParseIP(host).IsLoopback(), address)
	}
}
