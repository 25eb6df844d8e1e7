package server

import (
	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/browser"
)

// DoorsConfig says which web pages may call.
type DoorsConfig struct {
	// CORSOrigins that browsers may call from; "*" is any. None: that of the page here.
	CORSOrigins []string
	// RPCHosts are names of the RPC port beside those that [browser.NewHosts] allows.
	RPCHosts []string
}

const (
	flagCORSOrigin = "--rpc.cors-origin"
	flagRPCHost    = "--rpc.allowed-host"
)

// RegisterFlags adds the flags.
func (c *DoorsConfig) RegisterFlags(app *kingpin.Application) {
	app.Flag(flagCORSOrigin[2:], "Origin that browsers may call from, such as https://grafana.example.org, or * for any. Repeatable.").
		PlaceHolder("ORIGIN").StringsVar(&c.CORSOrigins)
	app.Flag(flagRPCHost[2:], "Name that the RPC port is called by without TLS, *.DOMAIN for all names below a domain, or * for any. Repeatable. "+browser.AlwaysAllowed).
		PlaceHolder("HOST").StringsVar(&c.RPCHosts)
}

func (c *DoorsConfig) doors() (browser.Origins, browser.Hosts, error) {
	origins, err := browser.NewOrigins(flagCORSOrigin, c.CORSOrigins)
	if err != nil {
		return origins, browser.Hosts{}, err
	}
	hosts, err := browser.NewHosts(flagRPCHost, c.RPCHosts)
	return origins, hosts, err
}
