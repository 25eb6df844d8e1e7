package archive

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"time"

	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/private"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// What footers say is kept in a file, so that a server that starts does not read them all
// again. It is only as good as the list that follows: what that does not have is not
// there. Its last line is a checksum, since nothing else would show that it is damaged.

const (
	catalogueName = "bucket"
	// mostSaved is how large the file may be.
	mostSaved = 256 << 20
	// sumLine is a checksum of the lines before.
	sumLine = "%08x\n"
)

func sumOf(lines []byte) string {
	return fmt.Sprintf(sumLine, crc32.Checksum(lines, crc32.MakeTable(crc32.Castagnoli)))
}

// save writes the sealed segments that are known.
func (c *catalogue) save() error {
	if c.file == "" {
		return nil
	}
	f, err := private.Create(c.file + ".tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(c.format())
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(c.file+".tmp", c.file)
	}
	return err
}

// format writes a line for the bucket, one for each segment, and the checksum.
func (c *catalogue) format() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", c.archive.bucket)
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, segments := range c.logs {
		for name, e := range segments {
			if e.sealed && !e.bad && !e.written.IsZero() {
				i := &e.info
				fmt.Fprintf(&b, "%s %d %d %d %d %d %d\n", layout.Object{Log: id, Segment: name}.Name(), i.Size, i.LastSequence, i.Checksum, i.MinTime, i.MaxTime, e.written.UnixMilli())
			}
		}
	}
	b.WriteString(sumOf(b.Bytes()))
	return b.Bytes()
}

// load reads what save wrote for the same bucket.
func (c *catalogue) load() error {
	f, err := private.Open(c.file, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostSaved))
	if err != nil {
		return err
	}
	logs, err := parseSaved(text, c.archive.bucket.String())
	if err != nil {
		return fmt.Errorf("%s: %w", c.file, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if logs != nil {
		c.logs, c.loaded = logs, true
	}
	return nil
}

// parseSaved reads what is known of a bucket, nil if it is of another one.
func parseSaved(text []byte, url string) (map[segment.LogID]map[string]*entry, error) {
	end := max(len(text)-len(sumOf(nil)), 0)
	if string(text[end:]) != sumOf(text[:end]) {
		return nil, fmt.Errorf("%w: its checksum is wrong", segment.ErrCorrupt)
	}
	first, rest, _ := strings.Cut(string(text[:end]), "\n")
	if first != url {
		return nil, nil
	}
	logs := map[segment.LogID]map[string]*entry{}
	for line := range strings.Lines(rest) {
		id, e, err := parseLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		if logs[id] == nil {
			logs[id] = map[string]*entry{}
		}
		logs[id][e.info.Name] = e
	}
	return logs, nil
}

func parseLine(line string) (id segment.LogID, e *entry, err error) {
	name, rest, _ := strings.Cut(line, " ")
	o, ok := layout.ParseName(name)
	if !ok || o.Piece {
		return id, nil, fmt.Errorf("line %.200q: not the name of a segment", line)
	}
	var i seglog.RemoteInfo
	var written int64
	if _, err := fmt.Sscanf(rest, "%d %d %d %d %d %d", &i.Size, &i.LastSequence, &i.Checksum, &i.MinTime, &i.MaxTime, &written); err != nil {
		return id, nil, fmt.Errorf("line %.200q: %w", line, err)
	}
	e = newEntry(o.Segment)
	i.Name, i.FirstSequence, i.CreateTime = o.Segment, e.info.FirstSequence, e.info.CreateTime
	if i.Size <= 0 || i.LastSequence+1 < i.FirstSequence {
		return id, nil, fmt.Errorf("line %.200q: %w", line, segment.ErrCorrupt)
	}
	e.info, e.sealed, e.written = i, true, time.UnixMilli(written)
	e.absent = 1 // until a list has it
	return o.Log, e, nil
}
