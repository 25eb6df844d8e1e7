package subject

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/promgrpc/exporter/internal/authority"
)

// parts are more flags for each part of the project.
type parts struct{ receiver, forwarder, server []string }

// The web configuration files, of listeners for anybody and of those for the parts.
const (
	withTLS   = "tls_server_config:\n  cert_file: listener.pem\n  key_file: listener-key.pem\n"
	mutualTLS = withTLS + "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
	roles     = "roles:\n  receiver: [receiver]\n  forwarder: [forwarder, listener]\n  server: [listener]\n"
)

// certify makes certificates, and returns the flags of the parts that use them.
func (s *System) certify() (parts, error) {
	a, err := authority.New("bench", 24*time.Hour)
	if err != nil {
		return parts{}, err
	}
	file := func(name string) string { return filepath.Join(s.Dir, name) }
	write := func(name, content string) { err = errors.Join(err, os.WriteFile(file(name), []byte(content), 0o600)) }
	write("ca.pem", string(a.Cert()))
	write("tls.yml", withTLS)
	write("mtls.yml", mutualTLS)
	write("access.yml", roles)
	for _, name := range []string{"listener", "receiver", "forwarder"} {
		pair, failed := a.Issue(authority.Request{Names: []string{name, "127.0.0.1"}})
		if failed != nil {
			return parts{}, failed
		}
		err = errors.Join(err, pair.Write(s.Dir, name))
	}
	if err != nil {
		return parts{}, err
	}
	s.TLS = &tls.Config{RootCAs: a.Pool()}
	dial := func(prefix, name string) []string {
		return []string{
			prefix + "-ca-file=" + file("ca.pem"), prefix + "-cert-file=" + file(name+".pem"), prefix + "-key-file=" + file(name+"-key.pem"),
			"--access.file=" + file("access.yml"),
		}
	}
	link := "--link.config.file=" + file("mtls.yml")
	return parts{
		receiver:  append(dial("--forwarder.tls", "receiver"), "--web.config.file="+file("tls.yml")),
		forwarder: append(dial("--server.tls", "forwarder"), link),
		server:    []string{link, "--rpc.config.file=" + file("tls.yml"), "--access.file=" + file("access.yml")},
	}, nil
}
