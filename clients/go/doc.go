// Package promgrpc reads metrics from a MetricsService: the latest samples of
// all series, a replay of the past, or everything as it arrives; and what a PromQL
// expression comes to, from a QueryService.
//
// A Client knows the addresses of one or more replicas. They hold the same
// logs, so a cursor of one is valid at all: when a stream breaks, Get opens it
// again at the next address, right after what it delivered last.
//
// # What is guaranteed
//
// Everything that Get yields is covered by the cursor of the next Update that
// has one. Between two cursors nothing is lost, repeated or reordered, however
// often the stream broke and whichever replica resumed it. A program that
// stores the cursor together with the result of the updates, and passes it in
// Selection.Cursor after a restart, handles each sample exactly once.
//
// # What is not
//
// A replica may withhold the cursor for a while (in a snapshot of several logs,
// say). If the stream breaks just then, the updates since the last cursor come
// again; the first of them has Rewound set. Samples that no replica retains any
// more are announced by a Gap event, or end Get with an OutOfRangeError.
//
// # Expressions
//
// Query streams what a PromQL expression comes to. Its unit is the step: it yields
// each exactly once and as a whole, and drops what came of one when the stream breaks
// within it. Until a step is complete it is held in memory, at most 1 GiB of it as it
// crosses the network. There is no gap: a step is evaluated with what the server
// retains, and a cursor that is too old ends Query with an OutOfRangeError.
//
// # Calls that kill servers
//
// A call that kills servers is not carried from replica to replica until all are
// down. A call broke off if the connection was lost, or a proxy lost its server,
// after the request was sent and before the first message. The Client then asks the
// server for its status (is it alive, and since when), and from then on asks each
// server before it sends the call again. After two certain deaths, or three breaks
// in a row where a proxy hides what happened, the call ends with a SuspectError.
// Refused connections, refusals, silence, and streams that were served do not count.
//
// # Limits
//
// A call that is over a limit (ResourceExhausted) is repeated if the server says
// when, and ends with its error otherwise.
//
// # Labels
//
// But for a snapshot, a series' labels cross the network once a stream;
// the Client puts them into every series that it yields. It keeps them until the
// stream ends or the server tells it to forget them, which takes about as much
// memory as the labels of twice the live series.
//
// # Connections
//
// Each Get and each Query has a connection of its own, so that a slow consumer delays nobody
// else; the other calls share one for each address. ProtocolGRPC uses HTTP/2, with windows
// of 4 MiB: so much of a stream may wait in memory for its consumer. Options.GRPC may set others.
// ProtocolConnect and ProtocolGRPCWeb use HTTP/1.1 over cleartext, which every
// proxy supports, and what TLS negotiates otherwise.
//
// # Credentials
//
// Options.Header and Options.Authorization are sent with every call. A credential is
// not sent in the clear, except to an address of this machine (localhost, 127.0.0.1,
// ::1) or with Options.AllowCleartextCredentials: the call ends with a CleartextError.
// Redirects are not followed, proxies of the environment are not used, and no
// credential appears in an error or a log line.
//
// A call that a server refuses for who makes it (Unauthenticated, PermissionDenied)
// ends with that error, a stream too. After Unauthenticated it is repeated once if
// Options.Authorization returns something else by then.
package promgrpc
