// Package cli holds the commands of the firemode program.
//
// What it promises:
//   - Every command obeys the configuration that main read (data directory,
//     addresses, mirror) and works while a server runs on the same directory:
//     writes are ordinary SQLite transactions of the same hooks.
//   - What a script wants goes to standard output, all else to standard error;
//     --json where a script would read more than one value.
//   - A command that failed returns an error; main turns it into an exit code.
//   - Commands that need the data bring the schema up to date first.
//
// What it does not do: it reads no environment and holds no business rules.
package cli
