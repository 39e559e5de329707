// Package story holds one test: the main job from end to end on the real parts.
//
// Two inspectors work on the same test session offline, then send a hundred
// results each, in parallel, some of them twice, and upload photos; the server
// is killed in the middle and started again; the devices retry. Afterwards the
// test checks, from outside the process, that nothing acknowledged was lost or
// doubled, that every concurrent value is readable, that the photos come back
// byte for byte, and that the officer, the realtime subscriber, PostgreSQL and
// the audit log saw all of it, and that a name which an officer erases is nowhere any
// more. Last, the program's own verifiers agree, and each
// of them finds a change made behind the program's back.
//
// It starts the built binary, a throwaway PostgreSQL and a real Chromium.
package story
