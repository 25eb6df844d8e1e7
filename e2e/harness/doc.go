// Package harness runs the project's binaries, and the real programs around
// them, as processes for end-to-end tests.
//
// Every process gets a loopback address of its own, so that no port can be
// taken by another one, not even while its owner is being restarted. Processes
// end with the test, or with the test binary if that is killed. The logs of a
// failed test's processes are part of its output.
//
// Linux only: it relies on 127.0.0.0/8 and on /proc.
package harness
