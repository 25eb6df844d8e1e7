// Package report keeps what was measured, and writes it as JSON, tables and plots.
package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/promgrpc/exporter/bench/probe"
)

// Result is everything that a run measured.
type Result struct {
	Began      time.Time         `json:"began"`
	Machine    probe.Machine     `json:"machine"`
	Parameters map[string]string `json:"parameters"`
	Versions   map[string]string `json:"versions"`
	Figures    []*Figure         `json:"figures"`
}

// Figure is one metric of one system at one size, with a value for each repetition.
type Figure struct {
	Series int       `json:"series"`
	System string    `json:"system"`
	Metric string    `json:"metric"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
}

// Add adds a value of a repetition.
func (r *Result) Add(series int, system, metric, unit string, value float64) {
	f := r.Find(series, system, metric)
	if f == nil {
		f = &Figure{Series: series, System: system, Metric: metric, Unit: unit}
		r.Figures = append(r.Figures, f)
	}
	f.Values = append(f.Values, value)
}

// Find returns a figure, or nil.
func (r *Result) Find(series int, system, metric string) *Figure {
	for _, f := range r.Figures {
		if f.Series == series && f.System == system && f.Metric == metric {
			return f
		}
	}
	return nil
}

// Median of the repetitions.
func (f *Figure) Median() float64 {
	s := slices.Sorted(slices.Values(f.Values))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// Range of the repetitions.
func (f *Figure) Range() (lowest, highest float64) { return slices.Min(f.Values), slices.Max(f.Values) }

// Write writes result.json, result.md and the plots into a folder.
func (r *Result) Write(dir, name string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := write(dir, name+".json", append(data, '\n')); err != nil {
		return err
	}
	if err := write(dir, name+".md", r.Markdown()); err != nil {
		return err
	}
	for _, p := range plots {
		svg := r.plot(p)
		if svg == nil {
			continue
		}
		if err := write(dir, p.file, svg); err != nil {
			return err
		}
	}
	return nil
}

func write(dir, name string, data []byte) error {
	return os.WriteFile(filepath.Join(dir, name), data, 0o644)
}
