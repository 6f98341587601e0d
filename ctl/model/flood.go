package model

import (
	"fmt"
	"strings"

	"vtepd/dataplane"
)

// floodWords are the kinds of flooding in the order in which they are written.
var floodWords = []floodWord{{"unknown", dataplane.FloodUnknown}, {"broadcast", dataplane.FloodBroadcast}, {"multicast", dataplane.FloodMulticast}}

type floodWord struct {
	word string
	kind dataplane.FloodKinds
}

// ParseFlood reads the kinds of frames that are flooded: unknown, broadcast and multicast with commas between, or all, or none.
func ParseFlood(s string) (dataplane.FloodKinds, error) {
	switch s {
	case "all":
		return dataplane.FloodAll, nil
	case "none":
		return 0, nil
	}
	var kinds dataplane.FloodKinds
	for part := range strings.SplitSeq(s, ",") {
		k, err := parseFloodWord(strings.TrimSpace(part))
		if err != nil {
			return 0, err
		}
		if kinds&k != 0 {
			return 0, fmt.Errorf("%s names %s twice: leave one away", quote(s), strings.TrimSpace(part))
		}
		kinds |= k
	}
	return kinds, nil
}

func parseFloodWord(s string) (dataplane.FloodKinds, error) {
	for _, w := range floodWords {
		if w.word == s {
			return w.kind, nil
		}
	}
	words := []string{"unknown", "broadcast", "multicast"}
	return 0, fmt.Errorf("%s is not one of unknown, broadcast, multicast, all alone or none alone%s", quote(s), DidYouMean(s, words))
}

// FloodKindWords lists the words of a set, in their order; never nil.
func FloodKindWords(k dataplane.FloodKinds) []string {
	list := []string{}
	for _, w := range floodWords {
		if k&w.kind != 0 {
			list = append(list, w.word)
		}
	}
	return list
}
