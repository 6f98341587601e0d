package bench

import (
	"math"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
		{nil, math.NaN()},
	} {
		if got := Median(c.values); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("Median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	values := []float64{3, 1, 2}
	Median(values)
	if values[0] != 3 {
		t.Errorf("Median reordered its argument: %v", values)
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for _, c := range []struct {
		sorted []float64
		p      float64
		want   float64
	}{
		{hundred, 0.50, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0.001, 1},
		{[]float64{7}, 0.99, 7}, {[]float64{1, 2, 3}, 0.5, 2},
	} {
		if got := Percentile(c.sorted, c.p); got != c.want {
			t.Errorf("Percentile of %d values at %v = %v, want %v", len(c.sorted), c.p, got, c.want)
		}
	}
	if got := Percentile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("Percentile of nothing = %v", got)
	}
}

func TestSpread(t *testing.T) {
	if got := Spread([]float64{9, 10, 12}); math.Abs(got-0.3) > 1e-12 {
		t.Errorf("Spread = %v, want 0.3", got)
	}
}

func TestFormatValue(t *testing.T) {
	for v, want := range map[float64]string{0.774: "0.77", 7.9: "7.90", 28.14: "28.1", 1150.4: "1150"} {
		if got := FormatValue(v); got != want {
			t.Errorf("FormatValue(%v) = %q, want %q", v, got, want)
		}
	}
	if got := FormatValue(math.NaN()); got != "–" {
		t.Errorf("FormatValue(NaN) = %q", got)
	}
}
