// Package bounds sends inputs that are small, legal and dear to the real
// binaries, from one address and from several, and holds them to what
// docs/guarantees.md says of overload: no process takes more memory than the
// formula allows it (where the machine can, the kernel kills one that does), what
// a client follows and asks for meanwhile comes as it did before, the attacker is
// told which limit it is over, and afterwards the memory is given back.
//
// Sizes come from the limits that the parts run with, so that an input stays at
// the edge of what is allowed when a limit changes.
//
// Not shown: that a process has CPU time left for others when all of the machine
// is busy. Latency is compared with that of the same machine before the attack.
package bounds
