package security

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/promgrpc/exporter/e2e/harness"
	"github.com/promgrpc/exporter/internal/authority"
)

// program reads one series from an address as one who has something, and returns what
// becomes of that.
type program func(t *testing.T, address string, has holding) string

// programsOfAll are those that `make tools` fetches, and the command line over each
// protocol.
var programsOfAll = map[string]program{
	"grpc": commandLine("grpc"), "grpcweb": commandLine("grpcweb"), "connect": commandLine("connect"),
	"grpcurl": grpcurl, "buf curl": bufCurl,
}

func commandLine(protocol string) program {
	return func(t *testing.T, address string, has holding) string {
		return ofClient(harness.Client(t, append([]string{"get", "--protocol=" + protocol, "--address=" + address, "matrix"}, has.flags()...)...))
	}
}

// ofClient is the outcome of a client of ours.
func ofClient(code int, stdout, stderr []byte) string {
	said := strings.ToUpper(string(stderr))
	switch {
	case code == 0 && strings.Contains(string(stdout), "matrix"):
		return yes
	case code == 1 && strings.Contains(said, "UNAUTHENTICATED"):
		return "401"
	case code == 1 && strings.Contains(said, "PERMISSION"):
		return "403"
	case code == 3:
		return noConnection
	}
	return fmt.Sprintf("exit code %d: %s%s", code, stdout, stderr)
}

const getMetrics = "promgrpc.metrics.v1.MetricsService/GetMetrics"

func grpcurl(t *testing.T, address string, has holding) string {
	args := []string{"-plaintext"}
	if has.ca != "" {
		args = []string{"-cacert", has.ca}
	}
	if has.cert != "" {
		args = append(args, "-cert", has.cert, "-key", has.key)
	}
	if header := has.authorization(t); header != "" {
		args = append(args, "-H", "Authorization: "+header)
	}
	// Reflection would be refused before the call is.
	args = append(args, "-protoset", harness.File("api/released.binpb"), "-d", `{"selectors":["matrix"]}`, address, getMetrics)
	code, stdout, stderr := harness.Run(t, harness.Tool(t, "grpcurl"), args...)
	const ofCall = 64 // and the code of the call
	switch {
	case code == 0 && strings.Contains(string(stdout), "matrix"):
		return yes
	case code == ofCall+int(codes.Unauthenticated):
		return "401"
	case code == ofCall+int(codes.PermissionDenied):
		return "403"
	case code == 1 && strings.Contains(string(stderr), "Failed to dial"), code == ofCall+int(codes.Unavailable):
		return noConnection
	}
	return fmt.Sprintf("exit code %d: %s%s", code, stdout, stderr)
}

func bufCurl(t *testing.T, address string, has holding) string {
	args, scheme := []string{"curl"}, "http://"
	if has.ca != "" {
		args, scheme = append(args, "--cacert", has.ca), "https://"
	}
	if has.cert != "" {
		args = append(args, "--cert", has.cert, "--key", has.key)
	}
	if header := has.authorization(t); header != "" {
		args = append(args, "-H", "Authorization: "+header)
	}
	args = append(args, "--schema", harness.File("api/released.binpb"), "-d", `{"selectors":["matrix"]}`, scheme+address+"/"+getMetrics)
	code, stdout, stderr := harness.Run(t, harness.Tool(t, "buf"), args...)
	said := string(stderr)
	switch {
	case code == 0 && strings.Contains(string(stdout), "matrix"):
		return yes
	case strings.Contains(said, `"unauthenticated"`):
		return "401"
	case strings.Contains(said, `"permission_denied"`):
		return "403"
	case code != 0 && len(stdout) == 0 && anyOf(said, "tls: ", "x509: ", "connection reset", "broken pipe", "EOF", "400 Bad Request"):
		return noConnection
	}
	return fmt.Sprintf("exit code %d: %s%s", code, stdout, stderr)
}

func anyOf(text string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}

// holding is what a program has, as files and names.
type holding struct{ ca, cert, key, token, user, password string }

// flags of our clients.
func (h holding) flags() (args []string) {
	for _, f := range []struct{ name, value string }{
		{"tls-ca-file", h.ca}, {"tls-cert-file", h.cert}, {"tls-key-file", h.key},
		{"bearer-token-file", h.token}, {"basic-auth-user", h.user}, {"basic-auth-password-file", h.password},
	} {
		if f.value != "" {
			args = append(args, "--"+f.name+"="+f.value)
		}
	}
	return args
}

// authorization is the header of programs that take no files.
func (h holding) authorization(t *testing.T) string {
	t.Helper()
	file := h.token + h.password // One of them.
	if file == "" {
		return ""
	}
	secret, err := os.ReadFile(file)
	require.NoError(t, err)
	if h.user != "" {
		return basic(h.user, string(secret))
	}
	return "Bearer " + string(secret)
}

// run calls the server with programs, as the caller of a row.
func (d *deployment) run(t *testing.T, r row, programs map[string]program) {
	t.Helper()
	address, has := d.of(rpc, "server").address, d.holding(r.brought)
	for name, run := range programs {
		got := outcome(r.outcomes[rpc], func() string { return run(t, address, has) })
		assert.Equal(t, r.outcomes[rpc], got, "the RPC port asks for %s, %s comes with %s", r.asked, name, r.brought)
	}
}

// holding is what a row says that its caller has.
func (d *deployment) holding(brought string) holding {
	right, other := port{kind: rpc}.right(), port{kind: rpc}.other()
	password := func(user, secret string) holding {
		return holding{ca: d.trusted(d.certs.ours), user: user, password: d.file("a.password", secret)}
	}
	token := func(secret string) holding {
		return holding{ca: d.trusted(d.certs.ours), token: d.file("a.token", secret)}
	}
	switch brought {
	case "nothing":
		return holding{}
	case "TLS":
		return holding{ca: d.trusted(d.certs.ours)}
	case "TLS, and trusts another authority":
		return holding{ca: d.trusted(d.certs.theirs)}
	case "one of another authority":
		return d.certified(d.certs.theirs, right, time.Time{})
	case "one that has expired":
		return d.certified(d.certs.ours, right, expired)
	case "one of the authority":
		return d.certified(d.certs.ours, "nobody", time.Time{})
	case "one with another role or policy":
		return d.certified(d.certs.ours, other, time.Time{})
	case "one of a proxy":
		return d.certified(d.certs.ours, "haproxy", time.Time{})
	case "one with the role or the policy":
		return d.certified(d.certs.ours, right, time.Time{})
	case withWrongToken:
		has := d.certified(d.certs.ours, right, time.Time{})
		has.token = d.file("a.token", "wrong")
		return has
	case "a wrong token":
		return token("wrong")
	case "the token of another policy":
		return token(secretOf(other))
	case "the token":
		return token(secretOf(right))
	case "a wrong password":
		return password(right, "wrong")
	case "the password of a user without one":
		return password("nobody", secretOf("nobody"))
	case "the password":
		return password(right, secretOf(right))
	}
	d.t.Fatalf("nothing to hold for %q", brought)
	return holding{}
}

func (d *deployment) trusted(a *authority.Authority) string {
	return d.file("trusted.pem", string(a.Cert()))
}

func (d *deployment) certified(a *authority.Authority, name string, from time.Time) holding {
	require.NoError(d.t, d.certs.issue(a, from, uri(name)).Write(d.dir, "caller"))
	return holding{ca: d.trusted(d.certs.ours), cert: d.path("caller.pem"), key: d.path("caller-key.pem")}
}
