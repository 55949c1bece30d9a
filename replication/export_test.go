package replication

// SwapFingerprints are those of the functions that this and earlier versions made.
func SwapFingerprints() []string { return swapFingerprints }
