package sources

import "time"

// Shaping says how requests and answers are changed on their way. It is never modified.
type Shaping struct {
	// Redirects send requests elsewhere, before all else that the port does with them but for what keeps
	// clients out. The first that fits counts.
	Redirects []Redirect `json:",omitempty"`
	// PathRewrite changes the path that the app sees. It takes the place of HTTP.StripPrefix.
	PathRewrite *PathRewrite `json:",omitempty"`
	// Host is the one that the app sees, with or without a port; empty for that of the request, which
	// X-Forwarded-Host has otherwise.
	Host string `json:",omitempty"`
	// HostOfInstance has the app see the address of the instance as the host, unless Host is set.
	HostOfInstance bool `json:",omitempty"`
	// CORS says which other sites' pages may ask.
	CORS *CORS `json:",omitempty"`
	// Compress has answers compressed for clients that take that.
	Compress *Compress `json:",omitempty"`
	// StickyHeader is a header that keeps a client on one endpoint: the answer has it, and the
	// client sends it again. It is in lower case.
	StickyHeader string `json:",omitempty"`
	// Urgent are prefixes of paths whose requests have limits of their own, of the same size as those of
	// all others (Upstream.MaxConnections, MaxPendingRequests, MaxRequests).
	Urgent []string `json:",omitempty"`
	// Fault makes some requests slow, or fail, in fleets that allow it.
	Fault *Fault `json:",omitempty"`
	// Mirrors are sent copies of requests. What they answer reaches nobody.
	Mirrors []Mirror `json:",omitempty"`
}

// Redirect sends requests elsewhere. All that it says of requests must fit.
type Redirect struct {
	// Scheme is "http" or "https"; empty for both.
	Scheme string `json:",omitempty"`
	// Host is an expression of RE2 that the whole host fits, in any case and without a port; empty for any.
	Host string `json:",omitempty"`
	// Path is an expression of RE2 that the whole path fits, without the query; empty for any.
	Path string `json:",omitempty"`
	// Target is a URL with a path, or a path of the same host. \1 and so on, up to \9, stand for the groups of Host and then
	// of Path: the first of Path comes after the last of Host.
	Target string
	// DropQuery leaves the query of the request out. It follows Target otherwise.
	DropQuery bool `json:",omitempty"`
	// Code is 301, 302, 303, 307 or 308.
	Code int
}

// PathRewrite replaces what Pattern matches in the path, without the query. Pattern is an expression of RE2 that begins with
// "^/"; Substitution begins with a slash, and has \1 for the first group.
type PathRewrite struct{ Pattern, Substitution string }

// CORS says which pages of other origins may ask, and what they may see: https://fetch.spec.whatwg.org/#http-cors-protocol.
type CORS struct {
	// Origins are "*" alone, origins such as "https://shop.test", or "https://*.shop.test" for all below.
	Origins []string
	// Methods and Headers are what requests may have beyond what every page may send; "*" is any.
	Methods, Headers []string `json:",omitempty"`
	// ExposeHeaders are those of answers that pages may read.
	ExposeHeaders []string `json:",omitempty"`
	// Credentials lets pages send cookies. It is never set with an origin "*".
	Credentials bool `json:",omitempty"`
	// MaxAge is how long browsers may remember it; nil is the browser's own.
	MaxAge *time.Duration `json:",omitempty"`
}

// Compress says how answers are compressed.
type Compress struct {
	// Encodings are those that are offered, of which the first is preferred; empty for all.
	Encodings []Encoding `json:",omitempty"`
	// MinBytes is the size from which on answers are compressed that say their size; 0 for the default.
	MinBytes uint32 `json:",omitempty"`
	// ContentTypes are what is compressed, in lower case and without parameters; empty for what gets smaller by it as a rule.
	ContentTypes []string `json:",omitempty"`
}

// Encoding is a name of HTTP for a way to compress.
type Encoding string

// The encodings.
const (
	Gzip   Encoding = "gzip"
	Brotli Encoding = "br"
	Zstd   Encoding = "zstd"
)

// Fault says what is done to some requests.
type Fault struct {
	// Delay holds DelayPercent of the requests up.
	Delay        time.Duration `json:",omitempty"`
	DelayPercent float64       `json:",omitempty"`
	// Abort is the status that AbortPercent of the requests are answered with.
	Abort        int     `json:",omitempty"`
	AbortPercent float64 `json:",omitempty"`
}

// Mirror is sent copies of Percent of the requests.
type Mirror struct {
	To      AppRef
	Percent float64
}

// MirrorSetting is the name of the setting of Mirrors.
const MirrorSetting = "MIRROR"

func (s *Shaping) uses() (uses []Use) {
	if s == nil {
		return nil
	}
	for _, m := range s.Mirrors {
		uses = append(uses, Use{AppRef: m.To, Setting: MirrorSetting, Without: "it is sent no copies of requests", Optional: true})
	}
	return uses
}
