package encap

// sumWords returns the sum of b in little-endian 64-bit words, carries added
// back in, b padded with zeros.
func sumWords(b []byte) uint64 { return sumPortable(b) }
