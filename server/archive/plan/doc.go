// Package plan decides what of a server's logs goes to the bucket, who of several
// servers sends it, what the bucket gives to a server that lacks it, and what goes from
// the bucket. It has no clock, disk or network: times and facts come in, steps go out.
//
// Guaranteed: nothing is created but what continues what is there, an object is never
// asked to be made anew, and pieces go only when the segment that they are of is there
// whole. Servers that plan for the same log agree in the end on who sends: the others
// look, and send nothing while it does.
//
// Not guaranteed: that only one sends at every instant. Two may create the same object;
// the bucket lets one of them.
package plan
