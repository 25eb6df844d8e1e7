package h2frames

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/http2"

	"github.com/promgrpc/exporter/internal/invariant"
)

// settingsRoom is the size up to which a client's first SETTINGS are changed. Clients
// send a handful.
const settingsRoom = 512

// readPreface finds out whether this is HTTP/2. Read meets an error again.
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

// readSettings changes the client's first SETTINGS, which follow the preface. What
// is invalid stays as it is.
func (c *conn) readSettings() {
	c.opening = nil
	header, err := c.in.Peek(headerSize)
	if err != nil {
		return
	}
	if http2.Flags(header[4]).Has(http2.FlagSettingsAck) {
		return // It has no settings of the client.
	}
	size := payloadSize(header)
	if http2.FrameType(header[3]) != http2.FrameSettings || size%settingSize != 0 || headerSize+size > settingsRoom {
		return
	}
	settings, err := c.in.Peek(headerSize + size)
	if err != nil {
		return
	}
	if changed, limit := allowLarge(settings); limit >= Small {
		c.limit.Store(limit)
		c.ready = changed
		_, _ = c.in.Discard(len(settings))
	}
}

// allowLarge returns a SETTINGS frame with MAX_FRAME_SIZE raised to at least Large,
// and what it was before: Small if it was not set.
func allowLarge(settings []byte) (changed []byte, limit uint32) {
	changed = slices.Clone(settings)
	given := changed[headerSize:]
	for len(given) > 0 && http2.SettingID(binary.BigEndian.Uint16(given)) != http2.SettingMaxFrameSize {
		given = given[settingSize:]
	}
	if len(given) == 0 {
		changed = append(changed, 0, byte(http2.SettingMaxFrameSize), 0, 0, Small>>8, 0)
		setPayloadSize(changed, len(changed)-headerSize)
		given = changed[len(changed)-settingSize:]
	}
	limit = binary.BigEndian.Uint32(given[2:])
	binary.BigEndian.PutUint32(given[2:], max(limit, Large))
	if invariant.On {
		size := payloadSize(changed)
		invariant.Check(headerSize+size == len(changed) && size%settingSize == 0, "a SETTINGS frame of %d bytes says %d", len(changed), size)
	}
	return changed, limit
}
