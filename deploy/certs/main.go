// Command certs makes the certificates of a deployment: an authority, and what it
// issues to each part. Run again, it keeps the authority and renews the rest.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/internal/private"
)

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		err = o.run(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "certs:", err)
		os.Exit(1)
	}
}

// options of a run.
type options struct {
	dir               string
	lifetime          time.Duration
	authorityLifetime time.Duration
	added             names
}

func parse(args []string) (*options, error) {
	o := &options{added: names{}}
	app := kingpin.New("certs", "Makes an authority and the certificates of all parts, or renews the certificates.")
	app.Flag("dir", "Folder of the files.").Default("data/certs").StringVar(&o.dir)
	app.Flag("lifetime", "Time until the certificates end.").Default("2160h").DurationVar(&o.lifetime)
	app.Flag("authority-lifetime", "Time until the authority ends, when it is made.").Default("87600h").DurationVar(&o.authorityLifetime)
	app.Flag("name", "Another name for the certificate of a part; the part may be new. Repeatable.").
		PlaceHolder("PART=NAME").SetValue(o.added)
	if _, err := app.Parse(args); err != nil {
		return nil, err
	}
	if o.lifetime <= 0 || o.authorityLifetime <= 0 {
		return nil, errors.New("--lifetime and --authority-lifetime have to be above zero")
	}
	return o, nil
}

// run is alone in the folder: of two that run at once, one would write the key and the
// other the certificate.
func (o *options) run(out io.Writer) error {
	if err := private.MkdirAll(o.dir); err != nil {
		return err
	}
	unlock, err := private.Lock(o.dir)
	if err != nil {
		return err
	}
	defer unlock()
	a, err := o.authority(out)
	if err != nil {
		return err
	}
	all := partNames()
	all.add(o.added)
	for _, part := range all.parts() {
		pair, err := a.Issue(authority.Request{Names: all[part], Lifetime: o.lifetime})
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		if err := pair.Write(o.dir, part); err != nil {
			return err
		}
		if part == bundled {
			if err := pair.WriteBundle(o.dir, part); err != nil {
				return err
			}
		}
		c, err := pair.TLS()
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		cert, _ := authority.Files(o.dir, part)
		fmt.Fprintf(out, "%s  until %s\n", cert, c.Leaf.NotAfter.Format(time.RFC3339))
	}
	return nil
}

const (
	// ca is the name of the authority's files.
	ca = "ca"
	// bundled is the part whose program wants certificate and key in one file.
	bundled = "haproxy"
)

// authority takes up the one that is there, or makes one. It never replaces one: then
// nobody who trusts it would be reached any more.
func (o *options) authority(out io.Writer) (*authority.Authority, error) {
	certFile, keyFile := authority.Files(o.dir, ca)
	cert, certErr := os.ReadFile(certFile)
	key, keyErr := os.ReadFile(keyFile)
	switch {
	case certErr == nil && keyErr == nil:
		return authority.Load(cert, key)
	case !errors.Is(certErr, fs.ErrNotExist), !errors.Is(keyErr, fs.ErrNotExist):
		return nil, fmt.Errorf("an authority is both %s and %s: %w", certFile, keyFile, errors.Join(certErr, keyErr))
	}
	a, err := authority.New("promgrpc", o.authorityLifetime)
	if err != nil {
		return nil, err
	}
	if err := a.Pair().Create(o.dir, ca); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "%s  is new; whoever has %s can make certificates\n", certFile, keyFile)
	return a, nil
}
