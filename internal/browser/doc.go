// Package browser drives a real headless Chromium in tests.
//
// One browser serves the whole test process; each [Open] is a tab with an empty
// profile of its own. A test fails when its page logs an error or a warning,
// throws, gets an answer of 400 or above, loses a request, or asks any machine
// but this one, unless it said with [Page.Expect] that it would.
//
// Chromium is found at FIREMODE_CHROMIUM or under its usual names. Where there is
// none the test fails and says how to install it: a browser test that is quietly
// left out proves nothing.
//
// Screenshots go to FIREMODE_ARTIFACTS/<test>/ when that is set, otherwise to the
// directory that `go test -artifacts` keeps.
package browser
