// Package pause says how long the program waits before it tries again what failed, and waits.
//
// Every pause is drawn at random from the upper half of its interval, so that processes that failed
// together do not try again together, and none is longer than its cap. It decides nothing: whether
// to try again, how often, and what to say in the meantime is the caller's. Checks at fixed times
// (metrics, housekeeping) have tickers of their own.
package pause
