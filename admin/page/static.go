package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
)

//go:embed static
var staticFiles embed.FS

// asset is a file that pages load. Its address changes with its content, so browsers keep it.
type asset struct {
	content  []byte
	kind     string
	etag     string
	location string
}

var assets = readAssets()

func readAssets() map[string]asset {
	kinds := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
	all := make(map[string]asset)
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		content, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		version := hex.EncodeToString(sum[:8])
		all[e.Name()] = asset{content, kinds[path.Ext(e.Name())], `"` + version + `"`, "/static/" + e.Name() + "?v=" + version}
	}
	return all
}

// assetURL returns the address of a file, with its version.
func assetURL(name string) string { return assets[name].location }

func serveStatic(w http.ResponseWriter, r *http.Request) {
	a, ok := assets[r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("ETag", a.etag)
	if `"`+r.URL.Query().Get("v")+`"` == a.etag {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", a.kind)
	_, _ = w.Write(a.content) // the client may be gone
}
