package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/internal/usage"
)

// report prints what went wrong and what to do about it, and returns the exit code.
func report(env environment, err error) int {
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return ExitOK
	}
	message, code := explain(err)
	_, _ = fmt.Fprintf(env.stderr, "%s: error: %s\n", program, message)
	return code
}

func explain(err error) (string, int) {
	var mistake *usage.Error
	var unreachable *promgrpc.UnreachableError
	var outOfRange *promgrpc.OutOfRangeError
	var suspect *promgrpc.SuspectError
	var server *promgrpc.Error
	var cleartext *promgrpc.CleartextError
	var misplaced *misplacedError
	switch {
	case errors.As(err, &cleartext):
		return err.Error() + "; try --tls, or --allow-cleartext-credentials", ExitUsage
	case errors.As(err, &mistake):
		return err.Error() + "; try --help", ExitUsage
	case errors.As(err, &suspect):
		return err.Error() + "; it is not repeated", ExitSuspect
	case errors.As(err, &unreachable):
		return err.Error() + hint(unreachable), ExitUnreachable
	case errors.As(err, &outOfRange):
		return err.Error() + oldest(outOfRange), ExitOutOfRange
	case errors.Is(err, errInterrupted):
		return "interrupted before the end", ExitFailure
	case errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &server):
		return "not done within the time allowed by --timeout", ExitFailure
	case errors.As(err, &misplaced):
		return misplaced.Error(), ExitFailure
	case errors.As(err, &server):
		return answer(server), ExitFailure
	}
	return err.Error(), ExitFailure
}

func hint(e *promgrpc.UnreachableError) string {
	for _, err := range e.Errors {
		var server *promgrpc.Error
		if !errors.As(err, &server) {
			continue
		}
		switch text := strings.ToLower(server.Message); {
		case errors.Is(err, syscall.ECONNREFUSED):
			return "; is the server running? try --address"
		case server.Dial != nil:
			return "; try --address"
		case server.Code == codes.ResourceExhausted:
			return "; try again later, or another server with --address"
		case strings.Contains(text, "remote error: tls"):
			return "; does the server want a certificate of its clients? try --tls-cert-file"
		case strings.Contains(text, "certificate") || strings.Contains(text, "x509"):
			return "; try --tls-ca-file or --tls-server-name"
		case strings.Contains(text, "tls"):
			return "; does the server speak TLS? try with or without --tls"
		case strings.Contains(text, "server preface"):
			return "; is this the RPC port of the server? try --address, --tls or --protocol connect"
		}
	}
	return "; try again, or --address"
}

func oldest(e *promgrpc.OutOfRangeError) string {
	if e.OldestCursor == "" {
		return "; try --since, or no --cursor for the latest samples"
	}
	return "; the oldest that the server has is --cursor " + e.OldestCursor +
		" (remove the --cursor-file, if it has the cursor)"
}

// answer returns what the server said. A message of several lines is a selector with
// a pointer below it, which have to stay aligned, or the page of a proxy.
func answer(e *promgrpc.Error) string {
	switch {
	case e.Code == codes.Unauthenticated:
		return strings.Join(strings.Fields(e.Error()), " ") + "; try --bearer-token-file, --basic-auth-user or --tls-cert-file"
	case e.Code == codes.PermissionDenied:
		return strings.Join(strings.Fields(e.Error()), " ")
	case strings.Contains(e.Message, "\n"):
		return fmt.Sprintf("%s: %s:\n%s", e.Address, codeWords(e.Code), strings.TrimRight(e.Message, "\n"))
	case e.Code == codes.Unimplemented:
		return e.Error() + "; is this the RPC port of a MetricsService? try --address"
	}
	return e.Error()
}

func codeWords(c codes.Code) string {
	if c == codes.InvalidArgument {
		return "invalid argument"
	}
	return c.String()
}

// newLogger logs reconnects to stderr, for people.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// warn prints what does not end the program.
func warn(env environment, format string, args ...any) {
	_, _ = fmt.Fprintf(env.stderr, "%s: warning: %s\n", program, fmt.Sprintf(format, args...))
}
