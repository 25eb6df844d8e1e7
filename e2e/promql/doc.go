// Package promql compares what a server's Prometheus API answers with what a real
// Prometheus does, which scraped the same targets and wrote what it got to the pipeline:
// a corpus of expressions, at instants and over ranges, their annotations and errors, and
// what there is of series, labels, metadata and exemplars.
//
// Both are asked about times of which both have everything: Prometheus has stopped
// scraping, and the pipeline has every sample of before.
package promql
