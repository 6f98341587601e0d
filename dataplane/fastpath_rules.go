package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attributes of a routing rule that golang.org/x/sys does not know yet (linux/fib_rules.h).
const (
	fraDSCP          = 25 // Linux 6.12, the two below 6.14 and the rest 6.15
	fraFlowLabel     = 26
	fraFlowLabelMask = 27
	fraSportMask     = 28
	fraDportMask     = 29
	fraDSCPMask      = 30
)

// ruleHeaderLen is that of struct fib_rule_hdr; ruleTOS is where in it the TOS is.
const (
	ruleHeaderLen = 12
	ruleTOS       = 3
)

var errRule = errors.New("the kernel's list of routing rules is not readable")

// byTransport is what rules may ask for since Linux 4.17, and of old.
const byTransport = "protocol, port or TOS"

// conditionOf says which property of a datagram an attribute of a rule asks for that RouteGet is not told. "": none, as it is about what the rule does, or
// about what RouteGet judges as for a datagram of ours, which has no mark and no tunnel ID. What is not known is taken for a condition.
func conditionOf(attr uint16) string {
	switch attr {
	case unix.FRA_DST, unix.FRA_SRC, unix.FRA_IIFNAME, unix.FRA_OIFNAME, unix.FRA_L3MDEV, unix.FRA_UID_RANGE, unix.FRA_FWMARK, unix.FRA_FWMASK, unix.FRA_TUN_ID,
		unix.FRA_PRIORITY, unix.FRA_TABLE, unix.FRA_GOTO, unix.FRA_FLOW, unix.FRA_SUPPRESS_IFGROUP, unix.FRA_SUPPRESS_PREFIXLEN, unix.FRA_PROTOCOL, unix.FRA_PAD:
		return ""
	case unix.FRA_IP_PROTO, unix.FRA_SPORT_RANGE, unix.FRA_DPORT_RANGE, fraSportMask, fraDportMask:
		return byTransport
	case fraDSCP, fraDSCPMask:
		return "DSCP"
	case fraFlowLabel, fraFlowLabelMask:
		return "flow label"
	}
	return fmt.Sprintf("something that vtepd does not know (attribute %d)", attr)
}

// conditions lists what a rule, as the kernel tells it, asks for that RouteGet is not told.
func conditions(rule []byte) (list []string, err error) {
	if len(rule) < ruleHeaderLen {
		return nil, errRule
	}
	if rule[ruleTOS] != 0 {
		list = append(list, byTransport)
	}
	for b := rule[ruleHeaderLen:]; len(b) > 0; {
		if len(b) < unix.SizeofRtAttr {
			return nil, errRule
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return nil, errRule
		}
		if c := conditionOf(binary.NativeEndian.Uint16(b[2:]) & nl.NLA_TYPE_MASK); c != "" && !slices.Contains(list, c) {
			list = append(list, c)
		}
		b = b[min((n+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(b)):]
	}
	return list, nil
}

// ruleConditions is conditions of all rules of a family. The netlink package would leave out attributes that it does not know, and a rule by one of
// them would look like one for everything.
func (r *routes) ruleConditions(family int) (list []string, err error) {
	ask := nl.NewNetlinkRequest(unix.RTM_GETRULE, unix.NLM_F_DUMP)
	ask.Sockets = r.raw
	ask.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family)}})
	rules, err := ask.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWRULE)
	for _, rule := range rules {
		more, flaw := conditions(rule)
		if flaw != nil && err == nil {
			err = flaw
		}
		list = append(list, more...)
	}
	slices.Sort(list)
	return slices.Compact(list), err
}

// rulesBeyond says why RouteGet does not know the way of a datagram: routing rules of the family ask for more of it than they are told. "": it does.
func (r *routes) rulesBeyond(peer netip.Addr) string {
	family := netlinkFamily(peer)
	why, known := r.rules[family]
	if !known {
		list, err := dump(func() ([]string, error) { return r.ruleConditions(family) })
		switch {
		case len(list) > 0:
			why = fmt.Sprintf("the host has routing rules by %s, which the fast path would pass by", strings.Join(list, ", and by "))
		case !noneOf(err):
			why = fmt.Sprintf("the host may have routing rules that the fast path would pass by, and cannot be asked: %v", err)
		}
		r.rules[family] = why
	}
	return why
}
