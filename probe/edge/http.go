package edge

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"relay/internal/failure"
	"relay/probe"
	"relay/probe/connect"
)

const (
	// maxHead and maxBody bound what is read of an answer, in bytes; maxText what is read to find a text.
	maxHead = 64 << 10
	maxBody = 64 << 10
	maxText = 1 << 20
	// maxInterim is how many answers there may be before the one that counts, such as 103.
	maxInterim = 5
)

// HTTP asks by HTTP/1.1. It follows no redirect: who answers is an app, which could send it anywhere.
type HTTP struct{ *Prober }

// Probe implements probe.Prober.
func (p HTTP) Probe(ctx context.Context, t probe.Target) probe.Result {
	r := probe.Result{Target: t, Phases: make(map[string]float64, 5)}
	begin := time.Now()
	id := connect.NewRequestID()
	request, err := requestOf(t, p.Place, id)
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	conn := p.open(ctx, &r, "http/1.1")
	if conn == nil {
		r.Duration = time.Since(begin)
		return r
	}
	defer conn.Close()
	r.RequestID = id
	if reader := (&answerReader{conn: conn}); reader.head(&r, request) && judge(&r, reader.response) {
		reader.body(&r)
	}
	late(&r, begin)
	return r
}

// requestOf is the request as it is sent.
func requestOf(t probe.Target, place, id string) (string, error) {
	method, path, host := cmp.Or(t.Ask.Method, http.MethodGet), cmp.Or(t.Ask.Path, "/"), cmp.Or(t.Domain, t.Address)
	for _, part := range []string{method, path, host, place} {
		if strings.ContainsFunc(part, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return "", fmt.Errorf("%q cannot be part of a request", clean(part))
		}
	}
	if !strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("the path %q does not begin with a slash", clean(path))
	}
	return method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: " + probe.Agent + "\r\n" + probe.Header + ": " + place + "\r\n" + connect.RequestID + ": " + id +
		"\r\nAccept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n", nil
}

// answerReader reads an answer up to its bounds.
type answerReader struct {
	conn     net.Conn
	limited  *io.LimitedReader
	response *http.Response
}

// head sends the request and reads the head of the answer.
func (a *answerReader) head(r *probe.Result, request string) bool {
	begin := time.Now()
	a.limited = &io.LimitedReader{R: a.conn, N: maxHead}
	_, err := io.WriteString(a.conn, request)
	if err == nil {
		reader := bufio.NewReaderSize(a.limited, 4<<10)
		asked := &http.Request{Method: request[:strings.IndexByte(request, ' ')]}
		for range maxInterim {
			if a.response, err = http.ReadResponse(reader, asked); err != nil || a.response.StatusCode >= 200 {
				break
			}
		}
	}
	switch {
	case err != nil && a.limited.N <= 0:
		return finish(r, "answer", begin, fmt.Sprintf("the head of the answer is larger than %d kB", maxHead>>10))
	case err != nil:
		return finish(r, "answer", begin, inWords(err, "no answer"))
	case a.response.StatusCode < 200:
		return finish(r, "answer", begin, fmt.Sprintf("there are more than %d interim answers", maxInterim))
	}
	return finish(r, "answer", begin, "")
}

// body reads the body, up to its bound, and looks for the text that is to be there. It closes none: that would read the rest,
// which may come slowly, and the connection is for this answer alone.
func (a *answerReader) body(r *probe.Result) {
	begin := time.Now()
	most, text := int64(maxBody), r.Target.Ask.Contains
	if text != "" {
		most = maxText
	}
	a.limited.N = most + maxHead // for what frames the body, too
	var content bytes.Buffer
	var to io.Writer = io.Discard
	if text != "" {
		to = &content
	}
	n, err := io.CopyN(to, a.response.Body, most)
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || a.limited.N <= 0 {
		err = nil
	}
	seen := inWords(err, fmt.Sprintf("the answer %d does not end: %d bytes of it came", r.Status, n))
	if seen == "" && text != "" && !bytes.Contains(content.Bytes(), []byte(text)) {
		seen = fmt.Sprintf("the text %q is not in the %d bytes of the answer %d", clean(text), n, r.Status)
	}
	r.OK = finish(r, "body", begin, seen)
}

// judge looks at the head of an answer, and reports whether it is what was expected.
func judge(r *probe.Result, response *http.Response) bool {
	r.Status = response.StatusCode
	expected := expects(r.Target.Ask, r.Status)
	code, ok := failure.Of(response.Header.Get(failure.Header))
	if ok {
		return judgeCode(r, code, expected && explicit(r.Target.Ask))
	}
	r.Answered = true
	if !expected {
		fail(r, fmt.Sprintf("the status is %d, expected %s", r.Status, expectation(r.Target.Ask)))
	}
	return expected
}

// judgeCode looks at an answer that the Envoy gave itself. expected tells that its status was asked for.
func judgeCode(r *probe.Result, code failure.Code, expected bool) bool {
	r.Code = code.Name
	r.Answered = code.Name != failure.NoSuchDomain
	switch {
	case code.Client && expected:
		return true
	case code.Meant:
		r.Skipped = map[string]string{failure.Asleep: "the app sleeps", failure.Maintenance: "the app is in maintenance"}[code.Name]
		r.Skipped = cmp.Or(r.Skipped, "the Envoy answers "+code.Name+", as is meant")
		return false
	case r.Target.Sampled && slices.Contains([]string{"unauthorized", failure.NotAllowed, failure.NoSuchPath}, code.Name):
		r.Skipped = "the Envoy answers " + code.Name + ": what to ask is not known of a domain that was chosen by chance"
		return false
	}
	fail(r, fmt.Sprintf("the Envoy answers %s (%d): %s", code.Name, r.Status, code.Text))
	return false
}

// fail says in the last step what was seen.
func fail(r *probe.Result, seen string) {
	last := &r.Steps[len(r.Steps)-1]
	last.OK, last.Seen = false, seen
	r.Reason = last.Name + ": " + seen
}

func explicit(a probe.Ask) bool { return len(a.Status) > 0 || a.StatusClass > 0 }

func expects(a probe.Ask, status int) bool {
	return !explicit(a) || slices.Contains(a.Status, status) || a.StatusClass > 0 && status/100 == a.StatusClass
}

func expectation(a probe.Ask) string {
	var all []string
	for _, s := range a.Status {
		all = append(all, fmt.Sprint(s))
	}
	if a.StatusClass > 0 {
		all = append(all, fmt.Sprintf("%dxx", a.StatusClass))
	}
	return strings.Join(all, ", ")
}
