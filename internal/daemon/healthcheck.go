package daemon

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/usage"
)

// healthcheckName is the subcommand that asks a running program of the same
// kind whether it is ready: for container engines, in images without a shell.
const healthcheckName = "healthcheck"

// listenFlags say where a program has its HTTP server for operators.
var listenFlags = []string{"web.listen-address", "receiver.listen-address"}

// healthcheck is the subcommand.
type healthcheck struct {
	address string
	timeout time.Duration
	// cert and key are files to show to a program that wants a certificate of its
	// clients. No program wants a password for this.
	cert, key string
}

// register adds the subcommand, and the one that runs when none is given.
func (h *healthcheck) register(app *kingpin.Application) {
	app.Command("run", "Run the program, as it does without a command.").Default()
	cmd := app.Command(healthcheckName, "Ask the running program on this machine whether it is ready, and exit with 0 if it is, otherwise with 1 and the reason.")
	cmd.Flag("address", "Address of its HTTP server, by default that which it listens on by the same flags and environment variables.").
		Envar("PROMGRPC_HEALTHCHECK_ADDRESS").PlaceHolder("HOST:PORT").StringVar(&h.address)
	cmd.Flag("timeout", "Time for the answer.").
		Envar("PROMGRPC_HEALTHCHECK_TIMEOUT").Default("3s").DurationVar(&h.timeout)
	cmd.Flag("cert-file", "Certificate to show, where the web config file of the program wants one of its clients.").
		Envar("PROMGRPC_HEALTHCHECK_CERT_FILE").PlaceHolder("FILE").StringVar(&h.cert)
	cmd.Flag("key-file", "Key of --cert-file.").
		Envar("PROMGRPC_HEALTHCHECK_KEY_FILE").PlaceHolder("FILE").StringVar(&h.key)
}

// run asks, after app has parsed the command line. It returns why the program
// is not ready.
func (h *healthcheck) run(ctx context.Context, app *kingpin.Application) error {
	where := cmp.Or(h.address, listenAddress(app))
	if err := address.Listen(where); err != nil {
		return usage.Errorf("--address: %w", err)
	}
	if _, port, _ := net.SplitHostPort(where); port == "0" {
		return usage.Errorf("the program listens on any port: give --address")
	}
	// The question is no secret, and the certificate is hardly for localhost.
	config := &tls.Config{InsecureSkipVerify: true}
	if h.cert != "" || h.key != "" {
		pair, err := renew.Certificate(h.cert, h.key)
		if err != nil {
			return usage.Errorf("--cert-file and --key-file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	// By what its flags let expect first: what does not fit is in the log of the program.
	schemes := []string{"http", "https"}
	if flagOf(app, "web.config.file") != "" {
		slices.Reverse(schemes)
	}
	err := askReady(ctx, config, schemes[0], where)
	if errors.Is(err, errWantsTLS) || errors.Is(err, http.ErrSchemeMismatch) {
		err = askReady(ctx, config, schemes[1], where)
	}
	return err
}

// flagOf returns what a flag has, "" if there is none.
func flagOf(app *kingpin.Application, name string) string {
	if f := app.GetFlag(name); f != nil {
		return f.Model().Value.String()
	}
	return ""
}

func listenAddress(app *kingpin.Application) string {
	for _, name := range listenFlags {
		if at := flagOf(app, name); at != "" {
			return at
		}
	}
	return ""
}

// errWantsTLS is the answer of a server with TLS to a request without.
var errWantsTLS = errors.New("it speaks TLS only")

// askReady gets /-/ready.
func askReady(ctx context.Context, config *tls.Config, scheme, address string) error {
	transport := &http.Transport{
		DisableKeepAlives: true,
		// An address without a host, or with 0.0.0.0, is dialled as this machine.
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		TLSClientConfig: config,
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://localhost"+pathReady, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // Its URL is not where we dialled.
	}
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", address, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	text := string(bytes.TrimSpace(body))
	switch {
	case err != nil:
		return fmt.Errorf("%s breaks off: %w", address, err)
	case response.StatusCode == http.StatusOK:
		return nil
	case response.StatusCode == http.StatusBadRequest && strings.Contains(text, "HTTPS server"):
		return errWantsTLS
	}
	return fmt.Errorf("%s: %s: %s", address, response.Status, text)
}
