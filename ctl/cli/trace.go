package cli

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/encap"
)

// What a frame has where nothing is said. Addresses are those of documentation (RFC 7042 section 2.1.1, RFC 5737, RFC 3849).
const (
	traceSrcMAC = "00:00:5e:00:53:01"
	traceFrom4  = "198.51.100.1"
	traceTo4    = "198.51.100.2"
	traceFrom6  = "2001:db8::1"
	traceTo6    = "2001:db8::2"
	traceSport  = 1024
	traceDport  = 9 // discard (RFC 863)
	traceTTL    = 64
)

// frameWords describe the frame of a trace; tc flower has their like.
var frameWords = []word{
	{name: "dst-mac", values: "MAC", help: "where it goes", parse: valid(model.ParseMAC)},
	{name: "src-mac", values: "MAC", help: "where it comes from; " + traceSrcMAC + " otherwise", parse: valid(model.ParseMAC)},
	{name: "vid", values: "V", help: "has an 802.1Q tag of this VLAN ID; 0 is a priority tag", parse: parseTagVID},
	{name: "pcp", values: "N", help: "priority of the tag, 0 to 7", parse: valid(model.ParsePCP)},
	{name: "src-ip", values: "IP", help: "carries IPv4 or IPv6 from this address", parse: valid(model.ParseAddr)},
	{name: "dst-ip", values: "IP", help: "and to this one", parse: valid(model.ParseAddr)},
	{name: "ip-proto", values: "udp|tcp|icmp|arp", help: "what is in it, or ARP for dst-ip; udp otherwise", parse: valid(parseProto)},
	{name: "src-port", values: "P", help: "of UDP and TCP", parse: valid(model.ParsePort)},
	{name: "dst-port", values: "P", help: "of UDP and TCP", parse: valid(model.ParsePort)},
	{name: "ip-tos", values: "N", help: "DSCP and ECN of the packet, 0 to 0xff", parse: valid(model.ParseTOS)},
	{name: "ip-ttl", values: "N", help: "TTL or hop limit of the packet", parse: valid(model.ParseFrameTTL)},
	{name: "size", values: "BYTES", help: "of the whole frame, without FCS", parse: valid(model.ParseFrameSize)},
	{name: "frame", values: "HEX", help: "the frame itself, in the place of all these", parse: valid(model.ParseFrame)},
}

var traceObject = &object{
	name:  "trace",
	short: "what would become of a frame, stage by stage",
	self: &verb{
		synopsis: "(port NAME | peer IP vni N [outer-dport P] [outer-tos N] [gbp-id N]) (dst-mac MAC [FRAME WORDS] | frame HEX)",
		long: "The frame passes the stages that a real one would pass, on the present state: filters, learning, lookup, flooding, MTUs and routes, and the\n" +
			"outer headers. Nothing is sent, learned or counted. What is not said of the frame is made up. With -d, why a copy is not on the fast path.",
		examples: []string{
			"vtepctl trace port tap0 dst-mac 02:00:00:00:00:02",
			"vtepctl trace port trunk0 dst-mac ff:ff:ff:ff:ff:ff vid 10 dst-ip 198.51.100.2 ip-proto arp",
			"vtepctl trace peer 192.0.2.2 vni 42 dst-mac 02:00:00:00:00:01 size 1514",
		},
		words: append([]word{
			portWord("it comes from this port, or"),
			{name: "peer", values: "IP", help: "in a datagram from this address", parse: valid(model.ParseAddr), complete: knownPeers},
			vniWord("with this VNI in its header"),
			{name: "outer-dport", values: "P", help: "sent to this UDP port of ours, as listen has it; dstport otherwise", parse: valid(model.ParsePort)},
			{name: "outer-tos", values: "N", help: "DSCP and ECN of the datagram, 0 to 0xff", parse: valid(model.ParseTOS)},
			{name: "gbp-id", values: "N", help: "group policy ID in its header", parse: valid(model.ParseGBPID)},
		}, frameWords...),
		check: checkTrace,
		run: func(ctx context.Context, app *App, a *args) error {
			frame, err := frameOf(a)
			if err != nil {
				return err
			}
			tos, _ := model.ParseTOS(a.get("outer-tos"))
			t, err := app.client.Trace(ctx, api.TraceSpec{
				Port: a.get("port"), Peer: a.get("peer"), OuterDPort: uint16(a.number("outer-dport")), VNI: a.number("vni"), OuterTOS: tos, GBPID: uint16(a.number("gbp-id")), Frame: hex.EncodeToString(frame),
			})
			if err != nil {
				return err
			}
			if app.json {
				return app.printJSON(t)
			}
			app.traceText(&t)
			return nil
		},
	},
}

// parseTagVID takes 0, too: a priority tag.
func parseTagVID(s string) error {
	if s == "0" {
		return nil
	}
	_, err := model.ParseVID(s)
	return err
}

func parseProto(s string) (string, error) { return model.ParseWord(s, "udp", "tcp", "icmp", "arp") }

func checkTrace(a *args) error {
	switch {
	case a.has("port") && a.has("peer"):
		return errors.New("port and peer exclude each other: a frame comes in at one place")
	case !a.has("port") && !a.has("peer"):
		return errors.New("where the frame comes in is missing: port NAME, or peer IP vni N")
	case a.has("peer") && !a.has("vni"):
		return errors.New("vni is missing: the one that the datagram of the peer names, vni N")
	}
	for _, name := range []string{"vni", "outer-dport", "outer-tos", "gbp-id"} {
		if a.has("port") && a.has(name) {
			return fmt.Errorf("%s is for a frame from a peer: a port gives its frames a VNI and a group", name)
		}
	}
	if a.has("frame") {
		for _, w := range frameWords {
			if w.name != "frame" && a.has(w.name) {
				return fmt.Errorf("frame and %s exclude each other: the frame has it already", w.name)
			}
		}
		return nil
	}
	_, err := frameOf(a)
	return err
}

// frameOf makes the frame that words describe.
func frameOf(a *args) ([]byte, error) {
	if a.has("frame") {
		return model.ParseFrame(a.get("frame"))
	}
	if !a.has("dst-mac") {
		return nil, errors.New("the frame is missing: dst-mac MAC and what else it has, or frame HEX")
	}
	c := craft{sport: traceSport, dport: traceDport, ttl: traceTTL, proto: encap.ProtoUDP, tagged: a.has("vid")}
	dst, _ := model.ParseMAC(a.get("dst-mac"))
	src, _ := model.ParseMAC(cmp.Or(a.get("src-mac"), traceSrcMAC))
	c.dst, c.src = uint64(dst), uint64(src)
	if a.has("pcp") && !c.tagged {
		return nil, errors.New("pcp is in a tag: write vid V, 0 for a priority tag")
	}
	pcp, _ := model.ParsePCP(a.get("pcp"))
	c.tci = uint16(pcp)<<13 | uint16(a.number("vid"))
	if a.has("size") {
		c.size, _ = model.ParseFrameSize(a.get("size"))
	}
	if err := c.packet(a); err != nil {
		return nil, err
	}
	frame, err := c.frame()
	if errors.Is(err, errSize) {
		err = fmt.Errorf("size: %w", err)
	}
	return frame, err
}

// packet fills in what is inside.
func (c *craft) packet(a *args) error {
	for _, name := range []string{"src-ip", "dst-ip", "ip-proto", "src-port", "dst-port", "ip-tos", "ip-ttl"} {
		c.ip = c.ip || a.has(name)
	}
	if !c.ip {
		return nil
	}
	c.from, _ = model.ParseAddr(a.get("src-ip"))
	c.to, _ = model.ParseAddr(a.get("dst-ip"))
	from, to := traceFrom4, traceTo4
	if c.from.Is6() || c.to.Is6() {
		from, to = traceFrom6, traceTo6
	}
	if !c.from.IsValid() {
		c.from = netip.MustParseAddr(from)
	}
	if !c.to.IsValid() {
		c.to = netip.MustParseAddr(to)
	}
	if c.from.Is6() != c.to.Is6() {
		return fmt.Errorf("src-ip %s and dst-ip %s are of two families", c.from, c.to)
	}
	proto := cmp.Or(a.get("ip-proto"), "udp")
	ports := proto == "udp" || proto == "tcp"
	if !ports && (a.has("src-port") || a.has("dst-port")) {
		return fmt.Errorf("%s has no ports: src-port and dst-port are for udp and tcp", proto)
	}
	switch proto {
	case "tcp":
		c.proto = encap.ProtoTCP
	case "icmp":
		c.proto = encap.ProtoICMP
	case "arp":
		if c.from.Is6() || a.has("ip-tos") || a.has("ip-ttl") {
			return errors.New("arp is of IPv4 addresses alone, without TOS and TTL")
		}
		c.arp, c.ip = true, false
	}
	if a.has("src-port") {
		c.sport, _ = model.ParsePort(a.get("src-port"))
	}
	if a.has("dst-port") {
		c.dport, _ = model.ParsePort(a.get("dst-port"))
	}
	if a.has("ip-tos") {
		c.tos, _ = model.ParseTOS(a.get("ip-tos"))
	}
	if a.has("ip-ttl") {
		c.ttl, _ = model.ParseFrameTTL(a.get("ip-ttl"))
	}
	return nil
}

// traceText prints a trace for people: a line a stage, a line a copy, and the verdict.
func (a *App) traceText(t *api.Trace) {
	w := table{}
	for _, s := range t.Stages {
		end := ""
		if s.Reason != "" {
			end = ": dropped"
		}
		w.row(s.Stage, s.Found+end)
	}
	for _, c := range t.Copies {
		w.row(copyText(&c))
		for _, line := range a.copyNotes(&c) {
			w.row("", "  "+line)
		}
	}
	verdict := "forwarded"
	if t.Reason != "" {
		verdict = "dropped: " + t.Reason
	}
	if t.ICMPMTU != 0 {
		verdict += fmt.Sprintf("; the sender is told by ICMP that %d bytes fit", t.ICMPMTU)
	}
	w.row("verdict", verdict)
	w.print(a.Stdout)
}

func copyText(c *api.TraceCopy) (label, text string) {
	label, text = "to port", c.Port+" untagged"
	if c.VID != 0 {
		text = fmt.Sprintf("%s with VID %d", c.Port, c.VID)
		if c.PCP != 0 {
			text += fmt.Sprintf(", priority %d", c.PCP)
		}
	}
	if c.Out != nil {
		o := c.Out
		label = "to peer"
		if isGroup(c.Peer) {
			label = "to group"
		}
		text = fmt.Sprintf("%s port %d, from %s", c.Peer, o.DPort, o.Source)
		if o.SPort != 0 {
			text += fmt.Sprintf(" port %d", o.SPort)
		}
		text += fmt.Sprintf(", TTL %d, TOS 0x%02x", o.TTL, o.TOS)
		if !o.UDPChecksum {
			text += ", without UDP checksum"
		}
	}
	text += fmt.Sprintf(": %d bytes", c.Bytes)
	if c.Most != 0 {
		text += fmt.Sprintf(" of %d", c.Most)
	}
	if c.Dropped != "" {
		text += ": not sent: " + c.Dropped
	}
	return label, text
}

// copyNotes are further lines about a copy.
func (a *App) copyNotes(c *api.TraceCopy) (lines []string) {
	if c.Note != "" {
		lines = append(lines, c.Note)
	}
	if c.MSSClamped {
		lines = append(lines, "the MSS that it announces is lowered")
	}
	switch {
	case c.Dropped != "":
	case c.FastPath:
		lines = append(lines, "on the fast path")
	case a.details:
		lines = append(lines, "in user space: "+c.FastPathReason)
	}
	return lines
}

// isGroup says whether a datagram is for all that have joined a multicast group.
func isGroup(address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && a.IsMulticast()
}
