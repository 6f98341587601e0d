package model

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vtepd/dataplane"
)

// rateUnits are what a rate may end with, as tc and Open vSwitch write them. Longer ones come before those that they end with.
var rateUnits = []struct {
	word  string
	times uint64
	bits  bool
}{
	{"kpps", 1e3, false}, {"mpps", 1e6, false}, {"gpps", 1e9, false}, {"pps", 1, false},
	{"kbit", 1e3, true}, {"mbit", 1e6, true}, {"gbit", 1e9, true}, {"bit", 1, true},
}

// ParseRate reads frames or bits a second: 500pps, 10kpps, 100mbit. off is no bound.
func ParseRate(s string) (dataplane.Rate, error) {
	if s == "off" {
		return dataplane.Rate{}, nil
	}
	for _, u := range rateUnits {
		digits, ok := strings.CutSuffix(strings.ToLower(s), u.word)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 64)
		switch {
		case err != nil || digits != strconv.FormatUint(n, 10):
			return dataplane.Rate{}, fmt.Errorf("%s is not a rate: expected a whole number in front of %s, such as 100%s", quote(s), u.word, u.word)
		case n == 0:
			return dataplane.Rate{}, fmt.Errorf("%s would let nothing pass: leave the kind out of flood for that, or write off for no bound", quote(s))
		case n > dataplane.MaxRate/u.times:
			return dataplane.Rate{}, fmt.Errorf("%s is too much: at most %s; off is no bound", quote(s), dataplane.Rate{N: dataplane.MaxRate, Bits: u.bits})
		}
		return dataplane.Rate{N: n * u.times, Bits: u.bits}, nil
	}
	if _, err := strconv.ParseUint(s, 10, 64); err == nil {
		return dataplane.Rate{}, fmt.Errorf("%s has no unit: write %spps for frames a second, or %skbit", quote(s), s, s)
	}
	return dataplane.Rate{}, fmt.Errorf("%s is not a rate: expected a number with a unit, such as 500pps, 10kpps or 100mbit, or off", quote(s))
}

// ParseStormControl reads one rate for all kinds of flooded frames, or one each: unknown=1kpps,broadcast=100pps. Kinds that are not named have no bound.
func ParseStormControl(s string) (dataplane.StormControl, error) {
	var c dataplane.StormControl
	if !strings.Contains(s, "=") {
		r, err := ParseRate(strings.TrimSpace(s))
		if err != nil && slices.ContainsFunc(floodWords, func(w floodWord) bool { return w.word == s }) {
			err = fmt.Errorf("%s has no rate: write %s=100pps", quote(s), s)
		}
		return dataplane.StormControl{Unknown: r, Broadcast: r, Multicast: r}, err
	}
	var seen dataplane.FloodKinds
	for part := range strings.SplitSeq(s, ",") {
		word, rate, ok := strings.Cut(part, "=")
		word = strings.TrimSpace(word)
		if !ok {
			return c, fmt.Errorf("%s has no kind: write KIND=RATE for each, with unknown, broadcast or multicast, or one rate alone for all", quote(part))
		}
		k, err := parseFloodWord(word)
		if err != nil {
			return c, fmt.Errorf("%s is not one of unknown, broadcast, multicast%s", quote(word), DidYouMean(word, []string{"unknown", "broadcast", "multicast"}))
		}
		if seen&k != 0 {
			return c, fmt.Errorf("%s names %s twice: leave one away", quote(s), word)
		}
		seen |= k
		r, err := ParseRate(strings.TrimSpace(rate))
		if err != nil {
			return c, fmt.Errorf("%s: %w", word, err)
		}
		switch k {
		case dataplane.FloodUnknown:
			c.Unknown = r
		case dataplane.FloodBroadcast:
			c.Broadcast = r
		default:
			c.Multicast = r
		}
	}
	return c, nil
}

// ParsePortStormControl is ParseStormControl for a port, where nothing means the VNIs'.
func ParsePortStormControl(s string) (*dataplane.StormControl, error) {
	c, err := ParseStormControl(s)
	if err != nil {
		return nil, err
	}
	return &c, nil
}
