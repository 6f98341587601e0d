package model

import (
	"errors"
	"fmt"
	"strconv"
)

// parseNumber reads a decimal number between two bounds, both included.
func parseNumber(s, what string, lo, hi int) (int, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return 0, fmt.Errorf("%s is out of range: %s is a number from %d to %d", quote(s), what, lo, hi)
		}
		return 0, fmt.Errorf("%s is not %s: expected a number from %d to %d", quote(s), what, lo, hi)
	}
	if len(s) > 1 && s[0] == '0' {
		return 0, octal(s, n)
	}
	if n < uint64(lo) || n > uint64(hi) {
		return 0, fmt.Errorf("%d is out of range: %s is a number from %d to %d", n, what, lo, hi)
	}
	return int(n), nil
}

// octal is about a number with a zero in front: 010 is 8 to iproute2 (strtoul(3) with base 0) and to YAML 1.1, 10 to YAML 1.2, and whoever took it for the wrong
// one would put stations into another tenant's VNI.
func octal(s string, decimal uint64) error {
	hint := ""
	if n, err := strconv.ParseUint(s, 8, 63); err == nil && n != decimal {
		hint = fmt.Sprintf(", or %d where that is meant", n)
	}
	return fmt.Errorf("%s begins with a zero, which some programs read as octal: write %d%s", quote(s), decimal, hint)
}
