// Package postings finds the series that a selection matches, by the ids of those that
// have a label.
//
// Guaranteed: matching is Prometheus' own, and it costs what the evaluation that it is
// done for allows. An index is read as of one moment, while series are added to it.
//
// Not guaranteed: that what is found is still there, as nothing is removed.
package postings
