package dataplane

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

// ruleOf is a rule as the kernel tells it.
func ruleOf(tos byte, attrs ...*nl.RtAttr) []byte {
	b := make([]byte, ruleHeaderLen)
	b[ruleTOS] = tos
	for _, a := range attrs {
		b = append(b, a.Serialize()...)
	}
	return b
}

var (
	ruleTable    = nl.NewRtAttr(unix.FRA_TABLE, nl.Uint32Attr(100))
	rulePriority = nl.NewRtAttr(unix.FRA_PRIORITY, nl.Uint32Attr(1000))
	ruleDSCP     = nl.NewRtAttr(fraDSCP, []byte{46})
)

// What a rule asks for that RouteGet is not told keeps datagrams off the fast path, whether it is known or not.
func TestRuleConditions(t *testing.T) {
	harmless := []*nl.RtAttr{ruleTable, rulePriority, nl.NewRtAttr(unix.FRA_DST, make([]byte, 4)), nl.NewRtAttr(unix.FRA_SRC, make([]byte, 16)),
		nl.NewRtAttr(unix.FRA_IIFNAME, []byte("eth0\x00")), nl.NewRtAttr(unix.FRA_OIFNAME, []byte("eth0\x00")), nl.NewRtAttr(unix.FRA_FWMARK, nl.Uint32Attr(1)),
		nl.NewRtAttr(unix.FRA_FWMASK, nl.Uint32Attr(1)), nl.NewRtAttr(unix.FRA_TUN_ID, make([]byte, 8)), nl.NewRtAttr(unix.FRA_GOTO, nl.Uint32Attr(2000)),
		nl.NewRtAttr(unix.FRA_FLOW, nl.Uint32Attr(1)), nl.NewRtAttr(unix.FRA_SUPPRESS_PREFIXLEN, nl.Uint32Attr(0)), nl.NewRtAttr(unix.FRA_SUPPRESS_IFGROUP, nl.Uint32Attr(0)),
		nl.NewRtAttr(unix.FRA_L3MDEV, []byte{1}), nl.NewRtAttr(unix.FRA_UID_RANGE, make([]byte, 8)), nl.NewRtAttr(unix.FRA_PROTOCOL, []byte{2}), nl.NewRtAttr(unix.FRA_PAD, nil)}
	for _, tc := range []struct {
		name string
		rule []byte
		want []string
	}{
		{"none", ruleOf(0), nil},
		{"nothing of the datagram", ruleOf(0, harmless...), nil},
		{"TOS", ruleOf(0x10, ruleTable), []string{byTransport}},
		{"protocol", ruleOf(0, nl.NewRtAttr(unix.FRA_IP_PROTO, []byte{17})), []string{byTransport}},
		{"source port", ruleOf(0, nl.NewRtAttr(unix.FRA_SPORT_RANGE, make([]byte, 4))), []string{byTransport}},
		{"destination port", ruleOf(0, nl.NewRtAttr(unix.FRA_DPORT_RANGE, make([]byte, 4)), ruleTable), []string{byTransport}},
		{"port masks", ruleOf(0, nl.NewRtAttr(fraSportMask, make([]byte, 2)), nl.NewRtAttr(fraDportMask, make([]byte, 2))), []string{byTransport}},
		{"DSCP", ruleOf(0, ruleTable, ruleDSCP), []string{"DSCP"}},
		{"DSCP 0", ruleOf(0, nl.NewRtAttr(fraDSCP, []byte{0})), []string{"DSCP"}},
		{"DSCP mask", ruleOf(0, nl.NewRtAttr(fraDSCPMask, []byte{1})), []string{"DSCP"}},
		{"flow label", ruleOf(0, nl.NewRtAttr(fraFlowLabel, make([]byte, 4)), nl.NewRtAttr(fraFlowLabelMask, make([]byte, 4))), []string{"flow label"}},
		{"flags of an attribute", ruleOf(0, nl.NewRtAttr(fraFlowLabel|int(nl.NLA_F_NET_BYTEORDER), make([]byte, 4))), []string{"flow label"}},
		{"unknown", ruleOf(0, ruleTable, nl.NewRtAttr(99, []byte{1}), rulePriority), []string{"something that vtepd does not know (attribute 99)"}},
		{"several", ruleOf(0x10, ruleDSCP, ruleTable), []string{byTransport, "DSCP"}},
	} {
		got, err := conditions(tc.rule)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", tc.name, err, diff)
		}
	}
}

// A rule that cannot be read in full may ask for anything.
func TestRuleConditionsCut(t *testing.T) {
	whole := ruleOf(0, ruleTable, ruleDSCP, rulePriority)
	for n := range whole {
		_, err := conditions(whole[:n])
		at := n - ruleHeaderLen
		atSeam := at == 0 || at == 8 || at >= 13 && at <= 16 // which the DSCP's padding is, too
		if atSeam != (err == nil) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	for _, length := range []uint16{0, 1, unix.SizeofRtAttr - 1, 200, 0xffff} {
		b := slices.Clone(whole)
		binary.NativeEndian.PutUint16(b[ruleHeaderLen:], length)
		if _, err := conditions(b); !errors.Is(err, errRule) {
			t.Errorf("an attribute of %d bytes: %v", length, err)
		}
	}
}

func FuzzRuleConditions(f *testing.F) {
	f.Add(ruleOf(0, ruleTable, ruleDSCP, rulePriority))
	f.Add(ruleOf(0x10))
	f.Add(ruleOf(0, nl.NewRtAttr(99, []byte{1, 2, 3}))[:ruleHeaderLen+6])
	f.Fuzz(func(t *testing.T, rule []byte) {
		list, err := conditions(rule)
		if err != nil && list != nil {
			t.Errorf("%q beside %v", list, err)
		}
		if err == nil && list == nil && rule[ruleTOS] != 0 {
			t.Error("a TOS is no condition")
		}
	})
}

// told says whether any rule of a family has an attribute, by the netlink package's own reading.
func told(family uint8, attr uint16) (bool, error) {
	r := nl.NewNetlinkRequest(unix.RTM_GETRULE, unix.NLM_F_DUMP)
	r.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: family}})
	rules, err := r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWRULE)
	for _, rule := range rules {
		attrs, err := nl.ParseRouteAttr(rule[ruleHeaderLen:])
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(attrs, func(a syscall.NetlinkRouteAttr) bool { return a.Attr.Type == attr }) {
			return true, nil
		}
	}
	return false, err
}

// Rules by what iproute2 and the netlink package may not know keep datagrams off the fast path like those that they do.
func TestFastPathRulesOfNewKernels(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	peer := map[uint8]netip.Addr{unix.AF_INET: netip.MustParseAddr("192.0.2.2"), unix.AF_INET6: netip.MustParseAddr("2001:db8::2")}
	change := func(family uint8, message int, flags int, attrs ...*nl.RtAttr) error {
		r := nl.NewNetlinkRequest(message, flags|unix.NLM_F_ACK)
		r.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: family, Table: 100, Type: unix.RTN_UNICAST}})
		r.AddData(rulePriority)
		for _, a := range attrs {
			r.AddData(a)
		}
		_, err := r.Execute(unix.NETLINK_ROUTE, 0)
		return err
	}
	for _, c := range []struct {
		name   string
		v6     bool // alone
		attrs  []*nl.RtAttr
		reason string
	}{
		{"DSCP", false, []*nl.RtAttr{ruleDSCP}, "rules by DSCP, which"},
		{"DSCP mask", false, []*nl.RtAttr{nl.NewRtAttr(fraDSCP, []byte{32}), nl.NewRtAttr(fraDSCPMask, []byte{32})}, "rules by DSCP, which"},
		{"flow label", true, []*nl.RtAttr{nl.NewRtAttr(fraFlowLabel, []byte{0, 0, 0, 1}), nl.NewRtAttr(fraFlowLabelMask, []byte{0, 0, 0, 1})}, "rules by flow label, which"},
		{"port mask", false, []*nl.RtAttr{nl.NewRtAttr(unix.FRA_DPORT_RANGE, []byte{1, 0, 1, 0}), nl.NewRtAttr(fraDportMask, []byte{1, 0})}, "rules by protocol, port or TOS, which"},
		{"mark", false, []*nl.RtAttr{nl.NewRtAttr(unix.FRA_FWMARK, nl.Uint32Attr(1))}, ""},
	} {
		for family, to := range peer {
			if c.v6 && family != unix.AF_INET6 {
				continue
			}
			t.Run(c.name+" "+to.String(), func(t *testing.T) {
				err := h.Do(func() error {
					r, err := newRoutes(slog.New(slog.DiscardHandler), vrf{})
					if err != nil {
						return err
					}
					defer r.close()
					if got := r.rulesBeyond(to); got != "" {
						t.Fatalf("refused before: %s", got)
					}
					if err := change(family, unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, c.attrs...); errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
						t.Skipf("not in this kernel: %v", err)
					} else if err != nil {
						return err
					}
					if tells, err := told(family, c.attrs[0].Type); err != nil {
						return err
					} else if !tells {
						t.Skipf("this kernel takes rules without their attribute %d", c.attrs[0].Type)
					}
					r.forget()
					if got := r.rulesBeyond(to); !strings.Contains(got, c.reason) || (got == "") != (c.reason == "") {
						t.Errorf("reason %q, want one with %q", got, c.reason)
					}
					if err := change(family, unix.RTM_DELRULE, 0, c.attrs...); err != nil {
						return err
					}
					r.forget()
					if got := r.rulesBeyond(to); got != "" {
						t.Errorf("refused after: %s", got)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}
