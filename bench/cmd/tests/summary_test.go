package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSummary(t *testing.T) {
	const events = `{"Action":"start","Package":"vtepd/a"}
{"Action":"run","Package":"vtepd/a","Test":"TestGood"}
{"Action":"output","Package":"vtepd/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"vtepd/a","Test":"TestGood","Output":"    a_test.go:3: chatter\n"}
{"Action":"pass","Package":"vtepd/a","Test":"TestGood","Elapsed":0}
{"Action":"output","Package":"vtepd/a","Test":"TestRoot","Output":"=== RUN   TestRoot\n"}
{"Action":"output","Package":"vtepd/a","Test":"TestRoot","Output":"    a_test.go:12: needs root: run it so\n"}
{"Action":"output","Package":"vtepd/a","Test":"TestRoot","Output":"--- SKIP: TestRoot (0.00s)\n"}
{"Action":"skip","Package":"vtepd/a","Test":"TestRoot","Elapsed":0}
{"Action":"output","Package":"vtepd/a","Output":"PASS\n"}
{"Action":"output","Package":"vtepd/a","Output":"ok  \tvtepd/a\t0.004s\n"}
{"Action":"pass","Package":"vtepd/a","Elapsed":0.004}
{"Action":"output","Package":"vtepd/b","Test":"TestBad","Output":"    b_test.go:5: broken\n"}
{"Action":"output","Package":"vtepd/b","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}
{"Action":"fail","Package":"vtepd/b","Test":"TestBad","Elapsed":0}
{"Action":"output","Package":"vtepd/b","Output":"FAIL\n"}
{"Action":"output","Package":"vtepd/b","Output":"panic: fell over\n"}
{"Action":"output","Package":"vtepd/b","Output":"FAIL\tvtepd/b\t0.010s\n"}
{"Action":"fail","Package":"vtepd/b","Elapsed":0.01}
{"ImportPath":"vtepd/c","Action":"build-output","Output":"c.go:1:1: syntax error\n"}
{"Action":"output","Package":"vtepd/d","Output":"?   \tvtepd/d\t[no test files]\n"}
{"Action":"skip","Package":"vtepd/d","Elapsed":0}
`
	const want = "ok  \tvtepd/a\t0.004s\n" +
		"    b_test.go:5: broken\n--- FAIL: TestBad (0.00s)\nFAIL\npanic: fell over\nFAIL\tvtepd/b\t0.010s\n" +
		"c.go:1:1: syntax error\n?   \tvtepd/d\t[no test files]\n" +
		"\nskipped, 1: needs root: run it so\n  a.TestRoot\n\n1 passed, 1 failed, 1 skipped\n"
	var out strings.Builder
	s := newSummary(&out)
	if err := s.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	s.print()
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Errorf("printed (-want +got):\n%s", d)
	}
	if err := s.read(strings.NewReader("go: cannot find main module\n")); err == nil {
		t.Error("text that is no JSON was taken")
	}
}
