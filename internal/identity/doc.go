// Package identity holds what is proven and measured about sealed values, passwords and tokens
// with crowds, kills and the whole data directory, over HTTP and against the built binary.
//
// TestRotationStorm changes the key of every sealed value while clients write: the rotation is
// killed, kill -9, twice and the server once. Each client keeps its own account of what was
// acknowledged; inspect holds what the database has at the end against it, and is shown lies
// that it MUST find.
//
// TestNoPlainValueOnDisk uses personal values in every way the program has and then searches
// all that it wrote, backups unpacked. Values planted in each kind of file MUST be found.
//
// TestLoginStorm lets a crowd sign in at once with the default cost of a password and reads the
// peak memory of the server.
package identity
