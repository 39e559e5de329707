package sqlite

import "modernc.org/libc"

// The driver's allocator serves blocks of up to 16 KiB from pages of one size each, and gives a page back to the system
// when its last block is freed. SQLite's JSON functions, which write the mirror's log, grow one string at a time: without
// a block that stays, each image maps and unmaps several pages, which took a third of the time of reading a row as JSON.
func init() {
	tls := libc.NewTLS()
	defer tls.Close()
	for size := 16; size <= 16<<10; size <<= 1 {
		libc.Xmalloc(tls, libc.Tsize_t(size))
	}
}
