package pgoutput

// Skipped counts the messages whose type is unknown.
func (d *Decoder) Skipped() uint64 { return d.skipped }
