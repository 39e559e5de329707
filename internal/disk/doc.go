// Package disk says how much room a file system has.
package disk
