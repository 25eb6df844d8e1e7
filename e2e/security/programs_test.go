package security

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/e2e/harness"
	"github.com/promgrpc/exporter/internal/authority"
)

// program is a client with the flags of our command line. It reads one series.
type program func(t *testing.T, args ...string) (code int, stdout, stderr []byte)

// ours is the command line, over each protocol.
var ours = map[string]program{"grpc": commandLine("grpc"), "grpcweb": commandLine("grpcweb"), "connect": commandLine("connect")}

func commandLine(protocol string) program {
	return func(t *testing.T, args ...string) (int, []byte, []byte) {
		return harness.Client(t, append([]string{"get", "--protocol=" + protocol, "matrix"}, args...)...)
	}
}

// run calls the server with programs, as the caller of a row.
func (d *deployment) run(t *testing.T, r row, programs map[string]program) {
	t.Helper()
	p := d.of(rpc, "server")
	for name, run := range programs {
		code, stdout, stderr := run(t, append(d.flags(r.brought), "--address="+p.address)...)
		said := strings.ToUpper(string(stderr))
		var got string
		switch {
		case code == 0 && strings.Contains(string(stdout), "matrix"):
			got = yes
		case code == 1 && strings.Contains(said, "UNAUTHENTICATED"):
			got = "401"
		case code == 1 && strings.Contains(said, "PERMISSION"):
			got = "403"
		case code == 3:
			got = noConnection
		default:
			got = fmt.Sprintf("exit code %d: %s%s", code, stdout, stderr)
		}
		assert.Equal(t, r.outcomes[rpc], got, "the RPC port asks for %s, %s comes with %s", r.asked, name, r.brought)
	}
}

// flags of a client that has what a row says.
func (d *deployment) flags(brought string) []string {
	reader := port{kind: rpc}.right()
	other := port{kind: rpc}.other()
	password := func(user, secret string) []string {
		return d.trusting(d.certs.ours, "--basic-auth-user="+user, "--basic-auth-password-file="+d.file("a.password", secret))
	}
	token := func(secret string) []string {
		return d.trusting(d.certs.ours, "--bearer-token-file="+d.file("a.token", secret))
	}
	switch brought {
	case "nothing":
		return nil
	case "TLS":
		return d.trusting(d.certs.ours)
	case "TLS, and trusts another authority":
		return d.trusting(d.certs.theirs)
	case "one of another authority":
		return d.having(d.certs.theirs, reader, time.Time{})
	case "one that has expired":
		return d.having(d.certs.ours, reader, expired)
	case "one of the authority":
		return d.having(d.certs.ours, "nobody", time.Time{})
	case "one with another role or policy":
		return d.having(d.certs.ours, other, time.Time{})
	case "one of a proxy":
		return d.having(d.certs.ours, "haproxy", time.Time{})
	case withWrongToken:
		return append(d.having(d.certs.ours, reader, time.Time{}), "--bearer-token-file="+d.file("a.token", "wrong"))
	case "one with the role or the policy":
		return d.having(d.certs.ours, reader, time.Time{})
	case "a wrong token":
		return token("wrong")
	case "the token of another policy":
		return token(secretOf(other))
	case "the token":
		return token(secretOf(reader))
	case "a wrong password":
		return password(reader, "wrong")
	case "the password of a user without one":
		return password("nobody", secretOf("nobody"))
	case "the password":
		return password(reader, secretOf(reader))
	}
	d.t.Fatalf("no flags for %q", brought)
	return nil
}

func (d *deployment) trusting(a *authority.Authority, more ...string) []string {
	return append(more, "--tls-ca-file="+d.file("trusted.pem", string(a.Cert())))
}

func (d *deployment) having(a *authority.Authority, name string, from time.Time) []string {
	require.NoError(d.t, d.certs.issue(a, from, uri(name)).Write(d.dir, "caller"))
	return d.trusting(d.certs.ours, "--tls-cert-file="+d.path("caller.pem"), "--tls-key-file="+d.path("caller-key.pem"))
}
