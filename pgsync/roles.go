package pgsync

// Roles is a script for an administrator of PostgreSQL: an owner nobody logs in as, a login for the worker, and a role that
// reads fm_report and nothing else. It may be run again at any time, needs no superuser and names no password.
// A mirror whose one role owns everything works without it.
func Roles() string { return statement("admin/roles") + "\n" }
