// Package migrations holds the frozen steps that bring a data directory from
// any earlier release to this one.
//
// What it promises: a landed step never changes. Each step copies its literals
// (a schema in PocketBase's import form, SQL text) and calls no code of the
// project that may change later. All pending steps run in one transaction, so a
// failing upgrade leaves the data as it was.
//
// One change per file, named <unix time>_<what>.go with its data beside it; the
// file name is the key under which PocketBase remembers that it ran.
package migrations
