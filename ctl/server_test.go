package ctl

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"vtepd/ctl/api"
	"vtepd/ctl/ctltest"
	"vtepd/dataplane"
)

// call makes one request to a handler.
func call(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestRefusals holds status, field and the beginning of the message of what the API refuses, and that nothing happens.
func TestRefusals(t *testing.T) {
	c, sw := start(t, baseFile)
	h := Handler(c)
	for _, r := range []struct {
		method, path, body string
		status             int
		field, message     string
	}{
		{"GET", "/", "", 404, "", `"/" is no path of this API`},
		{"GET", "/v2/fdb", "", 404, "", `"/v2/fdb" is no path`},
		{"POST", "/v1//vnis", `{"vni":62}`, 404, "", `"/v1//vnis" is no path of this API: no part of one is empty, . or ..`},
		{"POST", "/v1/./vnis", `{"vni":62}`, 404, "", `"/v1/./vnis" is no path`},
		{"DELETE", "/v1/ports/..", "", 404, "", `"/v1/ports/.." is no path`},
		{"DELETE", "/v1/ports/../vnis/43", "", 404, "", `"/v1/ports/../vnis/43" is no path`},
		{"DELETE", "/v1/ports/", "", 404, "", `"/v1/ports/" is no path`},
		{"DELETE", "/v1/ports/%2e%2e", "", 422, "port", `port: ".." is not a name for an interface`},
		{"GET", "/v1/ports/a%2fb", "", 422, "port", `port: "a/b" is not a name for an interface: it has a '/' in it`},
		{"DELETE", "/v1/ports/tap0%2f..", "", 422, "port", `port: "tap0/.." is not a name for an interface: it has a '/' in it`},
		{"PATCH", "/v1/ports/a%2fb", `{"mtu":1400}`, 422, "port", `port: "a/b" is not a name`},
		{"POST", "/v1/batch", `[{"method":"DELETE","path":"/v1/ports/a%2fb"}]`, 422, "port", `port: "a/b" is not a name`},
		{"POST", "/v1/ports/a%2fb", "{}", 405, "", "/v1/ports/a%2fb does not take POST"},
		{"GET", "/v1/vnis/4%2f2", "", 422, "vni", `vni: "4/2" is not a VNI`},
		{"GET", "/v1/vlans/1%2f0", "", 422, "vid", `vid: "1/0" is not a VLAN ID`},
		{"GET", "/v1/fdb/42/02%2f01", "", 422, "mac", `mac: "02/01" is not a MAC address`},
		{"GET", "/v1/fdb/42%2f02:00:00:00:00:09", "", 404, "", `"/v1/fdb/42%2f02:00:00:00:00:09" is no path of this API`},
		{"DELETE", "/v1/peers/192.0.2.2%2f24", "", 422, "peer", `peer: "192.0.2.2/24" `},
		{"DELETE", "/v1/ports/tap0%231", "", 404, "port", "port tap0#1 does not exist"},
		{"DELETE", "/v1/ports%2Ftap0", "", 404, "", `"/v1/ports%2Ftap0" is no path`},
		{"CONNECT", "x:1", "", 404, "", `"" is no path`},
		{"CONNECT", "/v1//vnis", "", 404, "", `"/v1//vnis" is no path`},
		{"GET", "*", "", 404, "", `"*" is no path`},
		{"DELETE", "/v1/fdb", "", 405, "", "/v1/fdb does not take DELETE: expected GET, POST, PUT"},
		{"POST", "/v1/status", "{}", 405, "", "/v1/status does not take POST: expected GET"},
		{"GET", "/v1/fdb?vnii=3", "", 400, "vnii", `unknown parameter "vnii"`},
		{"GET", "/v1/fdb?vni=3&vni=4", "", 400, "vni", "parameter vni is given 2 times"},
		{"POST", "/v1/fdb/flush?vni=42", "{}", 400, "vni", `unknown parameter "vni": POST /v1/fdb/flush takes none`},
		{"POST", "/v1/ports?port=tap9", `{"port":"tap9","vni":42}`, 400, "port", `unknown parameter "port"`},
		{"PATCH", "/v1/vnis/42?ageing=1", `{}`, 400, "ageing", `unknown parameter "ageing"`},
		{"POST", "/v1/batch?x", "[]", 400, "x", `unknown parameter "x"`},
		{"DELETE", "/v1/peers/192.0.2.2", `{"vni":43}`, 400, "", "DELETE /v1/peers/192.0.2.2 takes no body: say it in the path and by parameters"},
		{"DELETE", "/v1/ports/tap0", "{}", 400, "", "DELETE /v1/ports/tap0 takes no body"},
		{"GET", "/v1/fdb", `{"vni":42}`, 400, "", "GET /v1/fdb takes no body"},
		{"POST", "/v1/batch", `[{"method":"DELETE","path":"/v1/peers/192.0.2.2","body":{"vni":43}}]`, 400, "", "DELETE /v1/peers/192.0.2.2 takes no body"},
		{"GET", "/v1/fdb?vni=0", "", 422, "vni", "vni: 0 is out of range"},
		{"GET", "/v1/fdb?vni=", "", 422, "vni", `vni: "" is not a VNI`},
		{"GET", "/v1/fdb?vni=77", "", 404, "vni", "VNI 77 does not exist"},
		{"GET", "/v1/fdb?port=nope", "", 404, "port", "port nope does not exist"},
		{"GET", "/v1/fdb?mac=x", "", 422, "mac", `mac: "x" is not a MAC address`},
		{"GET", "/v1/fdb?dport=1", "", 400, "dport", "dport without dst"},
		{"GET", "/v1/fdb?static=maybe", "", 422, "static", "static: "},
		{"GET", "/v1/fdb/42/02:00:00:00:00:99", "", 404, "mac", "02:00:00:00:00:99 is not in VNI 42"},
		{"GET", "/v1/fdb/42/x", "", 422, "mac", "mac: "},
		{"POST", "/v1/trace", `{"port":"tap0"}`, 400, "frame", "frame is missing"},
		{"POST", "/v1/trace", `{"frame":"0g","port":"tap0"}`, 422, "frame", `frame: 'g' in a frame`},
		{"POST", "/v1/trace", `{"frame":"ff"}`, 400, "port", "where the frame comes in is missing"},
		{"POST", "/v1/trace", `{"frame":"ff","port":"tap0","peer":"192.0.2.2","vni":42}`, 400, "peer", "port and peer exclude each other"},
		{"POST", "/v1/trace", `{"frame":"ff","port":"tap0","vni":42}`, 400, "port", "vni, outer_dport, outer_tos and gbp_id are for a frame from a peer"},
		{"POST", "/v1/trace", `{"frame":"ff","port":"nope"}`, 404, "port", "port nope does not exist"},
		{"POST", "/v1/trace", `{"frame":"ff","peer":"192.0.2.2"}`, 400, "vni", "vni is missing"},
		{"POST", "/v1/trace", `{"frame":"ff","peer":"192.0.2.2","vni":16777216}`, 422, "vni", "vni: 16777216 is out of range"},
		{"POST", "/v1/trace", `{"frame":"ff","peer":"nobody","vni":42}`, 422, "peer", "peer: "},
		{"POST", "/v1/trace", `{"frame":"ff","peer":"192.0.2.2","vni":42,"outer_tos":256}`, 400, "outer_tos", "outer_tos: a JSON number 256 does not fit: expected a number from 0 to 255"},
		{"POST", "/v1/trace", `{"frame":"ff","peer":"192.0.2.2","vni":42,"gbp_id":-1}`, 400, "gbp_id", "gbp_id: a JSON number -1 does not fit: expected a number from 0 to 65535"},
		{"POST", "/v1/trace", `{"frame":"ff","peer":"192.0.2.2:8472","vni":42}`, 422, "peer", "peer: "},
		{"GET", "/v1/trace", "", 405, "", "/v1/trace does not take GET: expected POST"},
		{"GET", "/v1/capture?vni=77", "", 404, "vni", "VNI 77 does not exist"},
		{"GET", "/v1/capture?port=nope", "", 404, "port", "port nope does not exist"},
		{"GET", "/v1/capture?peer=192.0.2.99", "", 404, "peer", "peer 192.0.2.99 is not known"},
		{"GET", "/v1/capture?dir=up", "", 422, "dir", "dir: "},
		{"GET", "/v1/capture?snaplen=13", "", 422, "snaplen", "snaplen: 13 is out of range"},
		{"GET", "/v1/capture?count=0", "", 422, "count", "count: 0 is out of range"},
		{"GET", "/v1/capture?drops&dir=out", "", 422, "", "dir out: a frame that was dropped did not leave"},
		{"GET", "/v1/capture?prot=tap0", "", 400, "prot", `unknown parameter "prot" (did you mean "port"?)`},
		{"GET", "/v1/capture", `{"vni":42}`, 400, "", "GET /v1/capture takes no body"},
		{"POST", "/v1/capture", "{}", 405, "", "/v1/capture does not take POST: expected GET"},
		{"POST", "/v1/fdb", "", 400, "", "the body is empty"},
		{"POST", "/v1/fdb", "[]", 400, "", "the body is a JSON list: send an object"},
		{"POST", "/v1/fdb", "{", 400, "", "the body ends inside"},
		{"POST", "/v1/fdb", "{} {}", 400, "", "the body goes on"},
		{"POST", "/v1/fdb", "nonsense", 400, "", "the body is not JSON"},
		{"POST", "/v1/fdb", `{"mac":"02:00:00:00:00:01","vnii":42}`, 400, "vnii", `unknown key "vnii" (did you mean "vni"?)`},
		{"POST", "/v1/vnis", `{"vni":44,"peer-policy":"learn"}`, 400, "peer-policy", `unknown key "peer-policy" (did you mean "peer_policy"?)`},
		{"POST", "/v1/fdb/flush", `{"everything":true}`, 400, "everything", `unknown key "everything": expected one of vni, mac, dst, dport, port, static, dynamic`},
		{"GET", "/v1/fdb?prot=tap0", "", 400, "prot", `unknown parameter "prot" (did you mean "port"?)`},
		{"POST", "/v1/fdb", `{"mac":"02:00:00:00:00:01","vni":"42"}`, 400, "vni", "vni: a JSON string does not fit: expected a number from 1 to 16777215"},
		{"POST", "/v1/fdb", `{"mac":"02:00:00:00:00:01","vni":-1}`, 400, "vni", "vni: a JSON number -1 does not fit: expected a number from 1 to 16777215"},
		{"POST", "/v1/fdb", `{"mac":"02:00:00:00:00:01"}`, 400, "vni", "vni is missing"},
		{"POST", "/v1/fdb", `{"vni":42}`, 400, "mac", "mac is missing"},
		{"POST", "/v1/fdb", `{"mac":"02:00:00:00:00:01","vni":42}`, 400, "dst", "neither dst nor port"},
		{"POST", "/v1/fdb", `{"mac":"02:00:00:00:00:01","vni":42,"dst":"192.0.2.2","port":"tap0"}`, 400, "port", "both dst and port"},
		{"POST", "/v1/fdb", `{"mac":"02:00:00:00:00:01","vni":42,"dst":"192.0.2.2:1","dport":2}`, 400, "dport", "dport 2 contradicts"},
		{"POST", "/v1/fdb", `{"mac":"02:00:00:00:00:01","vni":42,"dst":"192.0.2.2","state":"flood"}`, 422, "state", "state: "},
		{"POST", "/v1/fdb", `{"mac":"02:00:00:00:00:09","vni":42,"dst":"192.0.2.2"}`, 409, "mac", "02:00:00:00:00:09 is in VNI 42 already"},
		{"PUT", "/v1/fdb", `{"mac":"00:00:00:00:00:00","vni":42,"dst":"192.0.2.2"}`, 422, "mac", "the flood list is not replaced"},
		{"POST", "/v1/fdb", `{"mac":"00:00:00:00:00:00","vni":42,"port":"tap0"}`, 422, "port", "the flood list holds peers"},
		{"POST", "/v1/fdb", `{"mac":"00:00:00:00:00:00","vni":42,"dst":"192.0.2.2"}`, 409, "peers", "peer 192.0.2.2 is in VNI 42 already"},
		{"DELETE", "/v1/fdb/42/00:00:00:00:00:00", "", 422, "dst", "the all-zero MAC stands for every peer"},
		{"POST", "/v1/fdb/flush", `null`, 400, "", "the body is a JSON null: send an object"},
		{"POST", "/v1/fdb/flush", `{"vni":null}`, 400, "vni", "vni: null is no value of it"},
		{"POST", "/v1/fdb/flush", `{"VNI":42}`, 400, "VNI", `unknown key "VNI"`},
		{"POST", "/v1/fdb/flush", `{"vni":42,"vni":43}`, 400, "vni", "vni is given twice"},
		{"POST", "/v1/fdb/flush", `{"vni":42`, 400, "", "the body ends inside"},
		{"POST", "/v1/vnis", `{"vni":44,"ageing":{}}`, 400, "ageing", "ageing: a JSON object does not fit: expected a number, a string"},
		{"POST", "/v1/batch", `{}`, 400, "", "the body is a JSON object: send a list"},
		{"POST", "/v1/batch", `[{"method":"GET","path":"/v1/vnis"}]`, 400, "path", `GET "/v1/vnis" is no part of a batch`},
		{"POST", "/v1/batch", `[{"path":"/v1/vnis","body":{"vni":50}}]`, 400, "method", "method is missing"},
		{"POST", "/v1/batch", `[null]`, 400, "", "the request is a JSON null: send an object"},
		{"POST", "/v1/batch", `[{"method":"POST","path":"/v1/vnis","body":[]}]`, 400, "", "the body is a JSON list: send an object"},
		{"POST", "/v1/fdb", `{"mac":"02:00:00:00:00:01","vni":42,"dst":"192.0.2.2","dport":0}`, 422, "dport", "dport: 0 is out of range: expected a number from 1 to 65535"},
		{"POST", "/v1/peers", `{"peer":"192.0.2.9","vni":42,"dport":0}`, 422, "dport", "dport: 0 is out of range"},
		{"POST", "/v1/vnis", `{"vni":0}`, 422, "vni", "vni: 0 is out of range: expected a number from 1 to 16777215"},
		{"PATCH", "/v1/vnis/42", `{"vni":0}`, 422, "vni", "vni: 0 is out of range"},
		{"POST", "/v1/ports", `{"port":"tap9","vni":43,"addresses":["fe80::1%eth0/64"]}`, 422, "addresses", `addresses: "fe80::1%eth0/64" is not an address with prefix length`},
		{"POST", "/v1/batch", `[`, 400, "", "the body ends inside"},
		{"POST", "/v1/ports", `{"port":"tap9","trunk":[10,"x"]}`, 422, "trunk", "trunk: "},
		{"POST", "/v1/ports", `{"port":"tap9","trunk":[10,null]}`, 400, "trunk", "trunk: element 2 of the list is null: write a number or a string, or leave it away"},
		{"PATCH", "/v1/ports/tap0", `{"trunk":[10,true]}`, 400, "trunk", "trunk: element 2 of the list is a boolean: write a number or a string"},
		{"PATCH", "/v1/ports/tap0", `{"trunk":[-1]}`, 400, "trunk", "trunk: element 1 of the list is a negative number: write a number or a string"},
		{"PATCH", "/v1/ports/tap0", `{"trunk":[[]]}`, 400, "trunk", "trunk: element 1 of the list is a list: write a number or a string"},
		{"PATCH", "/v1/ports/tap0", `{"trunk":[]}`, 422, "trunk", "trunk: an empty list: name its VLANs, or write vni or access, which takes the place of trunk"},
		{"PATCH", "/v1/ports/tap0", `{"trunk":null}`, 422, "trunk", "trunk: it has no default: write vni, access or trunk, each of which takes the place of another"},
		{"PATCH", "/v1/ports/tap0", `{"vni":null}`, 422, "vni", "vni: it has no default"},
		{"PATCH", "/v1/ports/tap0", `{"access":"default"}`, 422, "access", "access: it has no default"},
		{"PATCH", "/v1/ports/tap0", `{"vni":[43]}`, 400, "vni", "vni: a JSON list does not fit: write one value"},
		{"PATCH", "/v1/ports/tap0", `{"netns":["blue"]}`, 400, "netns", "netns: a JSON list does not fit: write one value"},
		{"PATCH", "/v1/ports/tap0", `{"mtu":[]}`, 400, "mtu", "mtu: a JSON list does not fit"},
		{"PATCH", "/v1/ports/tap0", `{"mtu":{}}`, 400, "mtu", "mtu: a JSON object does not fit: expected a number, a string, true, false or null"},
		{"PATCH", "/v1/ports/tap0", `{"addresses":[null]}`, 400, "addresses", "addresses: element 1 of the list is null: write a string, or leave it away"},
		{"PATCH", "/v1/vnis/42", `{"group":[]}`, 400, "group", "group: a JSON list does not fit: write one value"},
		{"PATCH", "/v1/vnis/42", `{"peers":[null]}`, 400, "peers", "peers: element 1 of the list is null: write a string, or leave it away"},
		{"PATCH", "/v1/vnis/42", `{"peers":["192.0.2.9",5]}`, 400, "peers", "peers: element 2 of the list is a number: write a string"},
		{"PATCH", "/v1/vnis/42", `{"allow":[{}]}`, 400, "allow", "allow: element 1 of the list is an object: write a string"},
		{"PATCH", "/v1/vnis/42", `{"allow":["127.0.0.0/8"]}`, 422, "allow", `allow: "127.0.0.0/8" holds loopback addresses`},
		{"PATCH", "/v1/vnis/42", `{"peers":{}}`, 400, "peers", "peers: a JSON object does not fit: expected a list"},
		{"POST", "/v1/vnis", `{"vni":[50]}`, 400, "vni", "vni: a JSON list does not fit: expected a number from 1 to 16777215"},
		{"POST", "/v1/vnis", `{"vni":true}`, 400, "vni", "vni: a JSON boolean does not fit"},
		{"POST", "/v1/vnis", `{"vni":null}`, 400, "vni", "vni: null is no value of it: give it one, or leave the key away"},
		{"POST", "/v1/fdb/flush", `{"vni":0}`, 422, "vni", "vni: 0 is out of range"},
		{"POST", "/v1/fdb/flush", `{"dport":3}`, 400, "dport", "dport without dst"},
		{"POST", "/v1/fdb/flush", `{"port":""}`, 400, "port", "port is missing"},
		{"POST", "/v1/fdb/flush", `{"port":"nope"}`, 404, "port", "port nope does not exist"},
		{"POST", "/v1/vnis", `{"vni":42}`, 409, "vni", "VNI 42 exists already"},
		{"POST", "/v1/vnis", `{"vni":16777216}`, 422, "vni", "vni: 16777216 is out of range"},
		{"POST", "/v1/vnis", `{"vni":44,"group":"192.0.2.9"}`, 422, "group", "group: \"192.0.2.9\" is no multicast group"},
		{"POST", "/v1/vnis", `{"vni":44,"group":"ff05::1:3"}`, 422, "group", "group ff05::1:3 is IPv6, but local 192.0.2.1 is IPv4"},
		{"POST", "/v1/vnis", `{"vni":44,"peer_policy":"all"}`, 422, "peer_policy", "peer-policy: "},
		{"POST", "/v1/vnis", `{"vni":44,"ageing":-1}`, 422, "ageing", "ageing: "},
		{"POST", "/v1/vnis", `{"vni":44,"ageing":""}`, 400, "ageing", "ageing: an empty string is no value"},
		{"POST", "/v1/vnis", `{"vni":44,"peers":["192.0.2.9",""]}`, 400, "peers", "peers: element 2 of the list is an empty string: write a string, or leave it away"},
		{"POST", "/v1/vnis", `{"vni":44,"peers":["192.0.2.9","192.0.2.9"]}`, 409, "peers", "peer 192.0.2.9 is listed twice"},
		{"POST", "/v1/vnis", `{"vni":44,"udp6_zero_checksum":"rx"}`, 422, "udp6_zero_checksum", "udp6-zero-checksum rx: receiving"},
		{"PATCH", "/v1/vnis/42", `{"vni":43}`, 400, "vni", "a VNI cannot become another"},
		{"PATCH", "/v1/vnis/77", `{}`, 404, "vni", "VNI 77 does not exist"},
		{"DELETE", "/v1/vnis/42", "", 409, "vni", "VNI 42 is in use by port tap0"},
		{"DELETE", "/v1/vnis/42?force=1", "", 400, "force", `unknown parameter "force"`},
		{"POST", "/v1/ports", `{"port":"tap9"}`, 422, "port", "port tap9 belongs nowhere"},
		{"POST", "/v1/ports", `{"port":"tap9","vni":0}`, 422, "vni", "vni: 0 is out of range"},
		{"POST", "/v1/ports", `{"port":"tap9","vni":43,"type":"bridge"}`, 422, "type", "type: \"bridge\" is not a port type: use tap"},
		{"POST", "/v1/ports", `{"port":"tap9","vni":43,"type":"netdev","netns":"blue"}`, 422, "netns", "port tap9: netns goes with types tap and veth"},
		{"POST", "/v1/ports", `{"port":"tap9","vni":43,"type":"veth"}`, 422, "port", "port tap9: a veth needs netns"},
		{"POST", "/v1/ports", `{"port":"tap9","vni":43,"access":10}`, 422, "access", "port tap9 has both vni and access"},
		{"POST", "/v1/ports", `{"port":"tap9","vni":99}`, 404, "vni", "port tap9 names undeclared VNI 99"},
		{"POST", "/v1/ports", `{"port":"../x","vni":43}`, 422, "port", "port: "},
		{"POST", "/v1/ports", `{"port":"tap0","vni":43}`, 409, "port", "port tap0 exists already"},
		{"PATCH", "/v1/ports/tap0", `{"port":"tap9"}`, 400, "port", "a port cannot be renamed"},
		{"PATCH", "/v1/ports/tap0", `{"addresses":"198.51.100.1/24"}`, 400, "addresses", "addresses: a JSON string does not fit: expected a list"},
		{"PATCH", "/v1/ports/tap0", `{"port":5}`, 400, "port", "port: a JSON number does not fit: expected a string"},
		{"POST", "/v1/fdb/flush", `{"static":"yes"}`, 400, "static", "static: a JSON string does not fit: expected true or false"},
		{"PATCH", "/v1/ports/tap9", `{}`, 404, "port", "port tap9 does not exist"},
		{"PATCH", "/v1/ports/tap0", `{"native":10}`, 422, "native", "port tap0: native goes with trunk only"},
		{"DELETE", "/v1/ports/tap9", "", 404, "port", "port tap9 does not exist"},
		{"POST", "/v1/peers", `{"peer":"192.0.2.2"}`, 400, "vni", "vni is missing"},
		{"POST", "/v1/peers", `{"peer":"ff02::1","vni":42}`, 422, "group", "group ff02::1 is all hosts"},
		{"POST", "/v1/peers", `{"vni":42}`, 400, "peer", "peer is missing"},
		{"POST", "/v1/peers", `{"peer":"192.0.2.1","vni":42}`, 422, "peers", "peer 192.0.2.1 is this host itself"},
		{"DELETE", "/v1/peers/192.0.2.99", "", 404, "peers", "peer 192.0.2.99 is on the flood list of no VNI"},
		{"DELETE", "/v1/peers/x", "", 422, "peer", "peer: "},
		{"GET", "/v1/peers?peer=192.0.2.99", "", 404, "peer", "peer 192.0.2.99 is not known"},
		{"POST", "/v1/vlans", `{"vid":10,"vni":1}`, 409, "vid", "VLAN 10 exists already"},
		{"POST", "/v1/vlans", `{"vid":4095,"vni":1}`, 422, "vid", "vid: 4095 is out of range"},
		{"POST", "/v1/vlans", `{"vid":"11","vni":1}`, 400, "vid", "vid: a JSON string does not fit: expected a number from 1 to 4094"},
		{"POST", "/v1/vlans", `{"vid":11,"vni":1.5}`, 400, "vni", "vni: a JSON number 1.5 does not fit: expected a number from 1 to 16777215"},
		{"POST", "/v1/peers", `{"peer":"192.0.2.9","vni":42,"dport":70000}`, 400, "dport", "dport: a JSON number 70000 does not fit: expected a number from 1 to 65535"},
		{"DELETE", "/v1/vlans/10", "", 409, "vid", "VLAN 10 is in use by port tap1"},
		{"DELETE", "/v1/vlans/11", "", 404, "vid", "VLAN 11 does not exist"},
		{"GET", "/v1/stats?port=nope", "", 404, "port", "port nope does not exist"},
		{"GET", "/v1/stats?vni=77", "", 404, "vni", "VNI 77 does not exist"},
		{"GET", "/v1/events?objects=", "", 400, "objects", "parameter objects is empty: give it a value or leave it away"},
		{"GET", "/v1/fdb?dst=", "", 400, "dst", "parameter dst is empty"},
		{"GET", "/v1/fdb?vni=", "", 422, "vni", "vni: "},
		{"DELETE", "/v1/fdb/42/02:00:00:00:00:01?dst=", "", 400, "dst", "parameter dst is empty"},
		{"GET", "/v1/peers?peer=", "", 400, "peer", "parameter peer is empty"},
		{"GET", "/v1/events?objects=fdb,prot", "", 422, "objects", `objects: "prot" is not one of fdb, port, peer, vni, underlay (did you mean "port"?)`},
	} {
		before := sw.State()
		w := call(h, r.method, r.path, r.body)
		var e api.Error
		d := json.NewDecoder(w.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			t.Errorf("%s %s %s: the answer is no error: %v", r.method, r.path, r.body, err)
			continue
		}
		if w.Code != r.status || e.Field != r.field || !strings.HasPrefix(e.Message, r.message) {
			t.Errorf("%s %s %s\ngot  %d %q %q\nwant %d %q %q", r.method, r.path, r.body, w.Code, e.Field, e.Message, r.status, r.field, r.message)
		}
		if w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: content type %q", r.method, r.path, w.Header().Get("Content-Type"))
		}
		if ops := sw.Ops(); len(ops) > 0 || sw.State() != before {
			t.Errorf("%s %s %s: refused, and yet %v", r.method, r.path, r.body, ops)
		}
	}
}

func TestBodyTooBig(t *testing.T) {
	c, _ := start(t, baseFile)
	w := call(Handler(c), "POST", "/v1/vnis", `{"vni":44,"peers":["`+strings.Repeat("x", maxBody)+`"]}`)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d: %.200s", w.Code, w.Body)
	}
}

// TestRoundTrip: what GET tells of a VNI and a port may be sent back where it says the same.
func TestRoundTrip(t *testing.T) {
	c, sw := start(t, baseFile)
	h := Handler(c)
	var v map[string]any
	if err := json.Unmarshal(call(h, "GET", "/v1/vnis/43", "").Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"macs", "vlans", "stats", "fastpath"} {
		delete(v, k)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if w := call(h, "PATCH", "/v1/vnis/43", string(b)); w.Code != http.StatusNoContent {
		t.Errorf("VNI: %d %s", w.Code, w.Body)
	}
	if ops := sw.Ops(); len(ops) > 0 {
		t.Errorf("saying what is did %v", ops)
	}
	if w := call(h, "PATCH", "/v1/vnis/43", `{"ageing":null,"learning":false,"ttl":"inherit","allow":["203.0.113.0/24"]}`); w.Code != http.StatusNoContent {
		t.Errorf("VNI: %d %s", w.Code, w.Body)
	}
	got := c.Model().VNIConfig(43)
	if got.Ageing != 300*time.Second || got.Learning || !got.Header.InheritTTL || len(got.Allow) != 1 {
		t.Errorf("VNI 43: %+v", got)
	}
	for _, none := range []string{"null", `"default"`, "[]"} {
		call(h, "PATCH", "/v1/vnis/43", `{"allow":["203.0.113.0/24"],"peers":["192.0.2.9"]}`)
		call(h, "PATCH", "/v1/ports/tap0", `{"addresses":["198.51.100.1/24"]}`)
		for path, body := range map[string]string{"/v1/vnis/43": `{"allow":` + none + `,"peers":` + none + `}`, "/v1/ports/tap0": `{"addresses":` + none + `}`} {
			if w := call(h, "PATCH", path, body); w.Code != http.StatusNoContent {
				t.Errorf("%s %s: %d %s", path, body, w.Code, w.Body)
			}
		}
		if v, p := c.Model().VNIConfig(43), c.Model().PortConfig("tap0"); len(v.Allow)+len(v.Peers)+len(p.Addresses) > 0 {
			t.Errorf("%s: %+v, %+v", none, v, p)
		}
	}
	if w := call(h, "POST", "/v1/ports", `{"port":"tap9","trunk":[10,"20"]}`); w.Code != http.StatusCreated || len(c.Model().Ports.At("tap9").Trunk) != 2 {
		t.Errorf("trunk as a list: %d %s", w.Code, w.Body)
	}
}

// TestEventsStream reads events over a real connection: the filter, the loss that is always told, and the end on either side.
func TestEventsStream(t *testing.T) {
	c, sw := start(t, baseFile)
	server := httptest.NewServer(Handler(c))
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/v1/events?objects=port", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("content type %q", got)
	}
	// The answer has begun, so the subscription stands: nothing sent from here on is missed.
	sw.Send(dataplane.Event{Time: ctltest.Time, Object: "vni", Action: "add", VNI: 1})
	sw.Send(dataplane.Event{Time: ctltest.Time, Object: "port", Action: "add", Port: "tap0"})
	sw.Send(dataplane.Event{Time: ctltest.Time, Object: "fdb", Action: "lost", Count: 3})
	in := bufio.NewReader(resp.Body)
	for _, want := range []string{
		`{"time":"2026-01-02T03:04:05.678Z","object":"port","action":"add","port":"tap0"}`,
		`{"time":"2026-01-02T03:04:05.678Z","object":"fdb","action":"lost","count":3}`,
	} {
		line, err := in.ReadString('\n')
		if err != nil || strings.TrimSpace(line) != want {
			t.Errorf("got %s%v\nwant %s", line, err, want)
		}
	}
	cancel()
	for i := 0; sw.Subscribers() > 0; i++ {
		if i == 500 {
			t.Fatal("the subscription outlives its reader")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestStreamsAreBounded: one stream too many is refused, and there is room again when one ends.
func TestStreamsAreBounded(t *testing.T) {
	c, sw := start(t, baseFile)
	server := httptest.NewServer(Handler(c))
	defer server.Close()
	var open []*http.Response
	get := func() *http.Response {
		resp, err := http.Get(server.URL + "/v1/events")
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	for range maxStreams {
		open = append(open, get())
	}
	resp := get()
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(b), "64 event streams are open already") {
		t.Errorf("stream %d: %d %s", maxStreams+1, resp.StatusCode, b)
	}
	for _, r := range open {
		r.Body.Close()
	}
	for i := 0; sw.Subscribers() > 0; i++ {
		if i == 500 {
			t.Fatal("subscriptions outlive their readers")
		}
		time.Sleep(10 * time.Millisecond)
	}
	resp = get()
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("after the others ended: %d", resp.StatusCode)
	}
}

// TestConcurrentCommands: commands from many clients at once leave switch and model the same.
func TestConcurrentCommands(t *testing.T) {
	c, sw := start(t, baseFile)
	h := Handler(c)
	done := make(chan struct{})
	for worker := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 50 {
				vni := 1000 + (worker+i)%5
				call(h, "POST", "/v1/vnis", fmt.Sprintf(`{"vni":%d,"peers":["192.0.2.%d"]}`, vni, 10+worker))
				call(h, "POST", "/v1/ports", fmt.Sprintf(`{"port":"p%d","vni":%d}`, worker, vni))
				call(h, "POST", "/v1/fdb", fmt.Sprintf(`{"mac":"02:00:00:00:01:%02x","vni":%d,"port":"p%d"}`, i, vni, worker))
				call(h, "GET", "/v1/fdb", "")
				call(h, "PATCH", fmt.Sprintf("/v1/ports/p%d", worker), fmt.Sprintf(`{"vni":%d}`, 1000+i%5))
				call(h, "DELETE", fmt.Sprintf("/v1/ports/p%d", worker), "")
				call(h, "DELETE", fmt.Sprintf("/v1/vnis/%d", vni), "")
			}
		}()
	}
	for range 4 {
		<-done
	}
	fresh := ctltest.New(sw.Config)
	if _, err := New(context.Background(), fresh, c.Model(), nil); err != nil {
		t.Fatal(err)
	}
	if got, want := sw.State(), fresh.State(); got != want {
		t.Errorf("switch and model differ:\n%s\n%s", got, want)
	}
}

// FuzzBodies: no body brings the API down; a refusal is JSON with a reason, and has changed nothing; what is accepted keeps switch and model the same.
func FuzzBodies(f *testing.F) {
	requests := []string{"POST /v1/fdb", "PUT /v1/fdb", "POST /v1/fdb/flush", "POST /v1/vnis", "PATCH /v1/vnis/42", "POST /v1/ports", "PATCH /v1/ports/tap2", "POST /v1/peers", "POST /v1/vlans", "POST /v1/batch"}
	f.Add(uint8(0), []byte(`{"mac":"02:00:00:00:00:01","vni":42,"dst":"192.0.2.9","dport":4790,"state":"sticky"}`))
	f.Add(uint8(1), []byte(`{"mac":"02:00:00:00:00:09","vni":42,"port":"tap0","state":"dynamic"}`))
	f.Add(uint8(2), []byte(`{"vni":42,"static":true,"dst":"192.0.2.2"}`))
	f.Add(uint8(3), []byte(`{"vni":44,"peers":["192.0.2.9"],"ageing":"60s","learning":false,"ttl":"inherit","max_macs":5,"allow":["203.0.113.0/24"]}`))
	f.Add(uint8(4), []byte(`{"ageing":300,"dscp":null,"peers":[]}`))
	f.Add(uint8(5), []byte(`{"port":"tap9","trunk":"10,20","native":10,"mtu":1400,"mac":"02:00:00:00:00:77","addresses":["198.51.100.1/24"]}`))
	f.Add(uint8(6), []byte(`{"native":null,"netns":"blue"}`))
	f.Add(uint8(7), []byte(`{"peer":"192.0.2.7","vni":10020}`))
	f.Add(uint8(8), []byte(`{"vid":30,"vni":10030}`))
	f.Add(uint8(9), []byte(`[{"method":"POST","path":"/v1/vnis","body":{"vni":50}},{"method":"DELETE","path":"/v1/fdb/42/02:00:00:00:00:09"},{"method":"GET","path":"/v1/fdb"}]`))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		c, sw := start(t, baseFile)
		before := sw.State()
		method, path, _ := strings.Cut(requests[int(which)%len(requests)], " ")
		w := call(Handler(c), method, path, string(body))
		if w.Code >= 300 {
			var e api.Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Message == "" {
				t.Fatalf("%s %s %q: %d without a reason: %s", method, path, body, w.Code, w.Body)
			}
			if w.Code == http.StatusInternalServerError {
				t.Fatalf("%s %s %q: %d %s", method, path, body, w.Code, w.Body)
			}
			if sw.State() != before {
				t.Fatalf("%s %s %q: refused, and yet something changed", method, path, body)
			}
			return
		}
		if err := c.Model().Check(); err != nil {
			t.Fatalf("%s %s %q: accepted, but %v", method, path, body, err)
		}
		fresh := ctltest.New(sw.Config)
		if _, err := New(context.Background(), fresh, c.Model(), nil); err != nil {
			t.Fatal(err)
		}
		dynamic := slices.ContainsFunc(sw.FDBDump(dataplane.FDBFilter{Dynamic: true}), func(e dataplane.FDBEntry) bool { return !e.Flood })
		if !dynamic && fresh.State() != sw.State() {
			t.Fatalf("%s %s %q: switch and model differ", method, path, body)
		}
	})
}
