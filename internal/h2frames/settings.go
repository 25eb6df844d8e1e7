package h2frames

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/http2"
)

// openingSize is room for a client's settings, of which there are a few.
const openingSize = 512

// readPreface finds out whether this is HTTP/2. An error is left for Read, which
// meets it again.
func (c *conn) readPreface() {
	c.opening = nil
	for n := range len(http2.ClientPreface) {
		if b, err := c.in.Peek(n + 1); err != nil || b[n] != http2.ClientPreface[n] {
			return
		}
	}
	c.limit.Store(Small)
	c.ready = []byte(http2.ClientPreface)
	_, _ = c.in.Discard(len(c.ready))
	c.opening = c.readSettings
}

// readSettings changes the client's settings, the frame behind the preface. What
// is wrong with them is left for net/http to say.
func (c *conn) readSettings() {
	c.opening = nil
	header, err := c.in.Peek(frameHeader)
	if err != nil {
		return
	}
	if http2.Flags(header[4]).Has(http2.FlagSettingsAck) {
		return // It says nothing of the client's own.
	}
	size := frameSize(header)
	if http2.FrameType(header[3]) != http2.FrameSettings || size%settingSize != 0 || frameHeader+size > openingSize {
		return
	}
	frame, err := c.in.Peek(frameHeader + size)
	if err != nil {
		return
	}
	if changed, limit := allowLarge(frame); limit >= Small {
		c.limit.Store(limit)
		c.ready = changed
		_, _ = c.in.Discard(len(frame))
	}
}

// allowLarge returns a client's settings with Large as the least size that
// it takes, and which size that was. An unset one means Small.
func allowLarge(settings []byte) (changed []byte, limit uint32) {
	changed = slices.Clone(settings)
	given := changed[frameHeader:]
	for len(given) > 0 && http2.SettingID(binary.BigEndian.Uint16(given)) != http2.SettingMaxFrameSize {
		given = given[settingSize:]
	}
	if len(given) == 0 {
		changed = append(changed, 0, byte(http2.SettingMaxFrameSize), 0, 0, Small>>8, 0)
		setFrameSize(changed, len(changed)-frameHeader)
		given = changed[len(changed)-settingSize:]
	}
	limit = binary.BigEndian.Uint32(given[2:])
	binary.BigEndian.PutUint32(given[2:], max(limit, Large))
	return changed, limit
}
