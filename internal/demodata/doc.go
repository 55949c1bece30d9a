// Package demodata makes up products for the demo, the benchmarks and the tests: the same seed
// gives the same rows on every machine, hundreds of thousands of them are distinct, and their texts
// read well enough that a search finds what it should. Brands are invented. It writes to no
// database.
package demodata
