package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"vtepd/dataplane"
)

// maxGBPID is the largest group policy ID: 16 bits (draft-smith-vxlan-group-policy-05 2.1).
const maxGBPID = 1<<16 - 1

// CarriesGroups says whether a VNI speaks the group policy extension.
func (m *Model) CarriesGroups(vni uint32) bool {
	if v := m.VNIs.At(vni); v != nil && v.Settings.GBP.Set {
		return v.Settings.GBP.V
	}
	return m.Global.Settings.GBP.V
}

// groups checks that the groups which a port is not to get can come to it: what would drop nothing must not be taken for protection.
func (v *validation) groups(path, name string, p *Port) {
	if len(p.GBPDrop) > 0 && !slices.ContainsFunc(v.m.PortVNIs(p), v.m.CarriesGroups) {
		v.add(Invalid(path+"/gbp-drop", "port %s has gbp-drop, but no VNI of it carries groups, so nothing would be dropped: set gbp on in the VNI, or take gbp-drop away", name))
	}
}

// ParseGBPID reads a group policy ID; 0 is none.
func ParseGBPID(s string) (uint16, error) {
	n, err := parseNumber(s, "a group policy ID", 0, maxGBPID)
	return uint16(n), err
}

// ParseGBPRanges reads group policy IDs and ranges (5,10-20) into ascending ranges that neither overlap nor touch.
func ParseGBPRanges(s string) ([]dataplane.GBPRange, error) {
	var list []dataplane.GBPRange
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := ParseGBPID(from)
		if err != nil {
			return nil, err
		}
		last := first
		if isRange {
			if last, err = ParseGBPID(to); err != nil {
				return nil, err
			}
			if last < first {
				return nil, fmt.Errorf("%s is a range that ends before it starts: write %d-%d", quote(part), last, first)
			}
		}
		list = append(list, dataplane.GBPRange{First: first, Last: last})
	}
	return JoinGBPRanges(list), nil
}

// ParseGBPRangesOrNone is ParseGBPRanges with the word none for an empty list, which says more than nothing where a level above has a list.
func ParseGBPRangesOrNone(s string) ([]dataplane.GBPRange, error) {
	if s == "none" {
		return []dataplane.GBPRange{}, nil
	}
	return ParseGBPRanges(s)
}

// JoinGBPRanges brings ranges into one form: ascending, and none that overlap or touch. It writes into list.
func JoinGBPRanges(list []dataplane.GBPRange) []dataplane.GBPRange {
	slices.SortFunc(list, func(a, b dataplane.GBPRange) int { return cmp.Compare(a.First, b.First) })
	joined := list[:0]
	for _, r := range list {
		if n := len(joined); n > 0 && int(r.First) <= int(joined[n-1].Last)+1 {
			joined[n-1].Last = max(joined[n-1].Last, r.Last)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// GBPWords writes ranges as ParseGBPRanges reads them, one word each.
func GBPWords(list []dataplane.GBPRange) []string {
	var words []string
	for _, r := range list {
		word := fmt.Sprint(r.First)
		if r.Last != r.First {
			word += fmt.Sprintf("-%d", r.Last)
		}
		words = append(words, word)
	}
	return words
}
