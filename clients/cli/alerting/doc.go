// Package alerting takes alerts whose state has changed to where people are told of them:
// a command, or Alertmanagers.
//
// Guaranteed: what was delivered without an error was taken, by the command or by one of
// the Alertmanagers, but for alerts that this says are not valid, which is warned of.
// Alerts that fire are sent to all of those again and again, so that none forgets them,
// and so are those that are resolved, for a while.
//
// Not guaranteed: that a change is delivered once only. Who is interrupted, or gets an
// error, delivers it again.
package alerting
