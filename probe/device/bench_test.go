package device

import "testing"

// BenchmarkProbe is what all steps of a device cost, with those of the servers and the agent in this process.
func BenchmarkProbe(b *testing.B) {
	w := newWorld(b)
	w.start()
	b.ReportAllocs()
	for b.Loop() {
		if r := w.probe(); !r.OK {
			b.Fatal(r.Reason)
		}
	}
}
