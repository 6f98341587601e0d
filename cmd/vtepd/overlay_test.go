package main_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vtepd/bench/lab"
	"vtepd/encap/encaptest"
)

// TestTwoHosts is what a first user does: two hosts, a ping, and a look at what was learned.
func TestTwoHosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, setting string }{{"offload", ""}, {"plain", "offload: off"}} {
		t.Run(c.name, func(t *testing.T) {
			a, b := overlayPair(t, c.setting)
			reach(t, a.host, b.host.Overlay4())
			reach(t, a.host, b.host.Overlay6())
			macA, macB := a.host.MAC("vtep0").String(), b.host.MAC("vtep0").String()

			type entry struct {
				MAC, Dst, Port, State string
				VNI, DPort, Moves     int
				Age                   *int
			}
			var got []entry
			if err := json.Unmarshal([]byte(a.tell(t, "-j", "fdb", "show", "vni", "42")), &got); err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if dynamic := got[i].State == "dynamic"; dynamic != (got[i].Age != nil) || dynamic && *got[i].Age > 30 {
					t.Errorf("age of %+v", got[i])
				}
				got[i].Age = nil
			}
			want := []entry{
				{MAC: "00:00:00:00:00:00", VNI: 42, Dst: b.host.Underlay4().String(), DPort: 4789, State: "flood"},
				{MAC: macA, VNI: 42, Port: "vtep0", State: "dynamic"},
				{MAC: macB, VNI: 42, Dst: b.host.Underlay4().String(), DPort: 4789, State: "dynamic"},
			}
			slices.SortFunc(want, func(x, y entry) int { return strings.Compare(x.MAC, y.MAC) })
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("forwarding table (-want +got):\n%s", d)
			}
			text := a.tell(t, "fdb", "show")
			for _, line := range []string{
				`(?m)^MAC +VNI +WHERE +STATE +AGE +MOVES$`,
				fmt.Sprintf(`(?m)^%s +42 +port vtep0 +dynamic +\d+s +0$`, macA),
				fmt.Sprintf(`(?m)^%s +42 +dst %s +dynamic +\d+s +0$`, macB, b.host.Underlay4()),
				fmt.Sprintf(`(?m)^00:00:00:00:00:00 +42 +dst %s +flood +- +-$`, b.host.Underlay4()),
			} {
				if !regexp.MustCompile(line).MatchString(text) {
					t.Errorf("no line %s in:\n%s", line, text)
				}
			}

			status := map[string]any{}
			if err := json.Unmarshal([]byte(a.tell(t, "-j", "status")), &status); err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprint(status["pid"], " ", status["local"], " ", status["dstport"]), fmt.Sprint(a.PID(), " ", a.host.Underlay4(), " 4789"); got != want {
				t.Errorf("status: pid, local and dstport are %s, want %s", got, want)
			}
			vnet := strings.Contains(a.tell(t, "-j", "port", "show", "vtep0"), "vnet-hdr")
			if vnet != (c.setting == "") {
				t.Errorf("virtio-net header on the TAP: %v", vnet)
			}
			// What is counted as received left the other side.
			for _, s := range a.list(t, "stats", "show", "peer", b.host.Underlay4().String()) {
				if s["rx_packets"].(float64) < 2 || s["tx_packets"].(float64) < 2 || s["rx_dropped"].(float64) != 0 {
					t.Errorf("counters of the peer after two pings: %v", s)
				}
			}
		})
	}
}

// TestQuickStart runs without a file.
func TestQuickStart(t *testing.T) {
	l, a, b, _ := pair(t)
	for _, side := range [][2]*lab.Host{{a, b}, {b, a}} {
		here, there := side[0], side[1]
		dir, err := l.TempDir()
		if err != nil {
			t.Fatal(err)
		}
		d := &daemon{host: here, socket: dir + "/vtepd.sock"}
		d.Process, err = here.Start(vtepdPath, "--interface", "eth0", "--vni", "7", "--peer", there.Underlay4().String(), "--tap", "vtep0",
			"--address", here.OverlayPrefixes()[0].String(), "--socket", d.socket)
		if err != nil {
			t.Fatal(err)
		}
		d.endWithTest(t)
		d.awaitStart(t)
	}
	reach(t, a, b.Overlay4())
}

// TestVLANs joins a trunk on one host to access ports on the other. Tagged frames are put on the trunk and looked at as bytes:
//
//	a: trunk0, native 10 ── VNI 10010 ── b: tap10, access 10, in namespace ten
//	           tagged 20 ── VNI 10020 ── b: tap20, access 20, in namespace twenty
func TestVLANs(t *testing.T) {
	t.Parallel()
	l, ha, hb, _ := pair(t)
	ten, twenty := l.Host("ten"), l.Host("twenty")
	const file = "local: %v\nvlans:\n- {vid: 10, vni: 10010}\n- {vid: 20, vni: 10020}\n" +
		"vnis:\n- {vni: 10010, peers: [%v]}\n- {vni: 10020, peers: [%[2]v]}\nports:\n%[3]s"
	a := start(t, l, ha, fmt.Sprintf(file, ha.Underlay4(), hb.Underlay4(),
		"- {name: trunk0, type: tap, trunk: [10, 20], native: 10, addresses: [198.51.100.1/24]}\n"))
	b := start(t, l, hb, fmt.Sprintf(file, hb.Underlay4(), ha.Underlay4(), fmt.Sprintf(
		"- {name: tap10, type: tap, access: 10, netns: %s, addresses: [198.51.100.10/24]}\n"+
			"- {name: tap20, type: tap, access: 20, netns: %s, addresses: [198.51.100.20/24]}\n", ten.Name(), twenty.Name())))
	trunkMAC, mac10, mac20 := ha.MAC("trunk0"), ten.MAC("tap10"), twenty.MAC("tap20")

	// Untagged is VLAN 10: the kernel's own ping.
	reach(t, ha, netip.MustParseAddr("198.51.100.10"))
	// The address in VLAN 20 answers who asks with its tag, and nobody else.
	wire := ha.Sniff("trunk0")
	ask := func(limit time.Duration, tags ...uint16) (answered bool, tag []byte) {
		ha.Inject("trunk0", arpRequest(trunkMAC, tags, "198.51.100.1", "198.51.100.20"))
		f, ok := wire.Until(limit, func(f []byte) bool { return bytes.Equal(f[:6], trunkMAC) && bytes.Equal(f[6:12], mac20) })
		if !ok {
			return false, nil
		}
		return true, f.Data[12:18]
	}
	if ok, tag := ask(lab.Patience, 20); !ok || !bytes.Equal(tag, []byte{0x81, 0x00, 0, 20, 0x08, 0x06}) {
		t.Errorf("tag 20 and VLAN 20: answered %v, with type and tag %x", ok, tag)
	}
	for _, tags := range [][]uint16{nil, {10}, {30}} {
		if ok, _ := ask(time.Second, tags...); ok {
			t.Errorf("a frame with tags %v reached VLAN 20", tags)
		}
	}
	for vni, local := range map[string]string{"10010": fmt.Sprint(mac10, " tap10 <nil>"), "10020": fmt.Sprint(mac20, " tap20 <nil>")} {
		places := map[string]bool{}
		for _, e := range b.list(t, "fdb", "show", "vni", vni, "dynamic") {
			places[fmt.Sprint(e["mac"], " ", e["port"], " ", e["dst"])] = true
		}
		want := map[string]bool{fmt.Sprint(trunkMAC, " <nil> ", ha.Underlay4()): true, local: true}
		if d := cmp.Diff(want, places); d != "" {
			t.Errorf("VNI %s (-want +got):\n%s", vni, d)
		}
	}
	drops := a.list(t, "drops", "show")
	want := map[string]any{"reason": "vlan_not_allowed", "count": 1.0, "port": "trunk0"}
	if !slices.ContainsFunc(drops, func(d map[string]any) bool { return cmp.Equal(d, want) }) {
		t.Errorf("drops after one frame of VLAN 30: %v; want among them %v", drops, want)
	}
}

// arpRequest is a broadcast question for an address (RFC 826), with 802.1Q tags.
func arpRequest(from net.HardwareAddr, tags []uint16, sender, target string) []byte {
	mac := slices.Concat([]byte{0, 0}, from)
	question := slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, 1}, from, netip.MustParseAddr(sender).AsSlice(), make([]byte, 6), netip.MustParseAddr(target).AsSlice())
	return encaptest.Packet{SrcMAC: binary.BigEndian.Uint64(mac), DstMAC: 1<<48 - 1, Tags: tags, EtherType: 0x0806, Payload: question, Pad: 60}.Frame()
}
