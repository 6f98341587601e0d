package encap

// SumPortable is the portable sum, whatever Sum uses on this machine.
func SumPortable(b []byte) uint16 { return foldLE(sumPortable(b)) }

// SetSeed makes coalescers of one seed keep the same flows when there is room for few.
func (c *Coalescer) SetSeed(seed uint64) { c.seed = seed }
