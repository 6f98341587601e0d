package dataplane

// diff tells of every VNI whose domain is not the same in the tree next: what it was and what it is, nil where there is none. What the two trees share is not
// looked into, so that it costs what a change costs.
func (t vniTree) diff(next vniTree, yield func(was, is *domain)) {
	if t.root == next.root {
		return
	}
	var none2 vniNode2
	a2, b2 := &none2, &none2
	if t.root != nil {
		a2 = t.root
	}
	if next.root != nil {
		b2 = next.root
	}
	for i := range a2 {
		if a2[i] == b2[i] {
			continue
		}
		var none1 vniNode1
		a1, b1 := &none1, &none1
		if a2[i] != nil {
			a1 = a2[i]
		}
		if b2[i] != nil {
			b1 = b2[i]
		}
		for j := range a1 {
			if a1[j] == b1[j] {
				continue
			}
			var none0 vniNode0
			a0, b0 := &none0, &none0
			if a1[j] != nil {
				a0 = a1[j]
			}
			if b1[j] != nil {
				b0 = b1[j]
			}
			for k := range a0 {
				if a0[k] != b0[k] {
					yield(a0[k], b0[k])
				}
			}
		}
	}
}
