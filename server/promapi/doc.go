// Package promapi is Prometheus' HTTP API, for what people have: data sources of
// dashboards, promtool, libraries. Its answers are those of Prometheus, written by hand
// against Prometheus' documentation and source.
//
// Guaranteed: parameters, errors and JSON are those of the Prometheus whose version the
// build information says. An answer is written as it is encoded, never held as a text; what
// it is made from has room before. An answer that is cut off is no valid JSON, and its
// connection is broken off.
//
// Not guaranteed: what only a Prometheus has. There are no targets, rules and alerts
// here: the latter two are empty lists, since data sources ask for them, and the rest is
// not found.
package promapi
