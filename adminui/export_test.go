package adminui

// HasRow reports whether the access table decides about a collection.
func HasRow(collection string) bool {
	_, ok := accessRow(collection)
	return ok
}

// MirrorOf is what the overview shows of a worker's status.
var MirrorOf = mirrorOf
