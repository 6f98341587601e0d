package model

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"vtepd/dataplane"
	"vtepd/encap"
)

// Setting is one word that the top level and each VNI may set. The file, the command line and the API all go through this table, so that a word means
// the same everywhere.
type Setting struct {
	// Name is the word, with - between its parts.
	Name string
	// Values says what may follow, for help texts.
	Values string
	// Help is half a line.
	Help string
	// Parse sets the value from text.
	Parse func(s *Settings, text string) error
	// Text is what Parse makes the value of; "" when it is not set.
	Text func(s *Settings) string
	// Clear goes back to the level above.
	Clear func(s *Settings)
	// Merge applies the difference between base and target to into: where they agree, into stands.
	Merge func(into, base, target *Settings)
}

// SettingTable lists the settings in the order of help texts.
var SettingTable = []Setting{
	setting("ageing", "DURATION", "how long an unseen dynamic entry lives; 0 is for ever", ParseAgeing, durationText,
		func(s *Settings) *Opt[time.Duration] { return &s.Ageing }),
	setting("learning", "on|off", "learn MACs from the overlay", ParseBool, onOff,
		func(s *Settings) *Opt[bool] { return &s.Learning }),
	setting("peer-policy", "strict|learn", "who may send: configured peers, or anybody", ParsePolicy, dataplane.Policy.String,
		func(s *Settings) *Opt[dataplane.Policy] { return &s.Policy }),
	{
		Name: "allow", Values: "PREFIX[,PREFIX]...", Help: "sources that may send besides the peers",
		Parse: func(s *Settings, text string) error {
			allow, err := ParsePrefixes(strings.Split(text, ","))
			if err == nil {
				s.Allow = allow
			}
			return err
		},
		Text:  func(s *Settings) string { return joined(s.Allow) },
		Clear: func(s *Settings) { s.Allow = nil },
		Merge: func(into, base, target *Settings) { into.Allow = MergeList(base.Allow, target.Allow, into.Allow) },
	},
	setting("max-macs", "N", "bound of the dynamic entries", ParseMaxMACs, strconv.Itoa,
		func(s *Settings) *Opt[int] { return &s.MaxMACs }),
	setting("ttl", "N|inherit", "outer TTL or hop limit", ParseTTL, HeaderByte.String,
		func(s *Settings) *Opt[HeaderByte] { return &s.TTL }),
	setting("group-ttl", "N", "outer TTL or hop limit toward the multicast group", ParseGroupTTL, decimal,
		func(s *Settings) *Opt[uint8] { return &s.GroupTTL }),
	setting("dscp", "N|inherit", "outer DSCP", ParseDSCP, HeaderByte.String,
		func(s *Settings) *Opt[HeaderByte] { return &s.DSCP }),
	setting("ecn", "rfc6040|linux", "how ECN is carried to the outer header", ParseECN, ECNWord,
		func(s *Settings) *Opt[encap.ECNMode] { return &s.ECN }),
	setting("udp-checksum", "auto|on|off", "UDP checksum toward IPv4 peers", ParseUDPChecksum, dataplane.UDPChecksum.String,
		func(s *Settings) *Opt[dataplane.UDPChecksum] { return &s.UDPChecksum }),
	setting("udp6-zero-checksum", "off|rx|tx|both", "do without UDP checksum over IPv6", ParseZeroChecksum, ZeroChecksum.String,
		func(s *Settings) *Opt[ZeroChecksum] { return &s.UDP6Zero }),
	setting("reserved-bits", "ignore|strict", "drop datagrams with reserved VXLAN bits set, or not", parseReserved, reservedWord,
		func(s *Settings) *Opt[bool] { return &s.StrictReserved }),
	setting("inner-vlan", "drop|keep", "802.1Q tags inside the VNI", parseInnerVLAN, innerVLANWord,
		func(s *Settings) *Opt[bool] { return &s.KeepInnerVLAN }),
	setting("flood", "KIND,KIND|all|none", "what is flooded: unknown, broadcast, multicast", ParseFlood, floodText,
		func(s *Settings) *Opt[dataplane.FloodKinds] { return &s.Flood }),
	setting("storm-control", "RATE|KIND=RATE,...|off", "what a port or a peer may have flooded a second", ParseStormControl, dataplane.StormControl.String,
		func(s *Settings) *Opt[dataplane.StormControl] { return &s.StormControl }),
	setting("mss-clamp", "auto|off|N", "lower the MSS of TCP connections to what the way carries", ParseMSSClamp, dataplane.MSSClamp.String,
		func(s *Settings) *Opt[dataplane.MSSClamp] { return &s.MSSClamp }),
	setting("spoof-guard", "on|off", "drop what ports send as VXLAN to a VTEP", ParseBool, onOff,
		func(s *Settings) *Opt[bool] { return &s.SpoofGuard }),
	setting("gbp", "on|off", "speak the VXLAN group policy extension", ParseBool, onOff,
		func(s *Settings) *Opt[bool] { return &s.GBP }),
	setting("gpe", "on|off", "speak VXLAN-GPE, with Ethernet frames inside", ParseBool, onOff,
		func(s *Settings) *Opt[bool] { return &s.GPE }),
	setting("gbp-drop", "ID,ID-ID|none", "groups whose frames may not enter the VNI", ParseGBPRangesOrNone, gbpRangesOrNone,
		func(s *Settings) *Opt[[]dataplane.GBPRange] { return &s.GBPDrop }),
}

func setting[T any](name, values, help string, parse func(string) (T, error), text func(T) string, field func(*Settings) *Opt[T]) Setting {
	return Setting{
		Name: name, Values: values, Help: help,
		Parse: func(s *Settings, text string) error {
			v, err := parse(text)
			if err == nil {
				*field(s) = Some(v)
			}
			return err
		},
		Text: func(s *Settings) string {
			if o := *field(s); o.Set {
				return text(o.V)
			}
			return ""
		},
		Clear: func(s *Settings) { *field(s) = Opt[T]{} },
		Merge: func(into, base, target *Settings) { *field(into) = Pick(*field(base), *field(target), *field(into)) },
	}
}

// Pick is target where it differs from base, and running otherwise.
func Pick[T any](base, target, running T) T {
	if reflect.DeepEqual(base, target) {
		return running
	}
	return target
}

// MergeList is running without what left base, and with what came in target. Where target says something else than base its order holds, as after a start with
// it, and what only running has stands behind. What was taken out of running stays out.
func MergeList[T comparable](base, target, running []T) []T {
	if slices.Equal(base, target) {
		return slices.Clone(running)
	}
	has := func(list []T) map[T]bool {
		set := make(map[T]bool, len(list))
		for _, v := range list {
			set[v] = true
		}
		return set
	}
	inBase, inTarget, runs := has(base), has(target), has(running)
	next := make([]T, 0, len(target)+len(running))
	for _, v := range target {
		if runs[v] || !inBase[v] {
			next = append(next, v)
		}
	}
	for _, v := range running {
		if !inBase[v] && !inTarget[v] {
			next = append(next, v)
		}
	}
	return next
}

// SettingByName finds a setting; nil when there is none.
func SettingByName(name string) *Setting {
	i := slices.IndexFunc(SettingTable, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &SettingTable[i]
}

// ParsePrefixes reads prefixes into a list without doubles.
func ParsePrefixes(texts []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, t := range texts {
		p, err := ParsePrefix(strings.TrimSpace(t))
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return distinct(list), nil
}

// distinct is what stands in the lists, in their order and each once; nil for nothing. Lists may be long.
func distinct[T comparable](lists ...[]T) (all []T) {
	has := map[T]struct{}{}
	for _, list := range lists {
		for _, v := range list {
			if _, ok := has[v]; !ok {
				has[v] = struct{}{}
				all = append(all, v)
			}
		}
	}
	return all
}

// The words that the parsers read.

func onOff(on bool) string { return either(on, "on", "off") }

func reservedWord(strict bool) string { return either(strict, "strict", "ignore") }

func innerVLANWord(keep bool) string { return either(keep, "keep", "drop") }

func either(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// durationText leaves away units that are 0 at the end: 10m, not 10m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func decimal(n uint8) string { return strconv.Itoa(int(n)) }

func floodText(k dataplane.FloodKinds) string {
	if words := FloodKindWords(k); len(words) > 0 {
		return strings.Join(words, ",")
	}
	return "none"
}

func gbpRangesOrNone(list []dataplane.GBPRange) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(GBPWords(list), ",")
}

// joined is a list of values as one word.
func joined[T fmt.Stringer](list []T) string { return strings.Join(words(list), ",") }

func words[T fmt.Stringer](list []T) []string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = v.String()
	}
	return texts
}

func parseReserved(s string) (bool, error) {
	w, err := ParseWord(s, "ignore", "strict")
	return w == "strict", err
}

func parseInnerVLAN(s string) (bool, error) {
	w, err := ParseWord(s, "drop", "keep")
	return w == "keep", err
}
