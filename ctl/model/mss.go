package model

import (
	"fmt"

	"vtepd/dataplane"
)

// ParseMSSClamp reads what happens to the MSS of TCP connections: auto, off or a number of bytes.
func ParseMSSClamp(s string) (dataplane.MSSClamp, error) {
	switch s {
	case "auto":
		return dataplane.MSSAuto, nil
	case "off":
		return dataplane.MSSOff, nil
	}
	n, err := parseNumber(s, "an MSS", dataplane.MinMSS, dataplane.MaxMSS)
	if err != nil {
		return 0, fmt.Errorf("%w; auto and off are the other values", err)
	}
	return dataplane.MSSClamp(n), nil
}
