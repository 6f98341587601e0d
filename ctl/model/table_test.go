package model

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"vtepd/fdb"
)

// FuzzTable holds a family of tables against maps: a table and the one that it was copied from never see each other's changes, and Since tells exactly
// what differs.
func FuzzTable(f *testing.F) {
	f.Add([]byte{1, 1, 2, 1, 3, 0, 1, 2, 2, 4, 9})
	f.Add([]byte("put and delete, clone, put, clone again and delete"))
	f.Fuzz(func(t *testing.T, program []byte) {
		type pair struct {
			table Table[StaticKey, Static]
			want  map[StaticKey]Static
		}
		now := pair{want: map[StaticKey]Static{}}
		var past []pair
		for i := 0; i+1 < len(program); i += 2 {
			op, arg := program[i], program[i+1]
			k := StaticKey{VNI: uint32(arg >> 6), MAC: fdb.MAC(0x020000000000 + uint64(arg&63)*0x10001)}
			switch op % 4 {
			case 0, 1:
				s := Static{Port: fmt.Sprint(op), State: fdb.Static}
				now.table.Put(k, s)
				now.want[k] = s
			case 2:
				now.table.Delete(k)
				delete(now.want, k)
			case 3:
				past = append(past, now)
				now = pair{now.table.clone(), maps.Clone(now.want)}
			}
		}
		for i, p := range append(past, now) {
			if got := maps.Collect(p.table.All()); !maps.Equal(got, p.want) || p.table.Len() != len(p.want) || len(slices.Collect(p.table.Keys())) != len(p.want) {
				t.Fatalf("copy %d holds %v (%d), want %v", i, got, p.table.Len(), p.want)
			}
			var want []StaticKey
			for k, s := range now.want {
				if o, ok := p.want[k]; !ok || o != s {
					want = append(want, k)
				}
			}
			for k := range p.want {
				if _, ok := now.want[k]; !ok {
					want = append(want, k)
				}
			}
			slices.SortFunc(want, CompareStatics)
			if got := slices.SortedFunc(slices.Values(now.table.Since(&p.table)), CompareStatics); !slices.Equal(got, want) {
				t.Fatalf("since copy %d: %v, want %v", i, got, want)
			}
		}
	})
}

// TestFullLeaves: tables whose leaves hold several values each tell what differs, whatever came, went and came back at another place of its leaf.
func TestFullLeaves(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	const keys = 40_000
	old := Table[int, int]{}
	want := map[int]int{}
	for k := range keys {
		old.Put(k, 0)
		want[k] = 0
	}
	for range 30 {
		next, differ := old.clone(), map[int]bool{}
		before := maps.Clone(want)
		for range rng.IntN(20_000) {
			k := rng.IntN(2 * keys)
			differ[k] = true
			if rng.IntN(2) == 0 {
				next.Delete(k)
				delete(want, k)
			} else {
				v := rng.IntN(2)
				next.Put(k, v)
				want[k] = v
			}
		}
		if got := maps.Collect(next.All()); !maps.Equal(got, want) || next.Len() != len(want) {
			t.Fatalf("%d of %d values are right", next.Len(), len(want))
		}
		if got := maps.Collect(old.All()); !maps.Equal(got, before) {
			t.Fatal("the table that was copied has changed")
		}
		for k := range differ {
			v, has := want[k]
			w, had := before[k]
			if got := next.At(k); got != v || next.Has(k) != has {
				t.Fatalf("%d is %d, %t, want %d, %t", k, got, next.Has(k), v, has)
			}
			if has == had && v == w {
				delete(differ, k)
			}
		}
		for _, pair := range [][2]*Table[int, int]{{&next, &old}, {&old, &next}} {
			if got, want := slices.Sorted(slices.Values(pair[0].Since(pair[1]))), slices.Sorted(maps.Keys(differ)); !slices.Equal(got, want) {
				t.Fatalf("%d keys differ, want %d", len(got), len(want))
			}
		}
		old = next
	}
}

// TestCounts: what the tables of VNIs and VLANs count is what is in them, whatever came and went, and in copies as well.
func TestCounts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	old := New()
	for range 5000 {
		next := old.Clone()
		for range rng.IntN(4) {
			randomEdit(rng, next)
		}
		next.NormalizeSince(next.Since(old))
		for _, m := range []*Model{old, next} {
			mentions, names := map[netip.AddrPort]int{}, map[uint32]int{}
			for _, v := range m.VNIs.All() {
				for _, p := range v.Peers {
					mentions[p]++
				}
			}
			for _, n := range m.VLANs.All() {
				names[n]++
			}
			if got := maps.Collect(m.VNIs.mentions.All()); !maps.Equal(got, mentions) || m.VNIs.Peers() != len(mentions) {
				t.Fatalf("peers %v, want %v", got, mentions)
			}
			if got := maps.Collect(m.VLANs.names.All()); !maps.Equal(got, names) {
				t.Fatalf("names %v, want %v", got, names)
			}
		}
		if rng.IntN(50) > 0 {
			old = next
		}
	}
}

// TestCameAndWent: a table is not larger for what has been in it.
func TestCameAndWent(t *testing.T) {
	var table Table[uint32, int]
	for n := range uint32(20_000) {
		table.Put(n, 1)
	}
	for n := range uint32(20_000) {
		table.Delete(n)
	}
	for _, node := range table.root.nodes {
		for _, leaf := range node.leaves {
			if leaf != nil {
				t.Fatalf("a leaf of %d values is left", len(leaf.keys))
			}
		}
	}
}
