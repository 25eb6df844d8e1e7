package promapi

import (
	"runtime"

	"github.com/prometheus/common/version"
)

// compatible is the version of Prometheus that this API is that of: clients look at it
// to see what they may ask for. It is that of the engine, too.
const compatible = "3.15.0"

func buildInfo(*request) (*answer, error) {
	info := []struct{ name, value string }{
		{"version", compatible},
		{"revision", version.Revision},
		{"branch", version.Branch},
		{"buildUser", version.BuildUser},
		{"buildDate", version.BuildDate},
		{"goVersion", runtime.Version()},
	}
	return &answer{data: func(e *encoder) {
		separator := "{"
		for _, i := range info {
			e.raw(separator)
			separator = ","
			e.text(i.name)
			e.raw(":")
			e.text(i.value)
		}
		e.raw("}")
	}}, nil
}

func noRules(*request) (*answer, error) {
	return &answer{data: func(e *encoder) { e.raw(`{"groups":[]}`) }}, nil
}

func noAlerts(*request) (*answer, error) {
	return &answer{data: func(e *encoder) { e.raw(`{"alerts":[]}`) }}, nil
}
