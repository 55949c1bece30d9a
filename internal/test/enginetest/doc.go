// Package enginetest opens, for the tests of a whole pipeline, an encoder that costs nothing, with
// the checkpoint of the configured model.
package enginetest
