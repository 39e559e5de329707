// Package powercut is a disk that forgets: tests use it to prove that what FireMode has
// acknowledged survives a power cut, whatever the disk made of the writes that nobody had
// asked it to keep.
//
// # How it works
//
//  1. [Install] puts a layer over SQLite's default file system (its VFS), so that the
//     product's own opening code runs on it unchanged. Files of directories that are not
//     recorded pass through.
//  2. [Record] notes, for one directory, what lies there and from then on every creation,
//     write, truncation, sync and removal in its order, with all bytes.
//  3. [NewDisk] plays a recording. [Disk.Advance] goes to a moment; what had been synced by
//     then is durable, the rest is pending.
//  4. [Disk.Cut] cuts the power there and returns the files that are found afterwards.
//
// # What the disk may do
//
// Each pending write is torn into the sectors it touches, of 512 or 4,096 bytes. Each piece is kept,
// lost or garbled, on its own, and in one cut of two the pieces land in another order.
// Truncations may be lost too, and so may names: a file that was made or removed since the
// directory was last synced is there or not. Synced means: the sync began after the write
// had returned, and had returned itself.
//
// # What the disk may not do
//
// It keeps what was synced, and a write changes no byte beside its own (SQLite's
// "powersafe overwrite", which it takes for granted on every file system). A disk that breaks
// these is faulty, and no program can make up for it; [Disk.Drop] is such a disk, for the
// negative controls.
//
// The layer does not see the shared memory of the WAL index, which SQLite makes anew after
// a restart, nor files that others write: [Recording.Compare] tells when it has missed
// anything of the database.
package powercut
