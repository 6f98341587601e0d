package tap

// Handle is what the i-th worker writes to: its own queue, or, where the device
// has fewer queues than there are workers, one more Queue on a descriptor it
// shares. The kernel takes writes from several threads on one descriptor; the
// Queue around it is for one.
func (d *Device) Handle(i int) *Queue {
	if i < len(d.queues) {
		return d.queues[i]
	}
	shared := d.queues[i%len(d.queues)]
	return newQueue(shared.fd, shared.vnet)
}
