package replication

// swapFingerprints are those of the functions that this and earlier versions made; see source_swap_fingerprint. A swap role may own such functions of several
// pipelines, which are made again one by one after an upgrade. The first is of this version; the others stay. deploy/roles.sql has the same list.
var swapFingerprints = []string{
	"x",
}
