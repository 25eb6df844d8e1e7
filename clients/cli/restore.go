package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/clients/cli/archived"
	"github.com/promgrpc/exporter/clients/cli/output"
	"github.com/promgrpc/exporter/internal/usage"
)

// restore makes a storage folder of what is in a bucket.
type restore struct {
	folder string
	choice archived.Choice
}

func registerRestore(app *kingpin.Application, _ *connection) (string, func(context.Context, environment) error) {
	r := &restore{}
	cmd := app.Command("restore", "Make a storage folder of what is in a bucket, on which a server or a forwarder starts. Every frame is verified. What was broken off goes on when the same command is given again. Exits with 1 if a segment is damaged; everything else is restored then.")
	// What is restored is for this command alone, and nobody's default elsewhere.
	own := func(name, help string) *kingpin.FlagClause {
		return cmd.Flag(name, help).Envar(variable("restore-" + name))
	}
	option(cmd, "bucket", "The bucket at URL: "+bucketHelp).PlaceHolder("URL").StringVar(&r.choice.Bucket)
	own("to", "The folder DIR, which is empty or not there.").Required().PlaceHolder("DIR").StringVar(&r.folder)
	own("log", "Only the log whose id begins with ID. Repeatable.").PlaceHolder("ID").StringsVar(&r.choice.Logs)
	own("since", "Leave out segments that were complete before TIME, which is as for get.").PlaceHolder("TIME").StringVar(&r.choice.Given)
	return cmd.FullCommand(), r.run
}

func (r *restore) run(ctx context.Context, env environment) error {
	if r.choice.Bucket == "" {
		return usage.Errorf("--bucket is needed")
	}
	if r.choice.Given != "" {
		since, err := parseSince(r.choice.Given, time.Now())
		if err != nil {
			return usage.Errorf("--since: %w", err)
		}
		r.choice.Since = since
	}
	b, err := openBucket(ctx, r.choice.Bucket)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // it was only read
	logs, err := archived.Restore(ctx, b, r.folder, r.choice)
	if errors.Is(err, archived.ErrOccupied) {
		return usage.Errorf("--to: %w", err)
	}
	if len(logs) > 0 {
		if printed := output.PrintRows(env.stdout, env.terminal, "LOG\tSEGMENTS\tFIRST\tLAST\tMISSING\tSIZE", logs, restoredCells); err == nil {
			err = printed
		}
	}
	if err != nil {
		return fmt.Errorf("not all was restored: %w", err)
	}
	return nil
}

func restoredCells(r archived.Restored) []string {
	return []string{
		r.Log.String(), strconv.Itoa(r.Segments), strconv.FormatUint(r.First, 10), strconv.FormatUint(r.Last, 10),
		strconv.FormatUint(r.Missing, 10), size(r.Bytes),
	}
}
