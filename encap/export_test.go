package encap

// SumPortable is the portable sum, whatever Sum uses on this machine.
func SumPortable(b []byte) uint16 { return foldLE(sumPortable(b)) }
