package dataplane

import "testing"

// TestVNITreeKeepsNoEmptyNodes: a VNI that goes takes along what was there for it alone.
func TestVNITreeKeepsNoEmptyNodes(t *testing.T) {
	stays := &domain{vni: 0x010203}
	tree := vniTree{}.with(stays.vni, stays)
	for _, vni := range []uint32{0x010204, 0x010303, 0x020203, 1, MaxVNI} {
		d := &domain{vni: vni}
		if tree = tree.with(vni, d); tree.get(vni) != d {
			t.Fatalf("vni %#x is not found", vni)
		}
		if tree = tree.with(vni, nil); tree.get(vni) != nil {
			t.Errorf("vni %#x is there still", vni)
		}
		nodes := 0
		for _, n1 := range tree.root {
			if n1 == nil {
				continue
			}
			nodes++
			for _, n0 := range n1 {
				if n0 != nil {
					nodes++
				}
			}
		}
		if nodes != 2 || tree.get(stays.vni) != stays {
			t.Errorf("after vni %#x came and went: %d nodes, want 2; %v", vni, nodes, tree.get(stays.vni))
		}
	}
	if tree = tree.with(stays.vni, nil); *tree.root != (vniNode2{}) {
		t.Error("the last one left nodes")
	}
}
