// Package api serves metrics, health and status of a running stream over HTTP.
//
//	GET /healthz   200 while the process answers; asks no database, needs no token
//	GET /readyz    200 when every component is well, else 503; one entry a component, each with its reason
//	GET /status    the JSON of `wal2vec status -o json`
//	GET /metrics   Prometheus
//
// It guarantees that a slow or hostile client cannot hold the process: connections, headers,
// bodies, times and the time of an answer are bounded, at the bound a new connection takes the
// place of one that waits, and each has its turn, however many follow. On loopback addresses it
// answers only requests whose Host header names this machine, so that no page in a browser here can
// read it. An error is always the same envelope, {"error": {"code", "message"}}, and says nothing
// that belongs in the log. It knows no database: what it shows comes from the functions that it is
// given.
package api
