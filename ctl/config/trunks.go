package config

import (
	"strconv"
	"strings"
)

// trunkPlaces finds where a trunk lists a VLAN. A trunk may list four thousand in three characters, so that a place for each, as everything else has
// one, would cost a gigabyte for a thousand trunks.
type trunkPlaces map[string][]vidRange

// vidRange is a range of VLANs that stands at one place, both ends included.
type vidRange struct {
	first, last uint16
	at          place
}

// put remembers where ascending VLANs of the trunk at path stand.
func (t trunkPlaces) put(path string, vids []uint16, at place) {
	for i := 0; i < len(vids); {
		j := i
		for j+1 < len(vids) && vids[j+1] == vids[j]+1 {
			j++
		}
		t[path] = append(t[path], vidRange{vids[i], vids[j], at})
		i = j + 1
	}
}

// find is the place of the path of a VLAN in a trunk, "ports/tap3/trunk/20".
func (t trunkPlaces) find(path string) (place, bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return place{}, false
	}
	ranges := t[path[:i]]
	if ranges == nil {
		return place{}, false
	}
	vid, err := strconv.ParseUint(path[i+1:], 10, 16)
	if err != nil {
		return place{}, false
	}
	for _, r := range ranges {
		if r.first <= uint16(vid) && uint16(vid) <= r.last {
			return r.at, true
		}
	}
	return place{}, false
}
