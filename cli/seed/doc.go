// Package seed fills a data directory with plausible records: a demonstration
// of everything FireMode keeps, or many buildings for load tests.
//
// What it promises:
//   - It goes through the doors of everybody else: hooks give ids, hash
//     passwords and seal personal data, each save has its audit entry on the
//     account of the system, documents are merged from the operations of two
//     devices. Nothing is written behind their back.
//   - The same seed and day give the same content, but for what must be random
//     (password salts, sealed tokens) and the times at which it was stored.
//   - Running it again adds nothing; running it again after it was interrupted
//     finishes the work.
//
// The path of one run:
//  1. The seed and the day it counts back from are kept in the parameters of
//     the data directory; a second run takes them from there, and knows from
//     them when nothing is left to do.
//  2. Each step makes its records in memory, with ids that depend on the seed
//     and the record's own name.
//  3. Records whose id is stored already are left as they are, all others are
//     saved in transactions small enough to let a running server in between.
//
// The names, addresses and firms are invented.
package seed
