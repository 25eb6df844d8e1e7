package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/clients/cli/archived"
	"github.com/promgrpc/exporter/clients/cli/output"
	promgrpc "github.com/promgrpc/exporter/clients/go"
)

func registerSegments(app *kingpin.Application, c *connection) (string, func(context.Context, environment) error) {
	rpc := &call{connection: c}
	var url string
	cmd := app.Command("segments", "Print the files of the first server that answers, oldest first, log by log; or with --bucket those in a bucket, with what is missing between them, and totals by log.")
	rpc.register(cmd)
	option(cmd, "bucket", "Print what is in the bucket at URL, without a server: "+bucketHelp).PlaceHolder("URL").StringVar(&url)
	return cmd.FullCommand(), func(ctx context.Context, env environment) error {
		if url != "" {
			return segmentsOfBucket(ctx, env, rpc, url)
		}
		return segmentsOfServer(ctx, env, rpc)
	}
}

func segmentsOfServer(ctx context.Context, env environment, rpc *call) error {
	type row struct {
		LogID         string `json:"log_id"`
		Name          string `json:"name"`
		FirstSequence uint64 `json:"first_sequence"`
		LastSequence  uint64 `json:"last_sequence"`
		CreateTime    string `json:"create_time,omitempty"`
		SizeBytes     int64  `json:"size_bytes"`
		Sealed        bool   `json:"sealed"`
		Archived      bool   `json:"archived,omitempty"`
		Remote        bool   `json:"remote,omitempty"`
	}
	return runCall(ctx, env, rpc, "LOG\tNAME\tFIRST\tLAST\tSIZE\tSEALED\tPLACE", func(ctx context.Context, client *promgrpc.Client) ([]row, bool, error) {
		res, err := client.ListSegments(ctx)
		rows := make([]row, len(res.GetSegments()))
		for i, s := range res.GetSegments() {
			rows[i] = row{
				s.GetLogId(), s.GetName(), s.GetFirstSequence(), s.GetLastSequence(),
				instant(s.GetCreateTime()), s.GetSizeBytes(), s.GetSealed(), s.GetArchived(), s.GetRemote(),
			}
		}
		return rows, res.GetTruncated(), err
	}, func(r row) []string {
		return []string{
			short(r.LogID), r.Name, strconv.FormatUint(r.FirstSequence, 10), strconv.FormatUint(r.LastSequence, 10),
			size(r.SizeBytes), strconv.FormatBool(r.Sealed), place(r.Archived, r.Remote),
		}
	})
}

// place says where a segment is.
func place(archived, remote bool) string {
	switch {
	case remote:
		return "bucket"
	case archived:
		return "disk and bucket"
	}
	return "disk"
}

// bucketRow is a segment in a bucket.
type bucketRow struct {
	LogID         string `json:"log_id"`
	Name          string `json:"name"`
	FirstSequence uint64 `json:"first_sequence"`
	LastSequence  uint64 `json:"last_sequence"`
	Modified      string `json:"modified"`
	SizeBytes     int64  `json:"size_bytes"`
	Sealed        bool   `json:"sealed"`
	Pieces        int    `json:"pieces,omitempty"`
	MissingBefore uint64 `json:"missing_before,omitempty"`
	Error         string `json:"error,omitempty"`
}

func (r bucketRow) cells() []string {
	sealed := strconv.FormatBool(r.Sealed)
	if !r.Sealed {
		sealed = fmt.Sprintf("%d pieces", r.Pieces)
	}
	var notes []string
	if r.MissingBefore > 0 {
		notes = append(notes, fmt.Sprintf("%d blocks before it are missing", r.MissingBefore))
	}
	if r.Error != "" {
		notes = append(notes, r.Error)
	}
	return []string{
		short(r.LogID), r.Name, strconv.FormatUint(r.FirstSequence, 10), strconv.FormatUint(r.LastSequence, 10),
		size(r.SizeBytes), sealed, strings.Join(notes, "; "),
	}
}

// logRow is a log in a bucket.
type logRow struct {
	log      archived.Log
	missing  uint64
	failures int
}

func (r logRow) cells() []string {
	first, last := r.log.Segments[0], r.log.Segments[len(r.log.Segments)-1]
	return []string{
		r.log.ID.String(), strconv.Itoa(len(r.log.Segments)), strconv.FormatUint(first.First, 10), strconv.FormatUint(last.Last, 10),
		strconv.FormatUint(r.missing, 10), strconv.Itoa(r.failures), size(r.log.Size()),
	}
}

func segmentsOfBucket(ctx context.Context, env environment, rpc *call, url string) error {
	b, err := openBucket(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // it was only read
	logs, err := archived.Read(ctx, b)
	if err != nil {
		return err
	}
	var rows []bucketRow
	var totals []logRow
	failures := 0
	for _, log := range logs {
		total := logRow{log: log}
		for _, s := range log.Segments {
			row := bucketRow{
				log.ID.String(), s.Name, s.First, s.Last, s.Modified.UTC().Format(time.RFC3339Nano), s.Size, s.Sealed, len(s.Pieces), s.Missing, "",
			}
			if s.Err != nil {
				row.Error = s.Err.Error()
				total.failures++
			}
			total.missing += s.Missing
			rows = append(rows, row)
		}
		failures += total.failures
		totals = append(totals, total)
	}
	if rpc.format == "json" {
		err = output.PrintJSON(env.stdout, rows)
	} else if err = output.PrintRows(env.stdout, env.terminal, "LOG\tNAME\tFIRST\tLAST\tSIZE\tSEALED\tNOTE", rows, bucketRow.cells); err == nil {
		_, _ = fmt.Fprintln(env.stdout)
		err = output.PrintRows(env.stdout, env.terminal, "LOG\tSEGMENTS\tFIRST\tLAST\tMISSING\tDAMAGED\tSIZE", totals, logRow.cells)
	}
	if err == nil && failures > 0 {
		err = fmt.Errorf("%d segments in the bucket are damaged", failures)
	}
	return err
}
