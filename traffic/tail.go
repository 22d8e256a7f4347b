package traffic

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"golang.org/x/time/rate"
)

const (
	// MaxReaders is how many may follow requests at a time.
	MaxReaders = 20
	// requestsPerSecond is how many requests a reader is given, and requestsKept how many are
	// kept for one that is slow. It is told how many more there were.
	requestsPerSecond, requestsKept = 500, 1000
	// The tags that Envoys report with each request: see tailLog in package envoy. The domain is
	// that of the scope, the target the cluster that the route is for.
	domainTag, targetTag = "domain", "target"
)

// Request is a request that an Envoy has answered, or given up, in texts that are harmless to show.
type Request struct {
	// Time is when it ended.
	Time  time.Time
	Fleet string
	// Envoy is the node id.
	Envoy string
	// Cluster is the one that took the request, or that its route is for; empty for a route that
	// is of no app.
	Cluster string
	// Scope is the domain by which it was routed, which may be a wildcard. Host is the one that
	// the client asked for.
	Scope, Host string
	Client      string
	Method      string
	// Path is as the app gets it. Who follows it may get it masked.
	Path   string
	Status int
	// Code is that of a failure; empty if the app answered.
	Code      string
	Duration  time.Duration
	BytesIn   uint64
	BytesOut  uint64
	Instance  string
	RequestID string
	UserAgent string
}

// Tails hands requests to those who follow them. Without readers it looks into none.
type Tails struct {
	mu      sync.Mutex // held to change readers
	readers atomic.Pointer[[]*Reader]
}

// NewTails returns a Tails without readers.
func NewTails() *Tails {
	t := &Tails{}
	t.readers.Store(&[]*Reader{})
	return t
}

// Reader follows requests. It is for one goroutine, and must be closed.
type Reader struct {
	tails    *Tails
	wants    func(*Request) bool
	unmasked bool
	requests chan Request
	pace     *rate.Limiter
	skipped  atomic.Uint64
}

// ErrTooManyReaders is returned to who comes while there are MaxReaders.
var ErrTooManyReaders = fmt.Errorf("%d follow requests already, which is the most: see who in the log (tail_started), and end one", MaxReaders)

// Open begins to follow the requests that are wanted. The function is called at each request,
// and must be quick. Unmasked, paths are as they came.
func (t *Tails) Open(wants func(*Request) bool, unmasked bool) (*Reader, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := *t.readers.Load()
	if len(before) >= MaxReaders {
		return nil, ErrTooManyReaders
	}
	r := &Reader{
		tails: t, wants: wants, unmasked: unmasked, requests: make(chan Request, requestsKept),
		pace: rate.NewLimiter(requestsPerSecond, requestsKept),
	}
	after := append(before[:len(before):len(before)], r)
	t.readers.Store(&after)
	return r, nil
}

// Close ends following.
func (r *Reader) Close() {
	r.tails.mu.Lock()
	defer r.tails.mu.Unlock()
	after := make([]*Reader, 0, MaxReaders)
	for _, other := range *r.tails.readers.Load() {
		if other != r {
			after = append(after, other)
		}
	}
	r.tails.readers.Store(&after)
}

// Next waits for requests and returns all that there are, and how many more there were since the
// last call. When the context ends it returns its error.
func (r *Reader) Next(ctx context.Context) (requests []Request, skipped uint64, err error) {
	select {
	case one := <-r.requests:
		requests = append(requests, one)
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	for range len(r.requests) {
		requests = append(requests, <-r.requests)
	}
	return requests, r.skipped.Swap(0), nil
}

// Log takes what Envoys report of requests that are followed.
func (t *Tails) Log(node *corev3.Node, message *alsv3.StreamAccessLogsMessage, stands uint64) {
	readers := *t.readers.Load()
	if len(readers) == 0 {
		return // Envoys have not switched it off yet
	}
	now := time.Now()
	for _, entry := range message.GetHttpLogs().GetLogEntry() {
		one := requestOf(node, entry, now)
		for _, r := range readers {
			if r.wants(&one) {
				r.offer(one, stands, now)
			}
		}
	}
}

// offer gives the reader a request, if it keeps up.
func (r *Reader) offer(one Request, stands uint64, now time.Time) {
	skipped := stands - 1
	if r.pace.AllowN(now, 1) {
		if !r.unmasked {
			one.Path, one.UserAgent = maskPath(one.Path), maskTokens(one.UserAgent)
		}
		select {
		case r.requests <- one:
		default:
			skipped++
		}
	} else {
		skipped++
	}
	if skipped > 0 {
		r.skipped.Add(skipped)
	}
}

// requestOf reads an entry.
func requestOf(node *corev3.Node, entry *accesslogv3.HTTPAccessLogEntry, now time.Time) Request {
	p, request, response := entry.GetCommonProperties(), entry.GetRequest(), entry.GetResponse()
	tags := p.GetCustomTags()
	one := Request{
		Time: ended(p, now), Fleet: node.GetCluster(), Envoy: visible(node.GetId(), maxDomain),
		Cluster: visible(cmp.Or(p.GetUpstreamCluster(), tags[targetTag]), maxName),
		Scope:   visible(tags[domainTag], maxDomain), Host: visible(domainOf(request.GetAuthority()), maxDomain),
		Path: visiblePath(request.GetPath()), Status: int(response.GetResponseCode().GetValue()),
		Duration:  max(0, p.GetDuration().AsDuration()),
		BytesIn:   request.GetRequestHeadersBytes() + request.GetRequestBodyBytes(),
		BytesOut:  response.GetResponseHeadersBytes() + response.GetResponseBodyBytes(),
		RequestID: requestIDOf(request.GetRequestId()), UserAgent: visible(request.GetUserAgent(), maxUserAgent),
	}
	if method := request.GetRequestMethod(); method != corev3.RequestMethod_METHOD_UNSPECIFIED {
		one.Method = method.String()
	}
	if code, failed := codeOf(entry); failed {
		one.Code = code.Name
	}
	if client, ok := addressOf(p.GetDownstreamRemoteAddress()); ok {
		one.Client = client.Addr().String()
	}
	if instance, ok := addressOf(p.GetUpstreamRemoteAddress()); ok {
		one.Instance = instance.String()
	}
	return one
}
