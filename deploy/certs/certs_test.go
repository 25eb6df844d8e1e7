package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func run(t *testing.T, dir string, args ...string) error {
	t.Helper()
	o, err := parse(append([]string{"--dir=" + dir}, args...))
	require.NoError(t, err)
	return o.run(io.Discard)
}

func certificate(t *testing.T, dir, part string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, part+".pem"), filepath.Join(dir, part+"-key.pem"))
	require.NoError(t, err)
	return pair.Leaf
}

// Every part has a certificate of the authority, with its role, and its hosts.
func TestCertificates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	require.NoError(t, run(t, dir, "--lifetime=2h", "--name=server=metrics.example.org", "--name=server=192.0.2.1", "--name=team=spiffe://promgrpc/team"))
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(pem))
	for part, hosts := range map[string][]string{
		"receiver":   {"prometheus-remote-receiver"},
		"forwarder":  {"forwarder-1", "metrics-forwarder-0.metrics-forwarder.promgrpc.svc.cluster.local"},
		"server":     {"server-2", "prometheus-api-server-0.prometheus-api-server-headless.promgrpc.svc.cluster.local", "metrics.example.org", "192.0.2.1"},
		"haproxy":    {"haproxy", "prometheus-grpc.promgrpc.svc"},
		"relay":      nil,
		"prometheus": {"prometheus"},
		"consul":     {"consul", "server.dc1.consul"},
	} {
		leaf := certificate(t, dir, part)
		for _, host := range append(hosts, "localhost", "127.0.0.1", "[::1]") {
			_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots})
			require.NoError(t, err, "%s %s", part, host)
		}
		require.Len(t, leaf.URIs, 1)
		require.Equal(t, "spiffe://promgrpc/"+part, leaf.URIs[0].String())
		require.WithinDuration(t, time.Now().Add(2*time.Hour), leaf.NotAfter, time.Minute)
	}
	require.Empty(t, certificate(t, dir, "team").DNSNames)
	bundle := filepath.Join(dir, "haproxy-bundle.pem")
	_, err = tls.LoadX509KeyPair(bundle, bundle)
	require.NoError(t, err)

	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var secret int
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, "-key.pem") || strings.HasSuffix(name, "-bundle.pem") {
			info, err := e.Info()
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode(), name)
			secret++
		}
	}
	require.Equal(t, 10, secret)
}

func TestRunAgain(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, run(t, dir))
	authority, leaf := certificate(t, dir, ca), certificate(t, dir, "server")
	require.NoError(t, run(t, dir))
	require.Equal(t, authority.Raw, certificate(t, dir, ca).Raw)
	renewed := certificate(t, dir, "server")
	require.NotEqual(t, leaf.Raw, renewed.Raw)
	require.NoError(t, renewed.CheckSignatureFrom(authority))

	// Half an authority is not one to replace.
	for _, file := range []string{"ca-key.pem", "ca.pem"} {
		before, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		require.NoError(t, os.Remove(filepath.Join(dir, file)))
		require.ErrorContains(t, run(t, dir), file)
		require.NoFileExists(t, filepath.Join(dir, file))
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), before, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), nil, 0o600))
	require.Error(t, run(t, dir))
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{
		{"--lifetime=0s"}, {"--authority-lifetime=-1h"}, {"--name=server"}, {"--name==x"}, {"--name=ca=x"}, {"--name=../x=y"}, {"--name=server="}, {"x"},
	} {
		_, err := parse(args)
		require.Error(t, err, args)
	}
	require.ErrorContains(t, run(t, t.TempDir(), "--name=server=a b"), "server")
}

// Several that run at once make one authority, and no certificate with another's key.
func TestRunsAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	for range 5 {
		var all sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			o, err := parse([]string{"--dir=" + dir})
			require.NoError(t, err)
			all.Go(func() { errs[i] = o.run(io.Discard) })
		}
		all.Wait()
		require.NoError(t, errors.Join(errs...))
		for part := range partNames() {
			certificate(t, dir, part)
		}
	}
}
