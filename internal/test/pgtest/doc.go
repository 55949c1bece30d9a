// Package pgtest gives tests real PostgreSQL databases.
//
// One server per test binary is started when the first test asks for a database, and every test
// gets a database of its own, with pgvector in schema public. Slots, sessions and the database go
// when the test ends, failed or not. The server stops at the end of a TestMain that calls Run;
// without one it dies with the binary.
//
//	func TestMain(m *testing.M) { pgtest.Run(m) }
//
//	func TestSomething(t *testing.T) {
//		t.Parallel()
//		db := pgtest.Database(t)
//		db.CreateProducts(t)
//		db.Exec(t, "INSERT INTO staging_marts.dim_product (product_id, name) VALUES ($1, $2)", 1, "a lamp")
//	}
//
// A logical slot can only be created once every transaction that is open anywhere on the server has
// ended, and settings belong to a server. So a test that holds a transaction open, needs other
// settings, or restarts the server takes a server of its own: Server.
//
// A Proxy before a server breaks, delays, freezes or refuses a program's connections.
//
// PostgreSQL comes from the parts that `make parts` unpacks: WAL2VEC_PARTS, else
// $WAL2VEC_CACHE/parts, else .cache/parts at the repository's root. WAL2VEC_TEST_PG chooses the
// major, 18 without it (16 and 18 for tests that start servers of both). WAL2VEC_TEST_DIR says
// where data lies, /dev/shm where it is large. Missing parts fail the test; nothing is skipped.
//
// Only test files import this package.
package pgtest
