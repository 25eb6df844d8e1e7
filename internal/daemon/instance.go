package daemon

import "os"

// Instance is the name that a process goes by: the one that it was given or, for "",
// that of the host. It is "" if the host does not say.
func Instance(given string) string {
	if given != "" {
		return given
	}
	host, _ := os.Hostname()
	return host
}
