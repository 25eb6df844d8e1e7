//go:build debian

package e2e

import (
	"encoding/json"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// grafanaRequest is one that Grafana's data source makes.
type grafanaRequest struct {
	For        string
	Method     string // or several
	Path       string
	Parameters url.Values
}

// grafanaRequests are those in testdata/grafana.json, which says where they are from.
func grafanaRequests(t *testing.T) []grafanaRequest {
	t.Helper()
	text, err := os.ReadFile(harness.File("e2e/testdata/grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Requests []grafanaRequest }
	if err := json.Unmarshal(text, &file); err != nil || len(file.Requests) == 0 {
		t.Fatalf("requests of Grafana: %v", err)
	}
	return file.Requests
}

// parameters are those of the last five minutes.
func (r grafanaRequest) parameters(end time.Time) url.Values {
	start, all := end.Add(-5*time.Minute), url.Values{}
	for name, values := range r.Parameters {
		for _, v := range values {
			if name == "start" || name == "end" || name == "time" {
				v = strings.NewReplacer(
					"MS", strconv.FormatInt(start.UnixMilli(), 10), "ME", strconv.FormatInt(end.UnixMilli(), 10),
					"S", strconv.FormatInt(start.Unix(), 10), "E", strconv.FormatInt(end.Unix(), 10),
				).Replace(v)
			}
			all.Add(name, v)
		}
	}
	return all
}
