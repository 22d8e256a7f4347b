package traffic

import (
	"context"
	"errors"
	"io"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	lrsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"relay/internal/panics"
)

const (
	// reportInterval is how often Envoys report, and soon how long after somebody began to look
	// at endpoints.
	reportInterval, soon = 10 * time.Second, time.Second
	// manyClusters is from how many clusters on an Envoy reports less often, as a report stops its
	// main thread for 5 us a cluster. So it does when all Envoys of a fleet have manyReported clusters
	// in sum, as Relay reads them all.
	manyClusters, manyReported = 20_000, 2_000_000
	// maxReport is how large a report may be, in bytes. With 50 000 clusters, ten endpoints
	// each, it is less.
	maxReport = 32 << 20
	// bytesPerSecond is how much of one stream is read; it may be a report ahead. A step in which
	// something is counted is as much work as so many bytes.
	bytesPerSecond, bytesOfStep = 2 << 20, 16
)

// LoadServer is the load reporting service
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/load_stats/v3/lrs.proto). Envoys
// with cluster_manager.load_stats_config in their bootstrap report to it.
type LoadServer struct {
	lrsv3.UnimplementedLoadReportingServiceServer
	loads *Loads
	admit Admit
	// served says whether an Envoy has its resources from this Relay.
	served func(fleet, node string) bool
	// interval is reportInterval but in tests.
	interval time.Duration
}

// NewLoadServer returns a server that adds to loads. Served says whether an Envoy has its
// resources from this Relay. With several Relays, Envoy reports to any of them: those of others
// are sent on.
func NewLoadServer(loads *Loads, served func(fleet, node string) bool) *LoadServer {
	return &LoadServer{loads: loads, served: served, interval: reportInterval}
}

// Register adds the service to a gRPC server. Envoys that may not report are refused.
func (s *LoadServer) Register(g grpc.ServiceRegistrar, admit Admit) {
	s.admit = admit
	lrsv3.RegisterLoadReportingServiceServer(g, s)
}

type loadStream = lrsv3.LoadReportingService_StreamLoadStatsServer

// StreamLoadStats takes what one Envoy reports.
func (s *LoadServer) StreamLoadStats(g loadStream) error {
	var first *rawReport
	var node *corev3.Node
	handled, done, err := s.admit(g.Context(), func() (_ *corev3.Node, err error) {
		if first, err = receiveReport(g); err != nil {
			return nil, err
		}
		if node, err = reportNode(first.bytes()); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		return node, nil
	})
	if err != nil {
		return err
	}
	defer done()
	fleet := s.loads.fleets[node.GetCluster()]
	if fleet == nil {
		return status.Errorf(codes.InvalidArgument, "there is no fleet %q", node.GetCluster())
	}
	r := fleet.join(node.GetId(), time.Now())
	if r == nil {
		return status.Errorf(codes.ResourceExhausted, "more than %d Envoys of the fleet report", maxReporters)
	}
	defer fleet.leave(r)
	ctx, cancel := context.WithCancel(g.Context())
	defer cancel()
	stream := reporterStream{loads: s.loads, fleet: fleet, reporter: r, id: node.GetId(), handled: handled}
	reports, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- panics.Catch(func() error { return stream.receive(ctx, g, first, reports) })
	}()
	err = s.follow(ctx, g, stream, reports, ended)
	cancel()
	return err
}

// reporterStream is what a stream is about.
type reporterStream struct {
	loads    *Loads
	fleet    *fleet
	reporter *reporter
	id       string
	handled  func()
}

// take counts a report, and gives its memory back. It returns how much work that was, in steps.
func (r reporterStream) take(report *rawReport) (steps int, err error) {
	now := time.Now()
	steps, err = r.fleet.report(r.reporter, report.bytes(), now, r.loads.sinceEpoch(now))
	report.free()
	r.handled()
	if err != nil {
		return 0, status.Error(codes.InvalidArgument, err.Error())
	}
	return steps, nil
}

// follow says what the Envoy is to report, after each report.
func (s *LoadServer) follow(ctx context.Context, g loadStream, r reporterStream, reports <-chan struct{}, ended <-chan error) error {
	var said *lrsv3.LoadStatsResponse
	select {
	case <-reports: // the first
	case err := <-ended:
		return err
	}
	for reported, first := true, true; ; first = false {
		if reported && !first && !s.served(r.fleet.name, r.id) {
			// It reports to the next Relay in a moment. Nothing is wrong, and Envoy logs nothing.
			return nil
		}
		wanted, changed := r.fleet.wanted(said, reported, s.interval)
		if wanted != nil {
			if err := g.Send(wanted); err != nil {
				return err
			}
			said = wanted
			r.fleet.asked(r.reporter, wanted.GetReportEndpointGranularity())
		}
		reported = false
		select {
		case <-reports:
			reported = true
		case <-changed:
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// wanted returns what an Envoy is to be told, after what it was told last; nil if that holds.
// Envoy begins to wait anew when it is told something. So it is told to go on as usual when it
// has just reported.
func (f *fleet) wanted(said *lrsv3.LoadStatsResponse, reported bool, interval time.Duration) (response *lrsv3.LoadStatsResponse, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.watches.expire(now)
	f.opens.expire(now)
	endpoints := len(f.watches.of) > 0 || len(f.opens) > 0
	interval = intervalFor(interval, f.pace, len(f.clusters), len(f.envoys))
	switch {
	case said == nil:
	case endpoints && !said.GetReportEndpointGranularity():
		interval = soon
	case interval < said.GetLoadReportingInterval().AsDuration(): // the Envoy waits for less than it did
	case !reported || endpoints == said.GetReportEndpointGranularity() && interval == said.GetLoadReportingInterval().AsDuration():
		return nil, f.watches.changed
	}
	return &lrsv3.LoadStatsResponse{
		SendAllClusters: true, LoadReportingInterval: durationpb.New(interval), ReportEndpointGranularity: endpoints,
	}, f.watches.changed
}

// receive takes what an Envoy reports, until the stream ends, and tells of each report. No report
// is received before the one before it is counted, and nothing is held while it waits.
func (r reporterStream) receive(ctx context.Context, g loadStream, report *rawReport, reports chan<- struct{}) error {
	pace := rate.NewLimiter(bytesPerSecond, maxReport)
	for {
		size := report.Size()
		steps, err := r.take(report)
		if err != nil {
			return err
		}
		select {
		case reports <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		if err := pace.WaitN(ctx, min(size+steps*bytesOfStep, maxReport)); err != nil {
			return status.FromContextError(ctx.Err()).Err()
		}
		if report, err = receiveReport(g); err != nil {
			return err
		}
	}
}

func receiveReport(g loadStream) (*rawReport, error) {
	report := new(rawReport)
	if err := g.RecvMsg(report); err != nil {
		return nil, err
	}
	if report.Size() > maxReport {
		return nil, status.Errorf(codes.ResourceExhausted, "a report has more than %d bytes", maxReport)
	}
	return report, nil
}
