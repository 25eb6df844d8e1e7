package credential

import (
	"log/slog"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/usage"
)

// Flags say how servers are called: over TLS or in the clear, and as whom.
type Flags struct {
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
	on.Flag("tls", "Use TLS, 1.3 or later. The other --tls flags imply it. Their files are read again for each stream and after each lost connection.").BoolVar(&f.TLS)
	on.Flag("tls-ca-file", "CA certificates to trust instead of the system's, PEM.").PlaceHolder("FILE").StringVar(&f.TLSFiles.CA)
	on.Flag("tls-cert-file", "Client certificate, PEM.").PlaceHolder("FILE").StringVar(&f.TLSFiles.Cert)
	on.Flag("tls-key-file", "Key of the client certificate, PEM.").PlaceHolder("FILE").StringVar(&f.TLSFiles.Key)
	on.Flag("tls-server-name", "Name to expect in the server's certificate, if not the host of the address.").PlaceHolder("NAME").StringVar(&f.TLSFiles.ServerName)
	on.Flag("bearer-token-file", "File with the token to send as Authorization. It is read again for each call and each stream.").
		PlaceHolder("FILE").StringVar(&f.Token)
	on.Flag("basic-auth-user", "User to send as Authorization, with a password.").PlaceHolder("NAME").StringVar(&f.User)
	on.Flag("basic-auth-password-file", "File with the password of the user. It is read again for each call and each stream.").
		PlaceHolder("FILE").StringVar(&f.Password)
	on.Flag("allow-cleartext-credentials", "Send credentials without TLS to other machines, too, where anybody on the way can read them.").BoolVar(&f.AllowCleartext)
}

// Check reports flags that exclude or need each other, and files that cannot be read.
func (f *Flags) Check() error {
	switch {
	case f.Token != "" && (f.User != "" || f.Password != ""):
		return usage.Errorf("--bearer-token-file and --basic-auth-user exclude each other")
	case (f.User == "") != (f.Password == ""):
		return usage.Errorf("--basic-auth-user and --basic-auth-password-file belong together")
	}
	if _, err := f.Authorization(); err != nil {
		return usage.Errorf("%s: %w", f.flag(), err)
	}
	return nil
}

// flag is the one that the credential comes from.
func (f *Flags) flag() string {
	if f.Token != "" {
		return "--bearer-token-file"
	}
	return "--basic-auth-user, --basic-auth-password-file"
}

// encrypted reports whether there is TLS.
func (f *Flags) encrypted() bool { return f.TLS || f.TLSFiles != renew.TLSFiles{} }

// Dialer returns the TLS of the connections, nil for none. What goes wrong with the
// files later goes to the log.
func (f *Flags) Dialer(logger *slog.Logger) (*renew.TLS, error) {
	if !f.encrypted() {
		return nil, nil
	}
	config, err := renew.New("the files of --tls-ca-file, --tls-cert-file and --tls-key-file", f.TLSFiles.Dial, logger)
	if err != nil {
		return nil, usage.Errorf("--tls-ca-file, --tls-cert-file, --tls-key-file: %w", err)
	}
	return config, nil
}
