package traffic

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Load reports are read as they come on the wire, and not made into messages. An Envoy with
// 10 000 clusters would have tens of thousands of these made every time, and one that means harm
// could have a hundred bytes taken for each that it sends. The numbers are those of fields in
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/load_stats/v3/lrs.proto and
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/endpoint/v3/load_report.proto
const (
	requestNode, requestClusters = 1, 2

	clusterName, clusterLocalities, clusterInterval = 1, 2, 4

	// Localities and endpoints have the same numbers but for these.
	statsSuccesses, statsInProgress, statsErrors = 2, 3, 4
	localityEndpoints, localityIssued            = 7, 8
	endpointAddress, endpointIssued              = 1, 7

	addressSocket, socketAddress, socketPort = 1, 2, 3

	durationSeconds, durationNanos = 1, 2
)

const (
	// maxNode is how many bytes an Envoy may say of itself, in each report. It says 50 kB.
	maxNode = 1 << 20
	// maxReported is how many clusters a report may have: twice as many as are kept, as an Envoy
	// may have some of its own.
	maxReported = 2 * maxClusters
	// maxInterval is how far back a report goes. What an Envoy counted before is taken for
	// counted in this time.
	maxInterval = time.Hour
)

// rawReport is a report as it came. A codec that knows no such messages makes it of one without
// fields, which keeps what it does not know.
type rawReport struct {
	emptypb.Empty
	buffer mem.Buffer
}

// TakeRaw takes the bytes. They are in a buffer of gRPC, to be used again.
func (r *rawReport) TakeRaw(data mem.BufferSlice) {
	r.buffer = data.MaterializeToBuffer(mem.DefaultBufferPool())
}

// Size is how many bytes were taken.
func (r *rawReport) Size() int { return len(r.bytes()) }

func (r *rawReport) bytes() []byte {
	if r.buffer == nil {
		return r.ProtoReflect().GetUnknown()
	}
	return r.buffer.ReadOnlyData()
}

// free gives the buffer back. The bytes are not to be used after that.
func (r *rawReport) free() {
	if r.buffer != nil {
		r.buffer.Free()
		r.buffer = nil
	}
}

var errMalformed = errors.New("a load report is malformed")

// counts is what was counted of a cluster or an endpoint in one report.
type counts struct {
	tally
	inProgress uint32
}

// clusterReport is what an Envoy reports of one cluster. It is valid until the next is read.
type clusterReport struct {
	name []byte
	counts
	// interval is how long the Envoy has counted.
	interval time.Duration
	raw      []byte
}

// fields calls f for each field of a message: a number for varints, and bytes for what has a
// length.
func fields(raw []byte, f func(field protowire.Number, n uint64, b []byte) error) error {
	for len(raw) > 0 {
		field, kind, size := protowire.ConsumeTag(raw)
		if size < 0 {
			return errMalformed
		}
		raw = raw[size:]
		var (
			n uint64
			b []byte
		)
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(raw)
		case protowire.BytesType:
			b, size = protowire.ConsumeBytes(raw)
		default:
			// A field of another type is none of those that are read.
			field, size = 0, protowire.ConsumeFieldValue(field, kind, raw)
		}
		if size < 0 {
			return errMalformed
		}
		raw = raw[size:]
		if err := f(field, n, b); err != nil {
			return err
		}
	}
	return nil
}

// reportNode returns the Envoy that a report names; nil if it names none.
func reportNode(raw []byte) (node *corev3.Node, err error) {
	err = fields(raw, func(field protowire.Number, _ uint64, b []byte) error {
		if field != requestNode || b == nil {
			return nil
		}
		if len(b) > maxNode {
			return errMalformed
		}
		node = new(corev3.Node)
		if err := proto.Unmarshal(b, node); err != nil {
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
		return nil
	})
	return node, err
}

// eachCluster calls f for each cluster of a report.
func eachCluster(raw []byte, f func(*clusterReport)) error {
	n := 0
	if err := fields(raw, func(field protowire.Number, _ uint64, b []byte) error {
		if field == requestClusters {
			n++
		}
		return nil
	}); err != nil {
		return err
	}
	if n > maxReported {
		return fmt.Errorf("%w: it has %d clusters", errMalformed, n)
	}
	var c clusterReport
	return fields(raw, func(field protowire.Number, _ uint64, b []byte) error {
		if field != requestClusters || b == nil {
			return nil
		}
		c = clusterReport{raw: b}
		if err := c.read(); err != nil {
			return err
		}
		f(&c)
		return nil
	})
}

func (c *clusterReport) read() error {
	return fields(c.raw, func(field protowire.Number, _ uint64, b []byte) (err error) {
		switch field {
		case clusterName:
			c.name = b
		case clusterLocalities:
			var of counts
			of, _, err = readStats(b, localityIssued)
			c.tally.add(of.tally)
			c.inProgress = saturated(c.inProgress, of.inProgress)
		case clusterInterval:
			c.interval, err = readDuration(b)
		}
		return err
	})
}

// eachEndpoint calls f for each endpoint of the cluster, if the Envoy told of endpoints.
func (c *clusterReport) eachEndpoint(f func(netip.AddrPort, counts)) error {
	return fields(c.raw, func(field protowire.Number, _ uint64, locality []byte) error {
		if field != clusterLocalities {
			return nil
		}
		return fields(locality, func(field protowire.Number, _ uint64, b []byte) error {
			if field != localityEndpoints || b == nil {
				return nil
			}
			of, address, err := readStats(b, endpointIssued)
			if err == nil && address.IsValid() {
				f(address, of)
			}
			return err
		})
	})
}

// readStats reads the counts of a locality or an endpoint. Those of an endpoint have its
// address.
func readStats(raw []byte, issued protowire.Number) (of counts, address netip.AddrPort, err error) {
	var successes uint32
	err = fields(raw, func(field protowire.Number, n uint64, b []byte) (err error) {
		switch field {
		case issued:
			of.requests = clamp(n)
		case statsSuccesses:
			successes = clamp(n)
		case statsErrors:
			of.errors = clamp(n)
		case statsInProgress:
			of.inProgress = clamp(n)
		case endpointAddress:
			if issued == endpointIssued {
				address, err = readAddress(b)
			}
		}
		return err
	})
	of.requests = requests(of.requests, successes, of.errors)
	return of, address, err
}

// requests returns how many requests there were. Envoy counts a request as issued when it has a
// connection for it, and as an error also if it gets none: since the endpoint refuses it, or too
// many are in progress. Errors that cannot be of issued requests are requests of their own.
func requests(issued, successes, errors uint32) uint32 {
	unanswered := issued - min(successes, issued)
	return saturated(issued, errors-min(unanswered, errors))
}

// readAddress reads a core.v3.Address; that of a pipe is none.
func readAddress(raw []byte) (at netip.AddrPort, err error) {
	err = fields(raw, func(field protowire.Number, _ uint64, socket []byte) error {
		if field != addressSocket {
			return nil
		}
		var ip netip.Addr
		var port uint64
		if err := fields(socket, func(field protowire.Number, n uint64, b []byte) error {
			switch field {
			case socketAddress:
				ip, _ = netip.ParseAddr(string(b)) // a name is no instance's
			case socketPort:
				port = n
			}
			return nil
		}); err != nil {
			return err
		}
		if ip.IsValid() && port <= math.MaxUint16 {
			at = netip.AddrPortFrom(ip.Unmap(), uint16(port))
		}
		return nil
	})
	return at, err
}

// readDuration reads a google.protobuf.Duration, within what can be.
func readDuration(raw []byte) (d time.Duration, err error) {
	err = fields(raw, func(field protowire.Number, n uint64, _ []byte) error {
		n = min(n, math.MaxInt64) // a negative one is no interval: it counts as a long one
		switch field {
		case durationSeconds:
			d += time.Duration(min(n, uint64(maxInterval/time.Second))) * time.Second
		case durationNanos:
			d += time.Duration(min(n, uint64(time.Second)))
		}
		d = min(d, maxInterval)
		return nil
	})
	return d, err
}

// clamp bounds a number of a report: no Envoy counts more.
func clamp(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }
