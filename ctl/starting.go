package ctl

import "vtepd/dataplane"

// starting is a Switch for the start. A host boots in whatever order it likes, and one workload that is not there must not keep all the others from theirs;
// later somebody reads the answer, and a namespace that is not there is most likely a slip.
type starting struct{ Switch }

func (s starting) AddPort(c dataplane.PortConfig) error { return s.AwaitPort(c) }
