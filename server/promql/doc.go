// Package promql evaluates PromQL on the logs of a server, by Prometheus' own engine.
//
// Guaranteed: what an expression means, and what it comes to, is up to Prometheus. With
// a delay, a result depends on the logs alone, and not on when or where it is computed:
// each step is evaluated with the samples that had arrived by then. What an evaluation
// may cost has limits: regular expressions are measured before they are compiled, and
// memory is reserved before it is used. A caller sees no series but those that it is
// allowed to, in results, errors and annotations.
//
// Not guaranteed: that a range is complete. Samples that are no longer retained are not
// missed. And what the engine itself has in the order of a map, whatever it is told:
// the last bits of a sum, and which of equals topk chooses, within a subquery, or from
// quantiles of classic histograms, unless it is of a selector or its rate.
package promql
