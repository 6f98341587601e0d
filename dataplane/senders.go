package dataplane

import (
	"maps"
	"slices"
)

// senders are the VNIs that are not published yet as their static entries say, who decide who else may send. To publish one costs by the peers that it has, so that
// thousands of entries, each of a peer of its own, are published together: at the end of the call, or of Together. A VNI that lost a sender comes with the
// domain that was published before the first one, others with nil. Switch.mu.
type senders map[*vniRecord]*domain

// sendersGrow notes that one more may send into a VNI.
func (s *Switch) sendersGrow(r *vniRecord) {
	if _, noted := s.senders[r]; !noted {
		s.senders[r] = nil
	}
}

// sendersShrink notes that one less may. What is published meanwhile for another reason may lack it, so that the domain is kept which has it.
func (s *Switch) sendersShrink(r *vniRecord) {
	if s.senders[r] == nil {
		s.senders[r] = s.current.Load().vnis.get(r.config.VNI)
	}
}

// sendersSettle is the end of a call that changed static entries. Needs mu.
func (s *Switch) sendersSettle() {
	if s.together == 0 {
		s.sendersFollow()
	}
}

// sendersFollow publishes what was noted. It comes before peers are let go, or a worker would take another's datagrams for theirs. Needs mu.
func (s *Switch) sendersFollow() {
	if len(s.senders) == 0 {
		return
	}
	s.publishVNI(slices.Collect(maps.Keys(s.senders))...)
	for _, before := range s.senders {
		s.forgetRefused(before)
	}
	clear(s.senders)
}
