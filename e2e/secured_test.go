package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// fortress is the all-in-one program whose ports want a certificate, a name and a
// password.
type fortress struct {
	rpc, url string // host:port, and where to write to
	dir      string // of the files that a caller needs
}

// authorization of the user me, whose password is "secret".
const authorization = "Authorization: Basic bWU6c2VjcmV0"

func startFortress(t *testing.T) fortress {
	t.Helper()
	f, host := fortress{dir: t.TempDir()}, harness.Host()
	write := func(name, text string) {
		if err := os.WriteFile(f.file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ours, others := newCertificates(t, f.dir), newCertificates(t, f.file("others"))
	ours.issue("client", "spiffe://test/client")
	others.issue("client", "spiffe://test/client")
	write("password", "secret\n")
	write("web.yml", ours.listening("server", host)+`basic_auth_users:
  me: $2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC
`)
	exporter := harness.Start(t, "exporter", harness.Binary(t, "prometheus-grpc-exporter"),
		"--receiver.listen-address="+host+":0", "--rpc.listen-address="+host+":0",
		"--storage.path="+filepath.Join(f.dir, "data"), "--self.interval=200ms",
		"--web.config.file="+f.file("web.yml"), "--rpc.config.file="+f.file("web.yml"))
	f.url = "https://" + exporter.Logged("msg=listening", "part=receiver", "listener=web")["address"] + "/api/v1/write"
	f.rpc = exporter.Logged("msg=listening", "part=server-1", "listener=rpc")["address"]
	return f
}

func (f fortress) file(name string) string { return filepath.Join(f.dir, name) }

// client returns the arguments of our own client.
func (f fortress) client(args ...string) []string {
	return append(args, "--address="+f.rpc, "--tls-ca-file="+f.file("ca.pem"), "--tls-cert-file="+f.file("client.pem"), "--tls-key-file="+f.file("client-key.pem"),
		"--basic-auth-user=me", "--basic-auth-password-file="+f.file("password"))
}

// awaitSelf waits until the exporter's own metrics can be read.
func (f fortress) awaitSelf(t *testing.T) {
	t.Helper()
	harness.Eventually(t, "its own series", func() bool {
		code, stdout, _ := harness.Client(t, f.client("get", "up")...)
		return code == 0 && strings.Contains(string(stdout), "up{")
	})
}

// attempt is a command with what a caller shows, which may be wrong.
type attempt struct {
	ca, cert, header string
	says             []string // any of these; in what it prints where it is let in, else in its error
}

// attempts are made with the right credentials, and each of them wrong in turn.
func attempts(in string) map[string]attempt {
	return map[string]attempt{
		"right":                  {"ca", "client", authorization, []string{in}},
		"of another authority":   {"ca", "others/client", authorization, []string{""}}, // TLS 1.3 tells when it is too late
		"no password":            {"ca", "client", "X-Nothing: none", []string{"a name and a password are needed"}},
		"a wrong password":       {"ca", "client", "Authorization: Basic bWU6d3Jvbmc=", []string{"wrong name or password"}},
		"trusts other authority": {"others/ca", "client", authorization, []string{"certificate", "deadline"}},
	}
}

// try runs a command for each attempt. It has to succeed with the right one alone.
func (f fortress) try(t *testing.T, in string, command func(a attempt) []string) {
	t.Helper()
	for name, a := range attempts(in) {
		args := command(a)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		out, err := cmd.CombinedOutput()
		cancel()
		said := slices.ContainsFunc(a.says, func(s string) bool { return strings.Contains(string(out), s) })
		right := name == "right"
		if right != (err == nil) || right != strings.Contains(string(out), in) || !said {
			t.Errorf("%s: %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
}

// TestToolsOverTLS calls a port with TLS, client certificates and passwords with what
// people have at hand, by every protocol.
func TestToolsOverTLS(t *testing.T) {
	t.Parallel()
	f := startFortress(t)
	f.awaitSelf(t)
	t.Run("grpcurl", func(t *testing.T) {
		f.try(t, `"value": 1`, func(a attempt) []string {
			return []string{harness.Tool(t, "grpcurl"), "-cacert", f.file(a.ca + ".pem"), "-cert", f.file(a.cert + ".pem"), "-key", f.file(a.cert + "-key.pem"),
				"-connect-timeout", "5", "-H", a.header, "-d", `{"selectors":["up"]}`, f.rpc, service + "/GetMetrics"}
		})
	})
	for _, protocol := range protocols {
		t.Run("buf curl "+protocol, func(t *testing.T) {
			f.try(t, `"up"`, func(a attempt) []string {
				return []string{harness.Tool(t, "buf"), "curl", "--protocol", protocol, "--cacert", f.file(a.ca + ".pem"),
					"--cert", f.file(a.cert + ".pem"), "--key", f.file(a.cert + "-key.pem"), "-H", a.header, "--schema", "../api/released.binpb",
					"--data", `{"selectors":["up"]}`, "https://" + f.rpc + "/" + service + "/GetMetrics"}
			})
		})
	}
}

// TestPrometheusOverTLS has a real Prometheus write with certificate, name and password.
func TestPrometheusOverTLS(t *testing.T) {
	t.Parallel()
	f := startFortress(t)
	tls := "tls_config: {ca_file: " + f.file("ca.pem") + ", cert_file: " + f.file("client.pem") + ", key_file: " + f.file("client-key.pem") + "}"
	harness.StartPrometheus(t, harness.PrometheusOptions{
		Name: "secured", Tool: "prometheus3", Target: harness.StartApp(t),
		More: []harness.Remote{
			{URL: f.url, Settings: []string{"name: right", "write_relabel_configs: [{target_label: by, replacement: right}]", tls, "basic_auth: {username: me, password_file: " + f.file("password") + "}"}},
			{URL: f.url, Settings: []string{"name: wrong", "write_relabel_configs: [{target_label: by, replacement: wrong}]", tls, "basic_auth: {username: me, password: wrong}"}},
			{URL: f.url, Settings: []string{"name: nobody", "write_relabel_configs: [{target_label: by, replacement: nobody}]", tls}},
		},
	})
	harness.Eventually(t, "what Prometheus writes", func() bool {
		code, stdout, _ := harness.Client(t, f.client("get", `up{by!=""}`)...)
		return code == 0 && strings.Contains(string(stdout), `by="right"`)
	})
	time.Sleep(2 * time.Second) // A moment for the others, too.
	code, stdout, stderr := harness.Client(t, f.client("labels", "by")...)
	if code != 0 || strings.TrimSpace(string(stdout)) != "right" {
		t.Errorf("who has written: code %d: %s%s", code, stdout, stderr)
	}
}
