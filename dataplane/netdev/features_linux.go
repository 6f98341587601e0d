package netdev

import "vtepd/dataplane/ethtool"

// switchFeatures switches features of an interface of the calling thread's namespace, by the names that `ethtool -k` shows. It gives what had to be
// changed, as it was before. Names that the kernel does not know and features that are fixed are left out.
func switchFeatures(ifname string, want map[string]bool) (before map[string]bool, err error) {
	d, err := ethtool.Open(ifname)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	now, err := d.Features()
	if err != nil {
		return nil, err
	}
	before, change := make(map[string]bool), make(map[string]bool)
	for name, on := range want {
		if f, known := now[name]; known && !f.Fixed && f.On != on {
			before[name], change[name] = f.On, on
		}
	}
	if len(change) == 0 {
		return nil, nil
	}
	if err := d.SetFeatures(change); err != nil {
		return nil, err
	}
	return before, nil
}
