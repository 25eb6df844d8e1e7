package daemon

import (
	"log/slog"
	"net/http"

	"github.com/promgrpc/exporter/internal/browser"
	"github.com/promgrpc/exporter/internal/usage"
)

// webDoors keep web pages of others away from an HTTP server, which no page is meant to
// call. Anybody may ask whether the program is alive and ready, by any name.
func webDoors(hosts []string) (doors browser.Doors, err error) {
	if doors.Hosts, err = browser.NewHosts(flagWebHost, hosts); err != nil {
		return doors, &usage.Error{Err: err}
	}
	if doors.Origins, err = browser.NewOrigins("", nil); err != nil {
		return doors, err
	}
	doors.Named = func(r *http.Request) bool { return r.TLS != nil || open(r) }
	return doors, nil
}

// refusePage answers what a web page of others may have sent.
func (s *strangers) refusePage(w http.ResponseWriter, r *http.Request, refused *browser.Refused) {
	s.count(refused.Status)
	s.log.Log(slog.LevelWarn, "request of a web page refused", append([]any{"status", refused.Status, "err", refused}, attributes(r)...)...)
	http.Error(w, refused.Error(), refused.Status)
}
