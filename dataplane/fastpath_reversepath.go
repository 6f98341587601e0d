package dataplane

import "fmt"

// strictReversePath is the value of net.ipv4.conf.*.rp_filter for RFC 3704 section 2.2 (ip-sysctl.rst).
const strictReversePath = 1

// isStrict says whether the kernel's reverse path filter drops what comes by an interface from an IPv4 address that it would answer by another.
func (m *mirror) isStrict(ifindex int) bool {
	return m.s.config.localOf(0).IsValid() && m.routes.link(ifindex).reversePath == strictReversePath
}

// reversePathFilter is the filter's setting for an interface of the calling thread's namespace: the greater of the two counts.
func reversePathFilter(ifname string) int {
	all, _ := sysctl("net/ipv4/conf/all/rp_filter")
	own, _ := sysctl("net/ipv4/conf/" + ifname + "/rp_filter")
	return max(all, own)
}

// reversePath says why datagrams from an interface are left to the kernel, nil when they are not. The programs ask nobody whether a peer would be answered by the
// interface that it comes by. Where all are, it would.
func (m *mirror) reversePath(ifindex int) error {
	others := len(m.ways4)
	if m.ways4[ifindex] {
		others--
	}
	if others == 0 && !m.elsewhere4 || !m.isStrict(ifindex) {
		return nil
	}
	return fmt.Errorf("its reverse path filter is strict, and not all peers are reached by it: the kernel is left to judge; `sysctl -w net/ipv4/conf/%s/rp_filter=2` makes it loose", m.routes.link(ifindex).name)
}
