// Package peers compares FireMode's merge with libraries that others have written: by their
// answers, automerge.mjs, and by their speed, w1.mjs. They come from npm and are no part of the
// product.
package peers
