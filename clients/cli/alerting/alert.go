package alerting

import (
	"strconv"
	"time"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// States of an alert, in words.
const (
	Pending  = "pending"
	Firing   = "firing"
	Resolved = "resolved" // it was firing
	Inactive = "inactive"
)

// Alert is one whose state has changed, as commands and people get it.
type Alert struct {
	Name     string `json:"name"`
	Group    string `json:"group"`
	State    string `json:"state"`
	Previous string `json:"previous"`
	// Value of the expression, as Prometheus writes it.
	Value       string            `json:"value"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// At is the time of the step at which it changed.
	At           time.Time  `json:"at"`
	ActiveAt     time.Time  `json:"activeAt"`
	FiredAt      *time.Time `json:"firedAt,omitempty"`
	GeneratorURL string     `json:"generatorURL,omitempty"`
}

// Of returns the alerts of a response.
func Of(r *queryv1.EvaluateRulesResponse) []Alert {
	all := make([]Alert, 0, len(r.GetAlerts()))
	for _, from := range r.GetAlerts() {
		a := Alert{
			Group: r.GetGroup(), State: word(from.GetState()), Previous: word(from.GetPrevious()),
			Value:  strconv.FormatFloat(from.GetValue(), 'f', -1, 64),
			Labels: texts(from.GetLabels()), Annotations: texts(from.GetAnnotations()),
			At: r.GetEvaluated().AsTime(), ActiveAt: from.GetActiveAt().AsTime(), GeneratorURL: from.GetGeneratorUrl(),
		}
		a.Name = a.Labels["alertname"]
		if from.GetFiredAt() != nil {
			a.FiredAt = new(from.GetFiredAt().AsTime())
		}
		if a.State == Inactive && a.Previous == Firing {
			a.State = Resolved
		}
		all = append(all, a)
	}
	return all
}

// Changed says whether its state has changed, or it is told as one that is active.
func (a *Alert) Changed() bool { return a.State != a.Previous }

func word(s queryv1.Alert_State) string {
	switch s {
	case queryv1.Alert_STATE_PENDING:
		return Pending
	case queryv1.Alert_STATE_FIRING:
		return Firing
	}
	return Inactive
}

func texts(labels []*metricsv1.Label) map[string]string {
	all := make(map[string]string, len(labels))
	for _, l := range labels {
		all[l.GetName()] = l.GetValue()
	}
	return all
}
