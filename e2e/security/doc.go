// Package security holds the real binaries to what docs/security.md says: who gets in at
// each port, whom the parts talk to, and what becomes of data and streams while
// certificates, tokens, passwords and keys are renewed. It reads the tables there; a cell
// that nothing here asks for fails, and so does a case that no table has.
package security
