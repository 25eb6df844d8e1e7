package access

import "github.com/alecthomas/kingpin/v2"

// RegisterFlag adds the flag that names the file.
func RegisterFlag(app *kingpin.Application, path *string) {
	app.Flag(Flag[2:], "File that says which certificates the other parts have, and who may read and write what. It is the same for all programs, and read again when it changes.").
		PlaceHolder("FILE").StringVar(path)
}
