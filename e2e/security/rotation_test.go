package security

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/authority"
)

// TestRotation renews every secret of a deployment while senders write and followers
// follow. Nothing is lost and nothing comes twice, and no stream ends but those whose
// right did.
func TestRotation(t *testing.T) {
	s := harness.NewSecured(t)
	r := newRotation(t, s)
	r.Cluster = harness.NewCluster(t, harness.Options{Secured: s})
	r.front = r.RPCs()
	r.follow("by certificate", "grpc", "--bearer-token-file=")
	r.start()
	r.startRelay()

	r.step("certificates", 0, func() { r.certificates(r.authority()) })
	r.trustNext()
	r.step("certificates of the second authority", 0, func() { r.certificates(r.next) })
	r.step("without the old authority", 0, func() {
		old := r.authority()
		r.put("ca.pem", r.next.Cert(), append(certified, "client")...)
		harness.Eventually(t, "the old authority to be refused everywhere", func() bool { return !r.letsIn(old) })
	})
	r.rotateSecrets()
	r.step("forwarders and receiver start with the new certificates", 0, func() {
		for _, p := range append(slices.Clone(r.Forwarders), r.Receiver) {
			p.Terminate(patience)
			p.Restart()
		}
	})
	r.step("a server starts with the new certificates", anyNumber, func() {
		r.Servers[0].Terminate(patience)
		r.Servers[0].Restart()
	})
	r.compare()
}

// rotation is a cluster whose secrets are renewed.
type rotation struct {
	*harness.Cluster
	*harness.Secured

	t         *testing.T
	dir       string           // of the secrets that are not of a part
	front     string           // where clients call
	receiver  string           // where senders do, also while it is restarted
	relay     *harness.Process // nil: none
	next      *authority.Authority
	rights    rights
	senders   map[string]*harness.Sender // by job
	followers map[string]*harness.Follower
}

// certified are the parts with certificates of the authority.
var certified = []string{"receiver", "forwarder", "server", "prometheus", "haproxy"}

func newRotation(t *testing.T, s *harness.Secured) *rotation {
	t.Helper()
	r := &rotation{t: t, Secured: s, dir: t.TempDir(), senders: map[string]*harness.Sender{}, followers: map[string]*harness.Follower{}}
	r.rights = rights{reader: []string{"reader"}, keys: []string{"key"}, users: []string{"ann"}, leaver: true}
	for _, name := range []string{"reader", "reader-2", "team", "leaver", "sender", "ann", "ben"} {
		r.secret(name, secretOf(name))
	}
	for _, name := range []string{"key", "key-2"} {
		r.secret(name, base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("%-32s", name))))
	}
	r.secret("client", secretOf("reader"))
	r.secret("user", "ann")
	r.allow()
	return r
}

// rights are what changes in the access file, by the names of files and users.
type rights struct {
	reader, keys, users []string
	leaver              bool
}

// allow writes the access file of all parts, and the users of the receiver.
func (r *rotation) allow() {
	r.t.Helper()
	files := func(names []string) string {
		var paths []string
		for _, name := range names {
			paths = append(paths, strconv.Quote(r.path(name)))
		}
		return "[" + strings.Join(paths, ", ") + "]"
	}
	text := rolesText + `cursor_key_files: ` + files(r.rights.keys) + `
policies:
- {name: certificate, certificates: ["spiffe://promgrpc/prometheus"], read: {}}
- {name: team, token_files: ` + files([]string{"team"}) + `, read: {selectors: ['{series="0"}']}}
- {name: reader, token_files: ` + files(r.rights.reader) + `, read: {logs: true, status: true}}
- {name: sender, token_files: ` + files([]string{"sender"}) + `, write: {}}
- {name: users, users: [` + strings.Join(r.rights.users, ", ") + `], write: {}}
`
	if r.rights.leaver {
		text += "- {name: leaver, token_files: " + files([]string{"leaver"}) + ", read: {}}\n"
	}
	users := ""
	for _, name := range r.rights.users {
		hash, err := bcrypt.GenerateFromPassword([]byte(secretOf(name)), bcrypt.MinCost)
		require.NoError(r.t, err)
		users += fmt.Sprintf("  %s: %s\n", name, hash)
	}
	r.put("access.yml", []byte(text), "receiver", "forwarder", "server")
	r.put("web.yml", []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users:\n"+users), "receiver")
}

func (r *rotation) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rotation) secret(name, text string) { write(r.t, r.path(name), text) }

func (r *rotation) read(path string) []byte {
	r.t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(r.t, err)
	return text
}

// put replaces a file of some parts.
func (r *rotation) put(name string, text []byte, parts ...string) {
	r.t.Helper()
	for _, part := range parts {
		write(r.t, r.File(part, name), string(text))
	}
}

// startRelay starts a relay that follows the servers as a reader, with a certificate of
// theirs for its own port, and a follower of it.
func (r *rotation) startRelay() {
	r.t.Helper()
	host := harness.Host()
	r.relay = harness.Start(r.t, "relay", harness.Binary(r.t, "prometheus-grpc-client"), "relay", "--upstream="+r.front,
		"--listen="+host+":0", "--web.listen-address="+host+":0", "--storage.path="+filepath.Join(r.dir, "relay"),
		"--rpc.config.file="+r.File("server", "rpc.yml"), "--access.file="+r.File("server", "access.yml"), "--bearer-token-file="+r.path("client"),
		"--tls-ca-file="+r.File("client", "ca.pem"), "--tls-cert-file="+r.File("prometheus", "cert.pem"), "--tls-key-file="+r.File("prometheus", "key.pem"))
	r.relay.Ready(r.relay.Listening("web"))
	r.followers["of the relay"] = harness.Follow(r.t, r.relay.Listening("rpc"), "connect", "--bearer-token-file="+r.path("client"), "--since=1h", "sent_total")
	r.flows("a relay")
}

// follow starts a client that goes on reading.
func (r *rotation) follow(name, protocol string, args ...string) {
	r.t.Helper()
	r.followers[name] = harness.Follow(r.t, r.front, protocol, append(args, "--since=1h", "sent_total")...)
}

// start starts the followers by tokens, and senders, one by a token and one by a password.
func (r *rotation) start() {
	r.t.Helper()
	r.receiver = r.Receiver.Listening("web")
	r.follow("reader", "grpc", "--bearer-token-file="+r.path("client"))
	r.follow("team", "grpcweb", "--bearer-token-file="+r.path("team"))
	r.follow("leaver", "connect", "--bearer-token-file="+r.path("leaver"))
	harness.Eventually(r.t, "all streams", func() bool { return r.begun() == len(r.followers) })
	for job, secret := range map[string]struct {
		file   string
		header func(text string) string
	}{
		"token":    {"sender", func(text string) string { return "Bearer " + text }},
		"password": {"user", func(name string) string { return basic(name, secretOf(name)) }},
	} {
		r.senders[job] = harness.NewSenderBy(r.t, func(body []byte) (int, string, error) {
			text, err := os.ReadFile(r.path(secret.file))
			if err != nil {
				return 0, "", err
			}
			return r.post(body, secret.header(string(text)))
		}, job, 20)
		r.senders[job].Start(50 * time.Millisecond)
	}
	r.flows("the start")
}

// post writes over a connection of its own, by the authorities of then.
func (r *rotation) post(body []byte, authorization string) (int, string, error) {
	request, err := harness.WriteRequest("https://"+r.receiver+"/api/v1/write", body)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", authorization)
	trusted, err := os.ReadFile(r.File("client", "ca.pem"))
	if err != nil {
		return 0, "", err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	config.RootCAs.AppendCertsFromPEM(trusted)
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	return harness.Do(&http.Client{Transport: transport, Timeout: patience}, request)
}

// anyNumber of streams may end in a step.
const anyNumber = -1

// step renews something, for which so many streams have to begin anew.
func (r *rotation) step(name string, streams int, renew func()) {
	r.t.Helper()
	before, start := r.begun(), time.Now()
	renew()
	if streams != anyNumber {
		harness.Eventually(r.t, "streams to begin anew: "+name, func() bool { return r.begun()-before >= streams })
	}
	r.flows(name)
	got := r.begun() - before
	r.t.Logf("%s: after %s; %d streams began", name, time.Since(start).Round(time.Millisecond), got)
	if streams != anyNumber {
		assert.Equal(r.t, streams, got, "%s: streams that began", name)
	}
}

// flows waits until everybody gets what is sent from now on, by each sender.
func (r *rotation) flows(when string) {
	r.t.Helper()
	now := time.Now().UnixMilli()
	for name, f := range r.followers {
		for job := range r.senders {
			harness.Eventually(r.t, fmt.Sprintf("samples of %s at the follower %s: %s", job, name, when), func() bool {
				for p := range f.Points() {
					if p.Time > now && strings.Contains(p.Series, strconv.Quote(job)) {
						return true
					}
				}
				return false
			})
		}
	}
}

// begun is how many streams of clients the servers have begun, in this life of each.
func (r *rotation) begun() (n int) {
	r.t.Helper()
	for _, s := range r.Servers {
		if !s.Running() {
			continue
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: r.TLS(), DisableKeepAlives: true}, Timeout: patience}
		res, err := client.Get("https://" + s.Listening("web") + "/metrics")
		require.NoError(r.t, err)
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			labels, ok := strings.CutPrefix(lines.Text(), "promgrpc_server_streams_begun_total{start=")
			if !ok || strings.HasPrefix(labels, `"health"`) || strings.HasPrefix(labels, `"logs"`) {
				continue
			}
			_, value, _ := strings.Cut(labels, " ")
			count, err := strconv.Atoi(value)
			require.NoError(r.t, err)
			n += count
		}
		require.NoError(r.t, lines.Err())
		require.NoError(r.t, res.Body.Close())
	}
	return n
}

// authority that certificates are made by.
func (r *rotation) authority() *authority.Authority {
	a, err := authority.Load(r.read(r.File("certs", "ca.pem")), r.read(r.File("certs", "ca-key.pem")))
	require.NoError(r.t, err)
	return a
}

// certificates gives each part a new one, and waits until each port shows it.
func (r *rotation) certificates(by *authority.Authority) {
	r.t.Helper()
	for _, part := range certified {
		file := r.File(part, "cert.pem")
		if part == "haproxy" {
			file = r.File(part, "haproxy-bundle.pem")
		}
		pair, err := by.Issue(authority.Request{Names: namesIn(r.t, r.read(file)), Lifetime: time.Hour})
		require.NoError(r.t, err)
		if part == "haproxy" {
			r.put("haproxy-bundle.pem", append(pair.Cert, pair.Key...), part)
			continue
		}
		r.put("key.pem", pair.Key, part)
		r.put("cert.pem", pair.Cert, part)
	}
	for part, addresses := range r.ports() {
		want, _ := pem.Decode(r.read(r.File(part, "cert.pem")))
		for _, address := range addresses {
			harness.Eventually(r.t, "the new certificate of "+address, func() bool { return bytes.Equal(shown(address), want.Bytes) })
		}
	}
}

// ports with TLS, by part.
func (r *rotation) ports() map[string][]string {
	ports := map[string][]string{
		"receiver": {r.Receiver.Listening("web")},
	}
	for _, f := range r.Forwarders {
		ports["forwarder"] = append(ports["forwarder"], f.Listening("web"), f.Listening("link"))
	}
	for _, s := range r.Servers {
		ports["server"] = append(ports["server"], s.Listening("web"), s.Listening("link"), s.Listening("rpc"))
	}
	if r.relay != nil {
		ports["server"] = append(ports["server"], r.relay.Listening("rpc"))
	}
	return ports
}

func namesIn(t *testing.T, text []byte) (names []string) {
	t.Helper()
	block, _ := pem.Decode(text)
	require.NotNil(t, block)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	names = append(names, cert.DNSNames...)
	for _, uri := range cert.URIs {
		names = append(names, uri.String())
	}
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// shown is the certificate that a port has, nil if it does not answer.
func shown(address string) []byte {
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].Raw
}

// trustNext has all trust a second authority as well.
func (r *rotation) trustNext() {
	r.t.Helper()
	var err error
	r.next, err = authority.New("next", time.Hour)
	require.NoError(r.t, err)
	r.step("a second authority", 0, func() {
		require.False(r.t, r.letsIn(r.next))
		r.put("ca.pem", append(r.authority().Cert(), r.next.Cert()...), append(certified, "client")...)
		harness.Eventually(r.t, "the second authority to be trusted everywhere", func() bool { return r.letsIn(r.next) && r.letsIn(r.authority()) })
	})
}

// letsIn says whether all ports that ask for certificates take those of an authority, or
// none of them.
func (r *rotation) letsIn(a *authority.Authority) bool {
	r.t.Helper()
	link := func(name, program, address string) func() bool {
		return func() bool {
			return connectLink(r.t, caller{tls: r.as(a, name)}, port{links, program, address}) == yes
		}
	}
	var asks []func() bool
	for _, f := range r.Forwarders {
		asks = append(asks, link("receiver", "forwarder", f.Listening("link")))
	}
	for i, s := range r.Servers {
		asks = append(asks, link("forwarder", "server", s.Listening("link")), func() bool { return r.call(r.as(a, "prometheus"), "", i) })
	}
	return r.agree("authority", func(i int) bool { return asks[i]() }, len(asks))
}

// agree waits while some say yes and some say no, and returns what all say.
func (r *rotation) agree(what string, ask func(int) bool, all int) (answer bool) {
	r.t.Helper()
	harness.Eventually(r.t, "all to agree on the "+what, func() bool {
		answer = ask(0)
		for i := 1; i < all; i++ {
			if ask(i) != answer {
				return false
			}
		}
		return true
	})
	return answer
}

// as is one with a certificate of an authority, who trusts the deployment.
func (r *rotation) as(a *authority.Authority, name string) *tls.Config {
	pair, err := a.Issue(authority.Request{Names: []string{uri(name)}, Lifetime: time.Hour})
	require.NoError(r.t, err)
	certificate, err := pair.TLS()
	require.NoError(r.t, err)
	config := r.TLS()
	config.Certificates = nil
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	return config
}

// call says whether a server answers.
func (r *rotation) call(config *tls.Config, authorization string, server int) bool {
	s := caller{tls: config, authorization: authorization}.sender(2)
	defer s.CloseIdleConnections()
	client := metricsv1connect.NewMetricsServiceClient(s.client(), "https://"+r.RPC(server), connect.WithGRPC())
	_, err := client.GetLabelNames(r.t.Context(), connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
	return err == nil
}

// rotateSecrets renews the key of cursors, a token and a password, and takes a right away.
func (r *rotation) rotateSecrets() {
	r.t.Helper()
	change := func(what string, streams int, change func(), used func() bool) {
		r.t.Helper()
		r.step(what, streams, func() {
			change()
			r.allow()
			harness.Eventually(r.t, what, used)
		})
	}
	change("a second key of cursors", 0, func() { r.rights.keys = []string{"key-2", "key"} }, r.keyReplaced())
	change("without the first key", 0, func() { r.rights.keys = []string{"key-2"} }, r.keyReplaced())
	change("a second token", 0, func() { r.rights.reader = append(r.rights.reader, "reader-2") }, func() bool { return r.reads("reader-2") })
	r.step("the client's token", 0, func() { r.secret("client", secretOf("reader-2")) })
	change("without the first token", 1, func() { r.rights.reader = []string{"reader-2"} }, func() bool { return !r.reads("reader") })
	change("a second user", 0, func() { r.rights.users = append(r.rights.users, "ben") }, func() bool { return r.writes("ben") })
	r.step("the sender's user", 0, func() { r.secret("user", "ben") })
	change("without the first user", 0, func() { r.rights.users = []string{"ben"} }, func() bool { return !r.writes("ann") })
	leaver := r.followers["leaver"]
	delete(r.followers, "leaver")
	change("without a policy", 0, func() { r.rights.leaver = false }, func() bool { return !leaver.Running() })
	assert.Equal(r.t, 1, leaver.Wait(patience))
	assert.Contains(r.t, leaver.Stderr().String(), "unauthenticated: the bearer token is none that a policy has")
	for p, n := range leaver.Points() {
		assert.Equal(r.t, 1, n, "%v at who has left", p)
	}
}

// keyReplaced has all servers read their files, which nothing shows otherwise of a key,
// and says when they have.
func (r *rotation) keyReplaced() func() bool {
	asked, before := false, map[*harness.Process]int{}
	count := func(p *harness.Process) int {
		return bytes.Count(p.Stderr().Bytes(), []byte("msg=reloaded what=--access.file"))
	}
	return func() bool {
		if !asked {
			asked = true
			for _, p := range r.Servers {
				before[p] = count(p)
				p.Signal(syscall.SIGHUP)
			}
		}
		for _, p := range r.Servers {
			if count(p) == before[p] {
				return false
			}
		}
		return true
	}
}

// reads says whether all servers know a token, or none does.
func (r *rotation) reads(token string) bool {
	r.t.Helper()
	return r.agree("token "+token, func(server int) bool { return r.call(r.TLS(), bearer(token), server) }, len(r.Servers))
}

// writes says whether the receiver knows a user.
func (r *rotation) writes(user string) bool {
	r.t.Helper()
	status, answer, err := r.post(harness.Encode(r.t, &prompb.WriteRequest{}), basic(user, secretOf(user)))
	require.NoError(r.t, err)
	require.True(r.t, status/100 == 2 || status == http.StatusUnauthorized || status == http.StatusForbidden, "%d %s", status, answer)
	return status/100 == 2
}

// compare ends the senders. Everybody has to have all that was acknowledged, once.
func (r *rotation) compare() {
	r.t.Helper()
	want := harness.Points{}
	for _, s := range r.senders {
		s.Stop()
		for p, n := range s.Acknowledged() {
			want[p] += n
		}
	}
	for name, f := range r.followers {
		of := want
		if name == "team" {
			of = want.Filter(func(p harness.Point) bool { return strings.Contains(p.Series, `series="0"`) })
		}
		harness.Eventually(r.t, "all samples at the follower "+name, func() bool { return f.Points().Missing(of) == 0 })
		harness.Equal(r.t, name, of, f.Points())
	}
	r.t.Logf("%d samples at %d followers", len(want), len(r.followers))
}
