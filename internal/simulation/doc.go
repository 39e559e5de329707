// Package simulation runs the whole way from tablet to log in a world of its own: one
// server, two to five devices, and a network and a fate that one seed decides. There are no
// goroutines of the world's own and no clock but its own, so a seed that fails fails again.
//
// A device keeps to the protocol of POST /v1/tests/sessions/{id}/sync: its operations in
// order under an actor id, the chain before and after them, its position in the log. It
// compares the chain in every acknowledgement with its own, takes a new actor id after a
// fork and issues again what was not acknowledged (R12 of package crdt), sends again from
// where the server has a gap, and what comes before an operation that names something
// missing. To a server of another epoch it sends everything again, but only what names what
// it has received from that server. The rules are in data_model.md, "Operation log".
//
// The network loses, doubles, delays and reorders requests and answers, and parts devices
// from the server. Servers crash before and after the commit and come back from a backup;
// tablets come back from a backup, are copied, and lie about the time; rights end and
// return, actor ids are revoked, sessions are locked, supervisors admit from quarantine, and an
// officer has values erased.
//
// There are two servers behind one interface: the service of package merge over SQLite, and
// a model of it over package crdt alone. A seed runs on the model thousands of times faster;
// run on both, every answer and every row has to be equal.
//
// What has to hold, after each act where it is cheap and in the end where it is not:
//
//   - I1 What was acknowledged is in the log for good, byte for byte; for a server that came
//     back from a backup once the devices have sent again what it lacks.
//   - I2 No two operations share a dot.
//   - I3 Who holds the same operations holds the same document: devices, server, the log read
//     again, a snapshot and what follows it.
//   - I4 A value disappears only if an operation that counts names it, whose author had it on
//     screen.
//   - I5 Positions are dense, and everything follows what it names.
//   - I6 Each actor's chain leads to its head.
//   - Each operation is in quarantine or marked late if, and only if, it arrived that way.
//   - Every act counts once, however often it was issued.
//   - An act that was erased has no value in the log, under whatever name it comes, and in the
//     end on no tablet; no other act loses its value.
//   - When the network heals, every device empties its queue and comes to the same document.
//
// Each is known to bite: the tests break the server or the device on purpose, one promise at
// a time, and the world has to notice within a bounded number of seeds.
//
// Four things are let pass. Bytes that nobody has any more, because a server and a tablet
// came back from backups at the same time, cannot be filled in again. Of two selves of one
// actor one gives way when both have written, and what is recorded under an actor id that
// the backup does not know comes again under another; the act is there in either case. And a
// device whose user may not read any more cannot look what names mean to a restored server:
// what it sends waits in quarantine. And a restored server that has forgotten a redaction takes
// the value again from a tablet that still has it; one that has erased it issues again, under a
// new actor id, what follows.
//
//	go test ./internal/simulation -run Replay -seed 42       one seed, with its acts
//	FIREMODE_SOAK=1 go test ./internal/simulation            the long form
package simulation
