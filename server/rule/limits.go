package rule

import "github.com/alecthomas/units"

// Limits bounds what a file of rules may cost.
type Limits struct {
	// Rules that a file may have.
	Rules int
	// Alerts of a file that may be active at a time.
	Alerts int
	// TemplateSize that a template may have, and that it may come to.
	TemplateSize units.Base2Bytes
}

// DefaultLimits are far above what files have.
func DefaultLimits() Limits {
	return Limits{Rules: 1000, Alerts: MaxAlerts, TemplateSize: 16 * units.KiB}
}

// The flags of these limits.
const (
	FlagRules        = "--limit.rules"
	FlagAlerts       = "--limit.rule-alerts"
	FlagTemplateSize = "--limit.rule-template-size"
)

// MaxAlerts is how many active alerts fit into a cursor at most.
const MaxAlerts = 5000
