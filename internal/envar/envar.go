// Package envar has the names of the environment variables that flags may be
// given by.
package envar

import "strings"

var replacer = strings.NewReplacer(".", "_", "-", "_")

// Name of the variable of a flag, with or without its dashes: PROMGRPC_ and the
// name in capitals, so that --web.listen-address is PROMGRPC_WEB_LISTEN_ADDRESS.
func Name(flag string) string {
	return "PROMGRPC_" + strings.ToUpper(replacer.Replace(strings.TrimPrefix(flag, "--")))
}
