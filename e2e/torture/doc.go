// Package torture tries to break the promise that a sample which was answered
// with 204 is stored by every replica once, and reaches every following client
// once, whatever dies in between.
//
// It runs the real binaries with small segments, and puts a TCP proxy of its
// own into every connection. Senders know each sample that was acknowledged;
// clients write down what they receive. Faults come by a plan that a seed
// makes: it says when, what and for how long, so that a seed gives the same
// plan again. What the processes make of it is up to the machine, and differs
// from run to run.
//
// At the end everything is healed, and what was acknowledged is compared with
// what each replica gives, what its files hold and what each client received:
// bit for bit, in order by series, no more and no less. The files of the
// replicas must be those of the forwarder.
//
// A client subscribes to an expression, and moves between the servers. Each step comes
// to it once, and what it had of each is compared, bit for bit, with what every server
// evaluates in the end.
//
// In some seeds forwarders lose the end of their logs while nothing runs, and some
// servers, too, and all start again in any order. What is nowhere then is excused,
// and nothing else. Nobody subscribes there, since steps were evaluated of what is
// gone.
//
// Some seeds have what bears the loss of any one machine: two forwarders, an answer that
// waits for a server's disk, servers that get from each other what they lack, and a bucket
// behind a proxy. There forwarders and servers are lost with their disks, one at a time:
// the next one only when all that there was is at every server again. The bucket is
// slow, away, refuses, and loses its answers. In the end the logs of lost forwarders are the
// same at all servers, too, and the bucket has the same bytes. Nobody subscribes there:
// a step may be evaluated while a server lacks the end of a lost forwarder's log.
//
// In some of these two senders are a pair, each silent now and then: once all is
// healed, of each of their samples one is stored.
//
// In other seeds there are two groups, over which receivers spread the series, and routers that
// clients read through. All servers of a group are away at once now and then, or no router
// reaches them. Some of these groups bear the loss of any one machine, as above; in others
// series move at an instant, as a third group is added, one has no series any more, or both.
// What was acknowledged is in the groups once, taken together, each series in order up to the
// instant and from it on; one client goes from router to router with its cursor every few
// seconds. In the end routers have the live series and the label values that the groups have.
// Where series move, receivers and forwarders have the right time: they judge whether the
// instant is ahead.
//
// Most senders are tenants, who spell their series as all others do.
//
// Each process has a wall clock of its own, which is set back and forward while
// it runs and while it does not. Where there are two forwarders, senders change between
// them. In some seeds the parts know each other by certificates.
//
// Not covered: what else a power cut takes from the disk that was not forced to it:
// package seglog has tests of that.
package torture
