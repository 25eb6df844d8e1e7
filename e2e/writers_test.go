package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/promgrpc/exporter/e2e/harness"
)

// writersAccess is what the test's senders may do.
const writersAccess = `
policies:
- {name: by-token, token_files: [token], write: {tenant: by-token}}
- {name: any, token_files: [any], write: {}}
- {name: by-password, users: [alice], write: {tenant: by-password}}
- {name: by-certificate, certificates: ["spiffe://test/sender"], write: {tenant: by-certificate}}
- {name: reader, token_files: [reader], read: {}}
`

// TestWriters has a real Prometheus write the same as several tenants: by bearer tokens,
// a password, a client certificate, and the header of Mimir. Each has its own series,
// and who may not write stores nothing.
func TestWriters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, token := range []string{"token", "any", "reader"} {
		file(token, "secret-of-"+token)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	flags := []string{"--access.file=" + file("access.yml", writersAccess), "--tenant.label=team"}
	cluster := harness.NewCluster(t, harness.Options{Receiver: flags})
	receiver := func(name, host, config string) string {
		p := harness.Start(t, name, harness.Binary(t, "prometheus-remote-receiver"), append([]string{
			"--web.listen-address=" + host + ":0", "--forwarder=" + cluster.Forwarders[0].Listening("link"), "--web.config.file=" + file(name+".yml", config),
		}, flags...)...)
		p.Logged("forwarder connected")
		return p.Listening("web") + "/api/v1/write"
	}
	passwords := "http://" + receiver("passwords", harness.Host(), fmt.Sprintf("basic_auth_users: {alice: %s}\n", hash))
	host := harness.Host()
	certs := newCertificates(t, dir)
	certs.issue("sender", "spiffe://test/sender")
	byCertificate := "https://" + receiver("certificates", host, certs.listening("receiver", host))

	const v2 = "io.prometheus.write.v2.Request"
	token := func(name string) string {
		return fmt.Sprintf("authorization: {type: Bearer, credentials_file: %s}", filepath.Join(dir, name))
	}
	file("password", "secret")
	sender := harness.StartPrometheus(t, harness.PrometheusOptions{
		Name: "writer", Tool: "prometheus3", Target: harness.StartApp(t),
		More: []harness.Remote{
			{URL: cluster.WriteURL(), Settings: []string{token("token")}},
			{URL: cluster.WriteURL(), Message: v2, Settings: []string{token("any"), "headers: {X-Scope-OrgID: by-header}"}},
			{URL: passwords, Settings: []string{"basic_auth: {username: alice, password_file: " + filepath.Join(dir, "password") + "}"}},
			{URL: byCertificate, Message: v2, Settings: []string{fmt.Sprintf("tls_config: {ca_file: %[1]s/ca.pem, cert_file: %[1]s/sender.pem, key_file: %[1]s/sender-key.pem}", dir)}},
			{URL: cluster.WriteURL(), Settings: []string{token("token"), "headers: {X-Scope-OrgID: stolen}"}},
			{URL: cluster.WriteURL(), Settings: []string{token("reader"), "headers: {X-Scope-OrgID: reader}"}},
		},
	})
	follower := harness.Follow(t, cluster.RPCs(), "grpc", "--since=1h", "up")
	tenants := []string{"by-token", "by-header", "by-password", "by-certificate"}
	of := func(tenant string) harness.Points {
		return follower.Points().Filter(func(p harness.Point) bool { return strings.Contains(p.Series, fmt.Sprintf("team=%q", tenant)) })
	}
	for _, tenant := range tenants {
		harness.Eventually(t, "series of "+tenant, func() bool { return len(of(tenant)) > 0 })
	}
	from := time.Now()
	time.Sleep(5 * time.Second)
	at := time.Now()
	time.Sleep(time.Second) // for what is being scraped
	want := sender.Read(t, map[string]string{"__name__": "up"}, from, at)
	if len(want) < 4 {
		t.Fatalf("%d samples were scraped", len(want))
	}
	for _, tenant := range tenants {
		own := harness.Points{}
		for p, n := range want {
			p.Series = strings.Replace(p.Series, `,sender="writer"`, fmt.Sprintf(`,sender="writer",team=%q`, tenant), 1)
			own[p] += n
		}
		harness.Eventually(t, "all samples of "+tenant, func() bool { return of(tenant).Missing(own) == 0 })
		harness.Equal(t, tenant, own, of(tenant).Until(at).Filter(func(p harness.Point) bool { return p.Time >= from.UnixMilli() }))
	}
	for i := range cluster.Servers {
		got := harness.Get(t, cluster.RPC(i), protocols[i], `{team!~"`+strings.Join(tenants, "|")+`"}`)
		harness.Equal(t, "nobody's series", harness.Points{}, got.Points)
	}
	// Prometheus logs one refusal a minute, whichever of its remotes was refused.
	sender.Logged("server returned HTTP status 403 Forbidden: policy ")
	cluster.Receiver.Logged("policy reader does not have write")
	cluster.Receiver.Logged(`names \"stolen\"`)
	res, err := http.Get("http://" + cluster.Receiver.Listening("web") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, metrics, `promgrpc_receiver_denied_requests_total{reason="other_tenant"}`, `promgrpc_receiver_denied_requests_total{reason="no_right"}`)
}
