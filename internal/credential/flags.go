package credential

import (
	"fmt"
	"log/slog"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/usage"
)

// Flags say how servers are called: over TLS or in the clear, and as whom.
type Flags struct {
	// Prefix of the flags, "" or one that ends with a dot.
	Prefix string
	// TLS is used if this is set, or any of TLSFiles.
	TLS      bool
	TLSFiles renew.TLSFiles
	Files
	// AllowCleartext lets credentials be sent without TLS.
	AllowCleartext bool
}

// clause is a command or a program, whatever flags are registered on.
type clause interface {
	Flag(name, help string) *kingpin.FlagClause
}

// Register adds the flags.
func (f *Flags) Register(on clause) {
	flag := func(name, help string) *kingpin.FlagClause { return on.Flag(f.Prefix+name, help) }
	flag("tls", "Use TLS, 1.3 or later. The other --"+f.Prefix+"tls flags imply it. Their files are read again for each stream and after each lost connection.").BoolVar(&f.TLS)
	flag("tls-ca-file", "CA certificates to trust instead of the system's, PEM.").PlaceHolder("FILE").StringVar(&f.TLSFiles.CA)
	flag("tls-cert-file", "Client certificate, PEM.").PlaceHolder("FILE").StringVar(&f.TLSFiles.Cert)
	flag("tls-key-file", "Key of the client certificate, PEM.").PlaceHolder("FILE").StringVar(&f.TLSFiles.Key)
	flag("tls-server-name", "Name to expect in the server's certificate, if not the host of the address.").PlaceHolder("NAME").StringVar(&f.TLSFiles.ServerName)
	flag("bearer-token-file", "File with the token to send as Authorization. It is read again for each call and each stream.").
		PlaceHolder("FILE").StringVar(&f.Token)
	flag("basic-auth-user", "User to send as Authorization, with a password.").PlaceHolder("NAME").StringVar(&f.User)
	flag("basic-auth-password-file", "File with the password of the user. It is read again for each call and each stream.").
		PlaceHolder("FILE").StringVar(&f.Password)
	flag("allow-cleartext-credentials", "Send credentials without TLS to other machines, too, where anybody on the way can read them.").BoolVar(&f.AllowCleartext)
}

// Name is a flag as it is given.
func (f *Flags) Name(name string) string { return "--" + f.Prefix + name }

// Check reports flags that exclude or need each other, and files that cannot be read.
func (f *Flags) Check() error {
	token, user, password := f.Name("bearer-token-file"), f.Name("basic-auth-user"), f.Name("basic-auth-password-file")
	switch {
	case f.Token != "" && (f.User != "" || f.Password != ""):
		return usage.Errorf("%s and %s exclude each other", token, user)
	case (f.User == "") != (f.Password == ""):
		return usage.Errorf("%s and %s belong together", user, password)
	}
	if _, err := f.Authorization(); err != nil {
		from := user + ", " + password
		if f.Token != "" {
			from = token
		}
		return usage.Errorf("%s: %w", from, err)
	}
	return nil
}

// encrypted reports whether there is TLS.
func (f *Flags) encrypted() bool { return f.TLS || f.TLSFiles != renew.TLSFiles{} }

// Dialer returns the TLS of the connections, nil for none. What goes wrong with the
// files later goes to the log.
func (f *Flags) Dialer(logger *slog.Logger) (*renew.TLS, error) {
	if !f.encrypted() {
		return nil, nil
	}
	ca, cert, key := f.Name("tls-ca-file"), f.Name("tls-cert-file"), f.Name("tls-key-file")
	config, err := renew.New(fmt.Sprintf("the files of %s, %s and %s", ca, cert, key), f.TLSFiles.Dial, logger)
	if err != nil {
		return nil, usage.Errorf("%s, %s, %s: %w", ca, cert, key, err)
	}
	return config, nil
}
