package daemon

import (
	"log/slog"
	"net"
	"strings"

	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/webconfig"
)

// Listener is where a program takes connections, and what protects it.
type Listener struct {
	Name string
	Addr net.Addr
	// TLS encrypts connections.
	TLS bool
	// ClientCertificates, Passwords and Policies are what a caller needs.
	ClientCertificates, Passwords, Policies bool
	// Flag that protects it.
	Flag string
}

// NewListener returns what a web configuration file, nil for none, makes of a listener.
func NewListener(name string, addr net.Addr, file *webconfig.Config, flag string) Listener {
	return Listener{
		Name: name, Addr: addr, Flag: flag,
		TLS: file.SecuresTLS(), ClientCertificates: file.RequiresCertificates(), Passwords: file.RequiresPasswords(),
	}
}

// LinkListener returns that of a link.
func LinkListener(l *link.Listener) Listener {
	encrypted, certificates := l.Secured()
	return Listener{Name: "link", Addr: l.Addr(), TLS: encrypted, ClientCertificates: certificates, Flag: link.FlagConfigFile}
}

// lacks says what it lacks of what it should have where others reach it.
func (l Listener) lacks() []string {
	var lacks []string
	if !l.TLS {
		lacks = append(lacks, "TLS")
	}
	if !l.ClientCertificates && !l.Passwords && !l.Policies {
		lacks = append(lacks, "authentication")
	}
	return lacks
}

// Exposed says whether others than this machine may reach it, and it is not encrypted or
// lets anybody in.
func (l Listener) Exposed() bool {
	tcp, ok := l.Addr.(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback() && len(l.lacks()) > 0
}

// Log logs the address that a listener got, which whoever starts the program with port 0
// reads there, and warns if it is exposed.
func (l Listener) Log(logger *slog.Logger) {
	logger.Info("listening", "listener", l.Name, "address", l.Addr.String())
	if l.Exposed() {
		logger.Warn("listener is open to whoever reaches it", "listener", l.Name, "address", l.Addr.String(),
			"lacks", strings.Join(l.lacks(), " and "), "mend", l.Flag)
	}
}
