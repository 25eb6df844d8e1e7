// Package promgrpc reads metrics from a MetricsService: the latest samples of
// all series, a replay of the past, or everything as it arrives.
//
// A Client knows the addresses of one or more replicas. They hold the same
// log, so a position of one is a position of all: when a stream breaks, Get
// opens it again at the next address, right after what it delivered last.
//
// # What is guaranteed
//
// Everything that Get yields is covered by the cursor of the next Update that
// has one. Between two cursors nothing is lost, repeated or reordered, however
// often the stream broke and whichever replica went on with it. A program that
// stores the cursor together with what it made of the updates, and passes it
// in Query.Cursor after a restart, handles each sample exactly once.
//
// # What is not
//
// A replica may withhold the cursor for a while (a view of several logs, say).
// If the stream breaks just then, the updates since the last cursor come again;
// the first of them has Rewound set. Samples that no replica retains any more
// are announced by a Gap event, or end Get with an OutOfRangeError.
//
// # Calls that servers die of
//
// A call is not carried from replica to replica until all have died of it. It
// broke off if the connection was lost, or a proxy lost its server, after the
// request was sent and before the first message. The Client then asks the server
// for its status, whether it lives and for how long, and asks any server before it
// gives it the call again. After two servers that certainly died, or three breaks
// in a row where a proxy leaves it open, the call ends with a SuspectError. Refused
// connections, refusals, silence, and streams that were served do not count.
//
// # Limits
//
// A call that is over a limit (ResourceExhausted) is made again when the server
// says when, and ends with its error otherwise.
//
// # Labels
//
// Following and replaying, a series' labels cross the network once a stream;
// the Client puts them into every series that it yields. It keeps them for as
// long as the stream lasts or until the server has it forget them, which takes
// about as much memory as the labels of twice the series that there are.
//
// # Connections
//
// Each Get has a connection of its own, so that a slow consumer holds up
// nobody else; the other calls share one for each address. ProtocolGRPC uses
// HTTP/2. ProtocolConnect and ProtocolGRPCWeb use HTTP/1.1 over cleartext,
// which every proxy carries, and what TLS negotiates otherwise.
//
// Options.Header and Options.BearerToken go along with every call, for a proxy
// that authenticates. Without TLS they go in the clear. Redirects are not
// followed, and no error or log line tells them.
package promgrpc
