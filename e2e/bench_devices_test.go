package e2e

import "testing"

// BenchmarkDevices measures what promises there are for devices, agents and sockets that stay, with a real Envoy. A
// figure that is worse than promised fails its row.
func BenchmarkDevices(b *testing.B) {
	for _, row := range []struct {
		name string
		run  func(b *testing.B)
	}{
		{"idle", benchmarkIdle},
		{"even", benchmarkEven},
		{"storm", benchmarkReconnects},
		{"ids", benchmarkIDs},
		{"websockets", benchmarkSockets},
		{"handshakes", benchmarkHandshakes},
	} {
		b.Run(row.name, func(b *testing.B) {
			if b.N != 1 {
				b.Fatal("each row is one measurement: use -benchtime 1x")
			}
			row.run(b)
			b.ReportMetric(0, "ns/op")
		})
	}
}
