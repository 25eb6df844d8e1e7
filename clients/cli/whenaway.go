package cli

import (
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// registerWhenAway registers the flag of the commands that a router can serve without all of
// its groups.
func registerWhenAway(cmd clause, to *string) {
	option(cmd, "when-away", "What a router does while no server of a group answers: go on with the other groups as far as possible and wait, or refuse.").
		Default("wait").EnumVar(to, "wait", "refuse")
}

func whenAway(flag string) metricsv1.WhenAway {
	if flag == "refuse" {
		return metricsv1.WhenAway_WHEN_AWAY_REFUSE
	}
	return metricsv1.WhenAway_WHEN_AWAY_WAIT
}
