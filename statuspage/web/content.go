// Package web shows a statuspage.View to the public: as HTML that needs no scripts, as feeds and as JSON, on a port of
// its own or as static files. It knows nothing but the view, so nothing else can leak.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"
	"time"

	"relay/statuspage"
)

// File is one file of the page as it is sent.
type File struct {
	Body []byte
	// Gzip is the body, compressed.
	Gzip []byte
	Type string
	// ETag is that of the body, in quotes; GzipETag that of what is compressed.
	ETag, GzipETag string
}

// Content is all files of the page, by path without a slash at its beginning: index.html, feed.atom, feed.rss,
// status.json and incidents/ID.html. It is not modified.
type Content map[string]*File

var types = map[string]string{
	".html": "text/html; charset=utf-8", ".atom": "application/atom+xml; charset=utf-8",
	".rss": "application/rss+xml; charset=utf-8", ".json": "application/json; charset=utf-8",
}

// Render makes the files of a view. Those that are the same as before are taken from before, which may be nil. The time
// of the view is cut to the minute: so files change once a minute, and not each time that somebody looks.
func Render(v statuspage.View, before Content) (Content, error) {
	v.Time = v.Time.UTC().Truncate(time.Minute)
	content := make(Content)
	add := func(name string, body []byte) { content[name] = fileOf(name, body, before[name]) }
	if err := htmlFiles(&v, add); err != nil {
		return nil, err
	}
	for name, make := range map[string]func(*statuspage.View) ([]byte, error){"feed.atom": atom, "feed.rss": rss, "status.json": asJSON} {
		body, err := make(&v)
		if err != nil {
			return nil, err
		}
		add(name, body)
	}
	return content, nil
}

// asJSON is the view as it is. Lists without entries are [], and not null.
func asJSON(v *statuspage.View) ([]byte, error) {
	out := *v
	out.Services, out.Incidents, out.Maintenance = listed(v.Services), listed(v.Incidents), listed(v.Maintenance)
	for i := range out.Services {
		out.Services[i].Days = listed(out.Services[i].Days)
	}
	for _, list := range [][]statuspage.Incident{out.Incidents, out.Maintenance} {
		for i := range list {
			list[i].Updates = listed(list[i].Updates)
		}
	}
	body, err := json.MarshalIndent(out, "", " ")
	return append(body, '\n'), err
}

// listed returns a copy that is not nil.
func listed[T any](list []T) []T { return append([]T{}, list...) }

func fileOf(name string, body []byte, before *File) *File {
	if before != nil && bytes.Equal(before.Body, body) {
		return before
	}
	sum := sha256.Sum256(body)
	tag := hex.EncodeToString(sum[:12])
	f := &File{Body: body, Type: types[path.Ext(name)], ETag: `"` + tag + `"`, GzipETag: `"` + tag + `-gzip"`}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(body) // to memory
	_ = w.Close()
	f.Gzip = b.Bytes()
	return f
}
