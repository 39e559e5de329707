package pgsync

import (
	"time"

	"github.com/google/uuid"
)

// fileEvery is how often the worker looks whether data.db is still the file that was opened.
const fileEvery = time.Second

// identity says who mirrors. Two processes on one file are one node; a copy of the file is another one.
type identity struct {
	node  string // the machine since it was started, and the very file of the database
	place string // the machine and the file, whenever it was started
}

func identify(dataDir string) (identity, error) {
	place, boot, err := machinePlace(dataDir)
	if err != nil {
		return identity{}, err
	}
	id := func(kind, text string) string {
		return uuid.NewSHA1(uuid.NameSpaceOID, []byte("firemode.mirror."+kind+"\x00"+text)).String()
	}
	return identity{node: id("node", place+"\x00"+boot), place: id("place", place)}, nil
}

// checkFile holds the worker when another file took the place of data.db under it: SQLite goes on with the old one, which
// nobody will ever see again.
func (w *Worker) checkFile() error {
	if time.Since(w.fileSeenAt) < fileEvery {
		return nil
	}
	now, err := identify(w.app.DataDir())
	if err != nil {
		return &holdError{holdReplaced, "data.db cannot be found: " + err.Error()}
	}
	if now.place != w.opened {
		return &holdError{holdReplaced, "data.db is another file than the one that was opened"}
	}
	w.fileSeenAt = time.Now()
	return nil
}
