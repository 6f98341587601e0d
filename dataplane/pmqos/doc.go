// Package pmqos asks the kernel to have its CPUs quick to wake up (Documentation/power/pm_qos_interface.rst).
//
// A CPU with nothing to do sleeps, the deeper the longer to wake it up: on a virtual machine it is given back to the host, and on a machine with deep C-states
// its caches are switched off. An answer that comes tens of microseconds later waits longer for its CPU than it took. Whoever has /dev/cpu_dma_latency open
// says how long a wake-up may take; it holds for all CPUs, and ends with the process.
//
// It knows nothing of frames, nor of when that pays.
package pmqos
