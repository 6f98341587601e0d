package dataplane

import (
	"testing"
	"time"

	"vtepd/bench/lab"
)

// A subscriber that was too slow is told how many events it lost, in their place, be there another event or not.
func TestEventsLost(t *testing.T) {
	t.Parallel()
	next := func(events <-chan Event) Event {
		t.Helper()
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatal("the stream ended")
			}
			return e
		case <-time.After(lab.Patience):
			t.Fatal("no event came")
		}
		return Event{}
	}
	expect := func(events <-chan Event, wanted ...Event) {
		t.Helper()
		for i, want := range wanted {
			e := next(events)
			if e.Time = (time.Time{}); e != want {
				t.Errorf("event %d is %+v, want %+v", i, e, want)
			}
		}
	}
	var s Switch
	defer s.hub.close()
	slow, end := s.Subscribe(2)
	defer end()
	quick, endQuick := s.Subscribe(100)
	defer endQuick()
	for vni := range uint32(7) {
		s.event(Event{Object: "vni", Action: "add", VNI: vni})
	}
	expect(slow, Event{Object: "vni", Action: "add", VNI: 0}, Event{Object: "vni", Action: "add", VNI: 1}, Event{Object: "vni", Action: "lost", Count: 5})
	for vni := range uint32(7) {
		expect(quick, Event{Object: "vni", Action: "add", VNI: vni})
	}
	// It is told once, and what comes later comes as ever.
	time.Sleep(3 * lostAgain)
	s.event(Event{Object: "port", Action: "up", Port: "tap0"})
	expect(slow, Event{Object: "port", Action: "up", Port: "tap0"})
	expect(quick, Event{Object: "port", Action: "up", Port: "tap0"})

	// With another event the news comes before that one, at once.
	for range 5 {
		s.event(Event{Object: "fdb", Action: "flush"})
	}
	expect(slow, Event{Object: "fdb", Action: "flush"}, Event{Object: "fdb", Action: "flush"})
	s.event(Event{Object: "port", Action: "down", Port: "tap0"})
	expect(slow, Event{Object: "fdb", Action: "lost", Count: 3}, Event{Object: "port", Action: "down", Port: "tap0"})

	// One that goes while it is to be told ends there.
	for range 5 {
		s.event(Event{Object: "fdb", Action: "flush"})
	}
	end()
	time.Sleep(3 * lostAgain)
}
