// Package rule evaluates files of rules, step by step: the call EvaluateRules.
//
// Guaranteed: alerts become pending, fire, are kept firing and resolve as in Prometheus,
// with its loader and templates. What a step comes to depends on the file and on the logs
// alone, and a cursor has the state of the alerts that are active: another replica goes
// on from it with every change once. A file may be anybody's: how many rules it has, how
// many alerts may be active, and what its templates may do and write are bounded.
//
// Not guaranteed: the state of alerts from before the first step. An alert whose
// expression holds there becomes active then.
package rule
