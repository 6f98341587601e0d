package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vtepd/ctl"
	"vtepd/ctl/config"
	"vtepd/ctl/ctltest"
	"vtepd/dataplane"
	"vtepd/fdb"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const testConfig = `
local: 192.0.2.1
ageing: 300s
vlans: [{vid: 10, vni: 10010}, {vid: 20, vni: 10020}, {vid: 21, vni: 10021}, {vid: 22, vni: 10022}]
vnis:
- {vni: 42, peers: [192.0.2.2, "192.0.2.3:4790"], max-macs: 1000, allow: [203.0.113.0/24]}
- {vni: 10010, peers: [192.0.2.2], ageing: 0, learning: off, peer-policy: learn}
ports:
- {name: tap2, trunk: [10, 20-22], native: 10, mtu: 1400}
- {name: tap10, vni: 42, netns: blue, mac: 02:00:00:00:00:aa, addresses: [198.51.100.1/24], max-macs: 50}
- {name: tap1, access: 20}
static:
- {mac: 02:00:00:00:00:09, vni: 42, dst: 192.0.2.2}
- {mac: 02:00:00:00:00:0b, vni: 42, port: tap10, state: sticky}
`

// lab is a control API over a switch that moves no frame, at a real socket.
type lab struct {
	sw     *ctltest.Switch
	socket string
}

func newLab(tb testing.TB) *lab {
	tb.Helper()
	f, err := config.Parse("test.yaml", []byte(testConfig))
	if err != nil {
		tb.Fatal(err)
	}
	sw := ctltest.New(f.Model.SwitchConfig())
	c, err := ctl.New(context.Background(), sw, f.Model, nil)
	if err != nil {
		tb.Fatal(err)
	}
	sw.Learn(dataplane.FDBEntry{VNI: 42, MAC: 0x020000000001, Port: "tap10", Age: 75 * time.Second, Moves: 2},
		dataplane.Move{From: "192.0.2.2", To: "tap1", Ago: 2 * time.Hour}, dataplane.Move{From: "", To: "tap10", Ago: 75 * time.Second})
	sw.Learn(dataplane.FDBEntry{VNI: 42, MAC: 0x020000000002, Dst: netip.MustParseAddrPort("192.0.2.2:4789")})
	sw.Drop(dataplane.Drop{Reason: dataplane.UnknownVNI, Count: 9})
	sw.Refuse(dataplane.Stranger{Reason: dataplane.UnknownVNI, Source: netip.MustParseAddr("192.0.2.2"), VNI: 43, Count: 8, Age: 2 * time.Second})
	sw.Refuse(dataplane.Stranger{Reason: dataplane.UnknownPeer, Source: netip.MustParseAddr("203.0.113.9"), VNI: 42, Count: 12, Age: time.Minute})
	sw.Refuse(dataplane.Stranger{Reason: dataplane.UnknownVNI, Source: netip.MustParseAddr("2001:db8::9"), VNI: 0, Count: 1, Age: time.Hour})
	sw.Drop(dataplane.Drop{Reason: dataplane.UnknownPeer, VNI: 42, Peer: netip.MustParseAddrPort("203.0.113.9:4789"), Count: 12})
	sw.Drop(dataplane.Drop{Reason: dataplane.VLANNotAllowed, Port: "tap1", Count: 3})
	sw.Drop(dataplane.Drop{Reason: dataplane.VLANNotAllowed, Port: "tap2", Count: 1})
	// A socket's path has room for 107 bytes: not under a test's own directory.
	dir, err := os.MkdirTemp("", "vtepctl")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{sw: sw, socket: filepath.Join(dir, "s")}
	listener, err := net.Listen("unix", l.socket)
	if err != nil {
		tb.Fatal(err)
	}
	server := ctl.NewServer(c, slog.New(slog.DiscardHandler))
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); err != http.ErrServerClosed {
			tb.Errorf("serve: %v", err)
		}
	}()
	tb.Cleanup(func() {
		server.Close()
		<-served
	})
	return l
}

// run executes one command and returns what it printed with its exit code.
func (l *lab) run(args ...string) string {
	var stdout, stderr bytes.Buffer
	app := &App{Stdout: &stdout, Stderr: &stderr, Getenv: func(k string) string {
		if k == "VTEPD_SOCKET" {
			return l.socket
		}
		return ""
	}}
	code := app.Run(context.Background(), args)
	text := stdout.String()
	if stderr.Len() > 0 {
		text += "stderr: " + strings.ReplaceAll(strings.TrimSuffix(stderr.String(), "\n"), "\n", "\nstderr: ") + "\n"
	}
	return text + fmt.Sprintf("exit: %d\n", code)
}

var volatile = regexp.MustCompile(`("pid": ?|"uptime": ?|pid )\d+|up \d+s|/tmp/vtepctl\d+/s`)

func stable(text string) string {
	return volatile.ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasPrefix(s, "/tmp") {
			return "SOCKET"
		}
		return strings.TrimRight(s, "0123456789s") + "N"
	})
}

// TestGolden runs command lines in order against one switch for each file; what changes is shown by what comes after.
func TestGolden(t *testing.T) {
	for name, commands := range goldens {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			var got strings.Builder
			for _, line := range strings.Split(strings.TrimPrefix(commands, "\n"), "\n") {
				fmt.Fprintf(&got, "$ vtepctl %s\n%s\n", line, stable(l.run(strings.Fields(line)...)))
			}
			compareGolden(t, filepath.Join("testdata", name+".golden"), got.String())
		})
	}
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

var goldens = map[string]string{
	"flood": `
vni set 42 flood unknown,broadcast
-d vni show 42
vni set 42 flood none
-d vni show 42
vni set 42 flood default
-d vni show 42
vni add 61 flood all
vni add 62 flood multicast
-d vni show 62
vni set 42 flood unknwon
vni set 42 flood unknown,unknown
vni set 42 flood none,unknown`,
	"storm": `
vni set 42 storm-control 1kpps
-d vni show 42
vni set 42 storm-control broadcast=100pps,unknown=20mbit
-d vni show 42
-jp vni show 42
port set tap1 storm-control multicast=10pps
-d port show tap1
-jp port show tap1
port set tap1 storm-control default isolated on
-d port show tap1
port set tap1 isolated default
-d port show tap1
port set tap1 isolated maybe
vni set 42 storm-control default
vni set 42 storm-control 100
vni set 42 storm-control fast
vni set 42 storm-control broadcast
vni set 42 storm-control broadcst=1pps
vni set 42 storm-control broadcast=1pps,broadcast=2pps
vni set 42 storm-control broadcast=1pps,2pps
vni set 42 storm-control 0pps
vni set 42 storm-control 99999gbit`,
	"group": `
vni add 60 group 239.1.1.1
-d vni show 60
fdb show vni 60
fdb append 00:00:00:00:00:00 vni 60 dst 239.1.1.2
peer add 192.0.2.2 vni 60
-d vni show 60
vni show 60
vni set 60 group 239.1.1.2:4790 group-ttl 16
vni set 60 group 239.1.1.2:4790 group-ttl 16 learning off
vni set 60 learning on
-j vni show 60
vni set 60 group-ttl default ttl 8
-d vni show 60
fdb del 00:00:00:00:00:00 vni 60 dst 239.1.1.2
vni show 60
fdb append 00:00:00:00:00:00 vni 60 dst 239.1.1.3
fdb show vni 60
peer del 239.1.1.3
peer add 239.1.1.4 vni 60
vni set 60 group none
vni show 60
vni set 60 group ff05::1:3
vni set 60 group 192.0.2.9
fdb add 02:00:00:00:00:0f vni 60 dst 239.1.1.2
fdb append 00:00:00:00:00:00 vni 60 dst ff02::1:5`,
	"status": `
status
status show
-j status
-jp status
status now`,
	"fdb": `
fdb
f s
fdb show vni 42
fdb show vni 42 dynamic
-d fdb show static
-j fdb show
-jp fdb show port tap10
-j fdb show dst 192.0.2.2
-j fdb show dst 192.0.2.3 dport 4790
-j fdb show mac 02:00:00:00:00:09
-j fdb show mac 02:00:00:00:00:99
fdb show mac 02:00:00:00:00:99
fdb show vni 77
fdb show port tap11
fdb get 02:00:00:00:00:01 vni 42
-jp fdb get 02:00:00:00:00:01 vni 42
fdb get 02:00:00:00:00:99 vni 42
fdb get 00:00:00:00:00:00 vni 42`,
	"fdb-change": `
fdb add 02:00:00:00:00:0c vni 42 dst 192.0.2.9
fdb add 02:00:00:00:00:0c vni 42 dst 192.0.2.9
fdb add 02:00:00:00:00:01 vni 42 dst 192.0.2.9
fdb replace 02:00:00:00:00:01 vni 42 dst 192.0.2.9 dport 4790
fdb add 02:00:00:00:00:0d vni 42 port tap10 sticky
fdb add 02:00:00:00:00:0e port tap10 dynamic vni 42
fdb replace 02:00:00:00:00:09 vni 42 port tap10 dynamic
fdb show vni 42
fdb add 02:00:00:00:00:0f vni 42 port tap1
fdb add 02:00:00:00:00:0f vni 42 port tap11
fdb add 02:00:00:00:00:0f vni 43 dst 192.0.2.2
fdb add 01:00:5e:00:00:01 vni 42 dst 192.0.2.2
fdb add 02:00:00:00:00:0f vni 42 dst 2001:db8::1
fdb add 02:00:00:00:00:0f vni 42 dst 192.0.2.1
fdb add 02:00:00:00:00:0f vni 42 dst 239.1.1.1
fdb add 02:00:00:00:00:0f vni 42 dst 2001:db8::1 dynamic
fdb append 02:00:00:00:00:0f vni 42 dst 192.0.2.9
fdb append 00:00:00:00:00:00 vni 42 dst 192.0.2.9
fdb append 00:00:00:00:00:00 vni 42 dst 192.0.2.9
fdb add 00:00:00:00:00:00 vni 42 dst 192.0.2.10
fdb replace 00:00:00:00:00:00 vni 42 dst 192.0.2.11
peer show vni 42
fdb del 00:00:00:00:00:00 vni 42 dst 192.0.2.10
fdb del 00:00:00:00:00:00 vni 42
fdb del 00:00:00:00:00:00 vni 42 dst 192.0.2.10
fdb del 02:00:00:00:00:0c vni 42 dst 192.0.2.8
fdb del 02:00:00:00:00:0c vni 42 dst 192.0.2.9
fdb del 02:00:00:00:00:0c vni 42
fdb del 02:00:00:00:00:02 vni 42
fdb show vni 42
fdb flush port tap10
fdb show vni 42
fdb flush vni 42 static
-j fdb flush
fdb flush vni 77
fdb show`,
	"capture": `
help capture
capture port tap11
capture vni 77
capture peer 192.0.2.99
capture port tap10 port tap1
capture dir up
capture snaplen 5
capture count 0
capture drops dir out
capture drops port tap10 peer 192.0.2.2
capture port tap10 peer 192.0.2.2 dir in
capture write
capture tap10
capture -w x
capture -i tap10
capture port tap10 -c10
capture -n
cap port nope
c`,
	"set": `
set
set fastpath
set fastpath maybe
set fastpath on
-j status
-d status
port show tap10
-d port show tap10
set fastpath off
status
-d port show tap10
-d vni show 42
-j vni show 42
set fastpath auto off
set help`,
	"vni": `
vni
vni show 42
-d vni show
-s vni show 42
-j vni show
-jp -s vni show 42
vni show 43
vni add 43
vni add 43
vni add 44 peer 192.0.2.2 peer 192.0.2.3 ageing 60s learning off peer-policy learn ttl inherit dscp 46 ecn linux udp-checksum off inner-vlan keep reserved-bits strict max-macs 5 allow 192.0.2.0/24,203.0.113.5
-d vni show 44
vni add 45 gbp on gbp-drop 20-30,5
-d vni show 45
-j vni show 45
vni set 45 gbp-drop none
vni set 45 gbp off gbp-drop 7
vni set 45 gpe on
vni set 45 gbp off gpe on
-d vni show 45
vni set 45 gbp-drop 9-3
vni del 45
vni set 44 peer 192.0.2.9 ageing default ttl 10 allow default
-d vni show 44
vni add 45 peer 192.0.2.2 peer 192.0.2.2
vni add 45 peer 2001:db8::1
vni add 45 udp6-zero-checksum rx
vni set 45 ageing 1s
vni del 42
vni del 10010
vni del 43
vni del 43
vni set 10020 peer 192.0.2.2
vni show`,
	"peer": `
peer
-s peer show 192.0.2.2
-d peer show
-j peer show
-jp -s peer show vni 42
peer show 192.0.2.99
peer show vni 77
peer add 192.0.2.3 vni 42
peer add 192.0.2.3 vni 42
peer add 192.0.2.4 vni 42 dport 8472
peer add 192.0.2.4:8472 vni 10010
peer add 192.0.2.5 vni 43
peer add 192.0.2.1 vni 42
peer add 2001:db8::1 vni 42
peer add 239.0.0.1 vni 42
peer add 127.0.0.1 vni 42
peer add 255.255.255.255 vni 42
peer add 0.0.0.0 vni 42
fdb add 02:00:00:00:00:7b vni 42 dst 255.255.255.255
fdb append 00:00:00:00:00:00 vni 42 dst 255.255.255.255
peer del 192.0.2.3 vni 42 dport 4790
peer show
peer del 192.0.2.2
peer del 192.0.2.2
peer del 192.0.2.2 vni 42
peer del 192.0.2.2 vni 43
peer show`,
	"port": `
port
-d port show
-s port show tap1
-j port show
-jp -s port show tap2
port show tap11
port show nothing
port add tap3 vni 42
port add tap3 vni 42
port add tap4 vni 43
port add tap4 access 99
port add tap4 trunk 10,20-23
port add tap4 trunk 10,20,10-11
port add tap4 trunk 10,20-22 native 10 mtu 1400 mac 02:00:00:00:00:01 netns blue address 198.51.100.1/24 address 2001:db8::1/64 max-macs 9
-d port show tap4
port set tap4 gbp-id 100 gbp-drop 300-399,200
vni set 10010 gbp on
port set tap4 gbp-id 100 gbp-drop 300-399,200
vni set 10010 gbp off
port add tap5 vni 42 gbp-drop 5
-d port show tap4
-j port show tap4
port set tap4 mss-clamp 1300
port set tap4 mss-clamp 9
port set tap4 gbp-id 65536
port set tap4 gbp-drop none
port set tap4 gbp-id default gbp-drop default
vni set 10010 gbp off
port set tap4 native default mtu default netns default max-macs default address default
-d port show tap4
port set tap4 vni 42
port set tap4 native 10
port set tap4 trunk 20 native 10
port show tap4
port set tap5 vni 42
port add veth1 type veth vni 42 netns blue address 198.51.100.9/24
port add veth2 type veth vni 42 ifname inside
port add eth7 type netdev vni 42
port show veth1
-d port show veth2
port show eth7
-j port show eth7
port set veth2 ifname net0
port show veth2
port add eth8 type netdev vni 42 netns blue
port add eth8 type netdev vni 42 address 198.51.100.9/24
port add tap8 vni 42 ifname inside
port add veth8 type veth vni 42
port set eth7 mtu 1400 mac 02:00:00:00:00:07
port del veth1
port del veth2
port del eth7
port del tap10
port del tap10
port show
fdb show vni 42`,
	"vlan": `
vlan
-j vlan show
vlan show 10
vlan show 11
vlan add 30 vni 10030
vlan add 30 vni 10031
vlan add 31 vni 10030
vni show 10030
vlan del 10
vlan del 30
vlan del 31
vlan del 31
vni show 10030
vlan add 4095 vni 1
vlan add 50
vlan show`,
	"stats": `
stats
stats -j
show stats
add stats
stats show port tap1
stats show peer 192.0.2.2
stats show vni 42 port tap1
-j stats show
-j stats show vni 42
stats show port tap11
stats show peer 192.0.2.99
stats show vni 77
peer add 192.0.2.2 vni 42 dport 4790
stats show peer 192.0.2.2`,
	"drops": `
drops
-d drops show
-j drops show`,
	"doctor": `
doctor mtu
doctor mtu peer 192.0.2.2
-j doctor mtu
doctor mtu peer 192.0.2.99
doctor mtu peer nobody
doctor`,
	"trace": `
trace port tap10 dst-mac 02:00:00:00:00:02
trace port tap10 dst-mac ff:ff:ff:ff:ff:ff vid 10 pcp 3
-d trace port tap10 dst-mac ff:ff:ff:ff:ff:ff
trace port tap10 dst-mac 01:00:5e:00:00:01
trace peer 192.0.2.2 vni 42 outer-tos 0xb8 gbp-id 7 dst-mac 02:00:00:00:00:02 src-ip 198.51.100.7 ip-proto tcp dst-port 443 ip-tos 3 ip-ttl 7 size 1514
-jp trace port tap10 dst-mac 02:00:00:00:00:02
trace peer 192.0.2.2 vni 42 outer-dport 4790 dst-mac 02:00:00:00:00:02
trace peer 192.0.2.2 vni 42 outer-dport 4789 dst-mac 02:00:00:00:00:02
trace peer 239.1.1.1 vni 42 dst-mac 02:00:00:00:00:02
trace peer 2001:db8::2 vni 42 dst-mac 02:00:00:00:00:02
trace peer 192.0.2.1 vni 42 dst-mac 02:00:00:00:00:02
trace peer 192.0.2.2:4790 vni 42 dst-mac 02:00:00:00:00:02
trace port tap10 outer-dport 4790 dst-mac 02:00:00:00:00:02
trace port tap10 frame ffff:ffff
trace port tap10 frame 02-00-00-00-00-02:02-00-00-00-00-01-08:06
trace port nosuch dst-mac 02:00:00:00:00:02
trace port tap1 dst-mac 02:00:00:00:00:02 dst-ip 2001:db8::9
trace
trace port tap10
trace dst-mac 02:00:00:00:00:02
trace port tap10 peer 192.0.2.2 vni 42 dst-mac 02:00:00:00:00:02
trace peer 192.0.2.2 dst-mac 02:00:00:00:00:02
trace port tap10 vni 42 dst-mac 02:00:00:00:00:02
trace port tap10 dst-mac 02:00:00:00:00:02 pcp 3
trace port tap10 dst-mac 02:00:00:00:00:02 frame 00
trace port tap10 frame 0g
trace port tap10 frame 000
trace port tap10 dst-mac 02:00:00:00:00:02 size 13
trace port tap10 dst-mac 02:00:00:00:00:02 size 41 ip-proto udp
trace port tap10 dst-mac 02:00:00:00:00:02 src-ip 198.51.100.1 dst-ip 2001:db8::1
trace port tap10 dst-mac 02:00:00:00:00:02 ip-proto icmp dst-port 1
trace port tap10 dst-mac 02:00:00:00:00:02 ip-proto arp ip-ttl 1
trace port tap10 dst-mac 02:00:00:00:00:02 ip-proto sctp
trace port tap10 dst-mac 02:00:00:00:00:02 ip-tos 256
trace port tap10 dst-mac 02:00:00:00:00:02 pcp 8
trace port tap10 dst-mac 02:00:00:00:00:02 vid 4095
help trace`,
	"usage": `

nothing
p show
fdb a
fdb shwo
fdb show -j
fdb show vni
fdb show vni 0
fdb show vni 16777216
fdb show vni 42 vni 43
fdb show dport 4789
fdb show dst 192.0.2
fdb show static dynamic
fdb flush dynamic static
fdb add
fdb add 02:00:00:00:00:09
fdb add 02:00:00:00:00:09 vni 42
fdb add 02:00:00:00:00:09 vni 42 dst 192.0.2.2 port tap0
fdb add 02:00:00:00:00:09 vni 42 dst 192.0.2.2 static sticky
fdb add 00:00:00:00:00:00 vni 42 port tap10
fdb add 00:00:00:00:00:00 vni 42 dst 192.0.2.2 dynamic
fdb add vnii 42
fdb del 02:00:00:00:00:09
fdb get 02:00:00:00:00:09
vni add
vni add 42 group 192.0.2.9
vni set 42 group 239.1.1.1:0
vni add 42 ageing 300
vni add 42 learning maybe
vni add 42 ttl 0
vni add 42 allow 192.0.2.1/24
vni set 42
peer add
peer add 192.0.2.3
peer add fe80::1%eth0 vni 42
port add
port add tap0
port add tap0 vni 42 access 10
port add tap0 trunk 20-10
port add tap0 vni 42 type bridge
port add averyveryverylongname vni 42
port add tap0 vni 42 netns a/b
port set tap0
port set tap0 address default address 198.51.100.1/24
monitor everything
completion tcsh
completion ksh
completion
completion bash zsh
port add dev tap7 vni 42
port del name tap7
port show dev tap7
--sokcet x status
-x`,
	"help": `
help
-h
help fdb
fdb help
fdb --help
help fdb add
f add -h
help vni set
port add --help
help monitor
monitor -h
help status
help completion
--version`,
}

// TestEveryVerbHasAGolden keeps the table complete.
func TestEveryVerbHasAGolden(t *testing.T) {
	all := ""
	for name, commands := range goldens {
		if name != "usage" && name != "help" {
			all += commands + "\n"
		}
	}
	for _, o := range allObjects() {
		for _, v := range o.verbs {
			if !regexp.MustCompile(`(?m)^(-\S+ )*` + o.name + " " + v.name + `\b`).MatchString(all) {
				t.Errorf("no golden for %s %s", o.name, v.name)
			}
		}
	}
}

func TestNoSwitch(t *testing.T) {
	dir := t.TempDir()
	var stderr bytes.Buffer
	app := &App{Stdout: io.Discard, Stderr: &stderr}
	if code := app.Run(context.Background(), []string{"--socket", dir + "/none", "status"}); code != ExitUnavailable {
		t.Errorf("exit %d, want %d: %s", code, ExitUnavailable, &stderr)
	}
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := app.Run(context.Background(), []string{"--socket", dir + "/file", "status"}); code != ExitUnavailable {
		t.Errorf("a file that is no socket: exit %d, want %d: %s", code, ExitUnavailable, &stderr)
	}
}

// TestMonitor reads a stream to its end by interrupt.
func TestMonitor(t *testing.T) {
	entry := &dataplane.FDBEntry{VNI: 42, MAC: 0x020000000001, Dst: netip.MustParseAddrPort("192.0.2.2:4789"), State: fdb.Dynamic}
	elsewhere := &dataplane.FDBEntry{VNI: 42, MAC: 0x020000000002, Dst: netip.MustParseAddrPort("192.0.2.2:8472"), State: fdb.Dynamic}
	flushed := &dataplane.FDBEntry{VNI: 42, Port: "tap0"}
	events := []dataplane.Event{
		{Time: ctltest.Time, Object: "fdb", Action: "move", FDB: entry, From: "tap0", VNI: 42, Count: 1},
		{Time: ctltest.Time, Object: "fdb", Action: "flush", FDB: flushed, VNI: 42, Count: 7},
		{Time: ctltest.Time, Object: "port", Action: "missing", Port: "tap0", Reason: "the interface was deleted"},
		{Time: ctltest.Time, Object: "peer", Action: "add", Peer: netip.MustParseAddrPort("192.0.2.2:4789"), VNI: 42},
		{Time: ctltest.Time, Object: "peer", Action: "add", Peer: netip.MustParseAddrPort("192.0.2.2:8472"), VNI: 42},
		{Time: ctltest.Time, Object: "fdb", Action: "add", FDB: elsewhere, VNI: 42, Count: 1},
		{Time: ctltest.Time, Object: "vni", Action: "add", VNI: 42},
		{Time: ctltest.Time, Object: "underlay", Action: "down", Local: netip.MustParseAddr("192.0.2.1"), Reason: "eth0 is down"},
		{Time: ctltest.Time, Object: "port", Action: "storm", Port: "tap0", VNI: 42, Reason: "broadcast over 100pps"},
		{Time: ctltest.Time, Object: "peer", Action: "calm", Peer: netip.MustParseAddrPort("192.0.2.2:4789"), VNI: 42, Count: 1, Reason: "broadcast over 100pps"},
		{Time: ctltest.Time, Object: "fdb", Action: "lost", Count: 99},
	}
	var got strings.Builder
	for _, line := range []string{"monitor", "-j monitor", "monitor all", "monitor port vni", "-j monitor f"} {
		l := newLab(t)
		ctx, cancel := context.WithCancel(context.Background())
		out := &syncBuffer{}
		app := &App{Stdout: out, Stderr: out, Getenv: func(string) string { return l.socket }}
		code := make(chan int)
		go func() { code <- app.Run(ctx, strings.Fields(line)) }()
		waitFor(t, "a subscription", func() bool { return l.sw.Subscribers() == 1 })
		for _, e := range events {
			l.sw.Send(e)
		}
		// Something comes last that every filter lets through.
		waitFor(t, "the last event", func() bool { return strings.Contains(out.String(), "99") })
		cancel()
		fmt.Fprintf(&got, "$ vtepctl %s\n%sexit: %d\n\n", line, out, <-code)
		waitFor(t, "the end of the subscription", func() bool { return l.sw.Subscribers() == 0 })
	}
	compareGolden(t, "testdata/monitor.golden", strings.ReplaceAll(got.String(), ctltest.Time.Local().Format("15:04:05.000"), "03:04:05.678"))
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	const patience = 30 * time.Second
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not come within %s", what, patience)
}
