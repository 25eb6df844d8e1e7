package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
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
// there.

const (
	catalogueName = "bucket"
	// mostSaved is how large the file may be.
	mostSaved = 256 << 20
)

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

// format writes a line for the bucket, and one for each segment.
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
	logs, err := parseSaved(io.LimitReader(f, mostSaved), c.archive.bucket.String())
	if err != nil {
		return fmt.Errorf("%s: %w", c.file, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logs = logs
	return nil
}

// parseSaved reads what is known of a bucket, nothing if it is of another one.
func parseSaved(r io.Reader, url string) (map[segment.LogID]map[string]*entry, error) {
	logs := map[segment.LogID]map[string]*entry{}
	lines := bufio.NewScanner(r)
	if !lines.Scan() || lines.Text() != url {
		return logs, lines.Err()
	}
	for lines.Scan() {
		id, e, err := parseLine(lines.Text())
		if err != nil {
			return nil, err
		}
		if logs[id] == nil {
			logs[id] = map[string]*entry{}
		}
		logs[id][e.info.Name] = e
	}
	return logs, lines.Err()
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
