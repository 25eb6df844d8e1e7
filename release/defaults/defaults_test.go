package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDefaults(t *testing.T) {
	const help = `usage: thing [<flags>] <command> [<args> ...]

Does things.


Flags:
  -h, --[no-]help              Show context-sensitive help (also try --help-long
                               and --help-man).
      --log.level=info         Least level to log: debug or
                               info. ($LOG_LEVEL)
      --web.listen-address=":8080"  
                               Address of the HTTP server.
                               ($WEB_LISTEN_ADDRESS)
      --web.config.file=FILE   File with TLS. ($WEB_CONFIG_FILE)
      --proxy=NETWORK ...      Balancer. ($PROXY)
      --also=:80... ...        More. ($ALSO)
      --[no-]quick             Be quick. ($QUICK)
      --storage.path="data"    Folder. ($STORAGE_PATH)

Commands:
help [<command>...]
    Show help ($NOT).

healthcheck [<flags>]
    --cert-file=FILE  ($NEITHER)
`
	var out bytes.Buffer
	require.NoError(t, write(&out, "thing", help))
	_, settings, _ := bytes.Cut(out.Bytes(), []byte("systemctl restart thing\n"))
	assert.Equal(t, `
# Least level to log: debug or info.
#LOG_LEVEL=info

# Address of the HTTP server.
#WEB_LISTEN_ADDRESS=":8080"

# File with TLS.
#WEB_CONFIG_FILE=FILE

# Balancer.
#PROXY=NETWORK

# More.
#ALSO=:80...

# Be quick.
#QUICK=

# Folder.
#STORAGE_PATH=/var/lib/thing
`, string(settings))
}

func TestNoDefaults(t *testing.T) {
	for _, help := range []string{"", "usage: thing\n", "\nFlags:\n  -h, --[no-]help  Show help.\n"} {
		assert.Error(t, write(&bytes.Buffer{}, "thing", help), "%q", help)
	}
}
