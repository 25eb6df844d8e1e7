// Command secured makes the configuration and the secrets of a secured deployment: a
// folder for each part, with what that part may know and nothing else. Run again, it
// keeps all but the certificates, which may have been renewed. A file that was removed
// is made anew; for another secret, remove it and the files that have it.
package main

import (
	"fmt"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/private"
)

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		err = o.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "secured:", err)
		os.Exit(1)
	}
}

// options of a run.
type options struct {
	certs string
	dir   string
}

func parse(args []string) (*options, error) {
	o := &options{}
	app := kingpin.New("secured", "Makes the configuration and the secrets of a secured deployment.")
	app.Flag("certs", "Folder of the certificates, as make certs makes it.").Default("data/certs").StringVar(&o.certs)
	app.Flag("dir", "Folder to write.").Default("data/secured").StringVar(&o.dir)
	_, err := app.Parse(args)
	return o, err
}

// run is alone in both folders: no secret is made twice, and no key is taken without its
// certificate.
func (o *options) run() error {
	if err := private.MkdirAll(o.dir); err != nil {
		return err
	}
	for _, dir := range []string{o.certs, o.dir} {
		unlock, err := private.Lock(dir)
		if err != nil {
			return err
		}
		defer unlock()
	}
	s, err := openSecrets(o.dir)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := o.part(p, s); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return o.kustomization()
}
