package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/clients/cli/output"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/internal/usage"
)

// inspect reads a segment file without a server.
type inspect struct {
	path      string
	samples   bool
	keyframe  bool
	format    string
	csvHeader bool
	given     given
}

func registerInspect(app *kingpin.Application, _ *connection) (string, func(context.Context, environment) error) {
	i := &inspect{given: given{}}
	cmd := app.Command("inspect", "Read a segment file, verify all of it, and list its frames or print its samples. Works on the files of forwarders and servers alike, even while they are written. Exits with 1 if a file is damaged, and prints the offset.").
		PreAction(i.given.note)
	cmd.Arg("file", "A segment FILE, or the link to the latest one; or the URL of a segment in a bucket: the bucket's, with the log's id and the segment's name behind its prefix.").Required().StringVar(&i.path)
	option(cmd, "samples", "Print the samples instead of the frames.").BoolVar(&i.samples)
	option(cmd, "keyframe", "With --samples: start with the samples of the keyframe, which repeat those of earlier segments.").BoolVar(&i.keyframe)
	registerFormat(cmd, "Format: text, table, json, openmetrics, csv or proto.", &i.format, output.Formats...)
	registerCSV(cmd, &i.csvHeader)
	return cmd.FullCommand(), i.run
}

// ignoreUnused drops flags of the environment that frames have no use for.
func (i *inspect) ignoreUnused() {
	if i.samples {
		return
	}
	if !i.given["output"] && i.format != "json" {
		i.format = "text"
	}
	if !i.given["keyframe"] {
		i.keyframe = false
	}
}

func (i *inspect) run(ctx context.Context, env environment) (err error) {
	i.ignoreUnused()
	if !i.samples && (i.format != "text" && i.format != "json" || i.keyframe) {
		return usage.Errorf("--output %s and --keyframe need --samples", i.format)
	}
	if i.given["csv-header"] && i.format != "csv" {
		return usage.Errorf("--csv-header needs --output csv")
	}
	f, err := openSegment(ctx, i.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // it was only read
	r, err := segment.NewReader(f, f.size)
	if err != nil {
		return fmt.Errorf("%s: offset 0: %w", i.path, err)
	}
	var v visitor
	switch {
	case i.samples:
		metadata := output.Metadata{}
		o := output.New(i.format, env.stdout, output.Options{
			Terminal: env.terminal, Colour: env.colour, Ordered: true, Headless: !i.csvHeader, Metadata: metadata,
		})
		defer warnOmitted(env, o)
		v = newSamplePrinter(o, metadata, i.keyframe)
	case i.format == "json":
		v = &frameObjects{w: bufio.NewWriter(env.stdout)}
	default:
		v = &frameTable{w: bufio.NewWriter(env.stdout)}
	}
	err = walk(ctx, r, f.size, i.path, v)
	// What was read up to the damage is worth printing.
	if closeErr := v.close(err == nil); closeErr != nil {
		return closeErr
	}
	return err
}

// visitor is shown the frames of a segment in order.
type visitor interface {
	header(h segment.Header, size int64) error
	frame(f *segment.Frame) error
	// close comes last. Whole is set if all of the segment was read.
	close(whole bool) error
}

func walk(ctx context.Context, r *segment.Reader, size int64, path string, v visitor) error {
	if err := v.header(r.Header(), size); err != nil {
		return err
	}
	var f segment.Frame
	for ctx.Err() == nil {
		err := r.Next(size, &f)
		switch {
		case errors.Is(err, io.EOF):
			if !r.Decoder().Keyed() {
				return fmt.Errorf("%s: offset %d: the file ends before its keyframe does", path, size)
			}
			return nil
		case errors.Is(err, segment.ErrShort):
			return fmt.Errorf("%s: offset %d: %w; it is being written, or was cut off", path, r.Offset(), err)
		case err != nil:
			return fmt.Errorf("%s: offset %d: %w", path, r.Offset(), err)
		}
		if err := v.frame(&f); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func date(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// frameTable lists the frames for people.
type frameTable struct {
	w         *bufio.Writer
	total     struct{ blocks, series, samples, histograms, exemplars, rejected uint64 }
	elections elections
	placement segment.Placement
	size      int64
	last      segment.Kind
}

func (t *frameTable) header(h segment.Header, size int64) error {
	t.size = size
	_, err := fmt.Fprintf(t.w, "log %s, created %s, first sequence %d, %d bytes\n\n%12s %-8s %10s %-24s %8s %8s %10s %9s %8s %8s %9s\n",
		h.LogID, date(h.CreateTime), h.FirstSequence, size,
		"OFFSET", "KIND", "SEQUENCE", "TIME", "SERIES", "SAMPLES", "HISTOGRAMS", "EXEMPLARS", "METADATA", "REJECTED", "BYTES")
	return err
}

func (t *frameTable) frame(f *segment.Frame) error {
	h := &f.Header
	t.last = h.Kind
	if h.Kind == segment.KindBlock {
		t.total.blocks++
		t.total.series += uint64(h.Series)
		t.total.samples += uint64(h.Samples)
		t.total.histograms += uint64(h.Histograms)
		t.total.exemplars += uint64(h.Exemplars)
		t.total.rejected += uint64(h.Verdict.Rejected)
	}
	_, err := fmt.Fprintf(t.w, "%12d %-8s %10d %-24s %8d %8d %10d %9d %8d %8d %9d\n",
		f.Offset, h.Kind, h.Sequence, date(h.Time), h.Series, h.Samples, h.Histograms, h.Exemplars, h.Metadata, h.Verdict.Rejected, h.Len())
	t.elections.add(f.Elections())
	if p := f.Placement(); !p.None() {
		t.placement = p
	}
	return err
}

func (t *frameTable) close(whole bool) error {
	end := "damaged"
	switch {
	case whole && t.last == segment.KindFooter:
		end = "sealed"
	case whole:
		end = "open"
	}
	n := &t.total
	_, _ = fmt.Fprintf(t.w, "\n%s: %d blocks, %d new series, %d samples, %d histograms, %d exemplars, %d rejected",
		end, n.blocks, n.series, n.samples, n.histograms, n.exemplars, n.rejected)
	if all := n.samples + n.histograms; whole && all > 0 {
		_, _ = fmt.Fprintf(t.w, ", %.2f bytes a sample", float64(t.size)/float64(all))
	}
	_, _ = fmt.Fprintln(t.w)
	t.elections.list(t.w)
	listPlacement(t.w, t.placement)
	return t.w.Flush()
}

// frameObjects lists the frames as JSON, an object a line.
type frameObjects struct{ w *bufio.Writer }

func (o *frameObjects) header(h segment.Header, size int64) error {
	_, err := fmt.Fprintf(o.w, `{"kind":"header","offset":0,"log_id":"%s","create_time":"%s","first_sequence":%d,"file_bytes":%d}`+"\n",
		h.LogID, date(h.CreateTime), h.FirstSequence, size)
	return err
}

func (o *frameObjects) frame(f *segment.Frame) error {
	h := &f.Header
	_, err := fmt.Fprintf(o.w, `{"kind":"%s","offset":%d,"bytes":%d,"sequence":%d,"time":"%s","series":%d,"samples":%d,"histograms":%d,"exemplars":%d,"metadata":%d,"rejected":%d,"digest":"%x","checksum":"%08x"`,
		h.Kind, f.Offset, h.Len(), h.Sequence, date(h.Time), h.Series, h.Samples, h.Histograms, h.Exemplars, h.Metadata, h.Verdict.Rejected, h.Digest, h.Checksum)
	if err != nil {
		return err
	}
	if err := writeElections(o.w, f.Elections()); err != nil {
		return err
	}
	if err := writePlacement(o.w, f.Placement()); err != nil {
		return err
	}
	_, err = o.w.WriteString("}\n")
	return err
}

func (o *frameObjects) close(bool) error { return o.w.Flush() }
