// Package protocol holds no program code: its tests run the protocol's parts together, stream and backfill beside each other on real
// databases, at the moments that the rules of ARCHITECTURE.md are about. Only the encoder is a substitute.
package protocol
