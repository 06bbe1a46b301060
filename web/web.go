// Package web serves the playground: GraphiQL with a sign-in panel and examples, bundled by esbuild and embedded.
//
// It knows the bundle's files and nothing else: no templates, no data of anyone, no API. Built without the bundle
// (no Node), it says so on / instead. A Handler is immutable and safe for concurrent use. Security headers are
// httpx's business; the page needs no more than its policy for public routes allows.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// dist.html is always there, dist/ only when it was built: the pattern embeds what it finds.
//
//go:embed dist*
var built embed.FS

// missing is the page of a program without the bundle.
const missing = "dist.html"

// file is one embedded answer.
type file struct {
	body      []byte // as embedded
	gzipped   bool
	etag      string // of what body unpacks to, quoted
	kind      string // Content-Type
	immutable bool   // its address names its content
}

// answerPath is where an OpenID Connect provider sends people back to: one address for each provider's name. The page
// itself reads the answer.
var answerPath = regexp.MustCompile(`^/oidc/[a-z0-9-]{1,40}$`)

// Handler serves the playground at / and where providers send people back to, and its files below /assets/. Anyone may
// call it.
func Handler() http.Handler {
	files, err := load(built)
	if err != nil { // the program was built wrongly; no input leads here
		panic(fmt.Sprintf("embedded playground: %v", err))
	}
	return handler(files)
}

// load reads the bundle, or the page that says there is none, by the path of its URL.
func load(from fs.FS) (map[string]*file, error) {
	files := map[string]*file{}
	dir, err := fs.Sub(from, "dist")
	if err != nil {
		return nil, err
	}
	if _, err := fs.Stat(dir, "index.html.gz"); err != nil {
		page, err := fs.ReadFile(from, missing)
		if err != nil {
			return nil, err
		}
		files["/"] = &file{body: page, etag: tag(page), kind: kinds[".html"]}
		return files, nil
	}
	err = fs.WalkDir(dir, ".", func(name string, entry fs.DirEntry, err error) error {
		name, packed := strings.CutSuffix(name, ".gz")
		if err != nil || entry.IsDir() || !packed {
			return err
		}
		body, err := fs.ReadFile(dir, name+".gz")
		if err != nil {
			return err
		}
		kind, ok := kinds[path.Ext(name)]
		if !ok {
			return fmt.Errorf("%s has no known content type", name)
		}
		url := "/" + name
		if name == "index.html" {
			url = "/"
		}
		files[url] = &file{body: body, gzipped: true, etag: tag(body), kind: kind, immutable: strings.HasPrefix(name, "assets/")}
		return nil
	})
	return files, err
}

// kinds are written down because the system's own table differs from machine to machine.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".ttf":  "font/ttf",
}

func tag(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

func handler(files map[string]*file) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		url := r.URL.Path
		if answerPath.MatchString(url) {
			url = "/"
		}
		f, ok := files[url]
		switch {
		case !ok:
			http.Error(w, "There is no such page. The playground is at /, the API at /graphql.", http.StatusNotFound)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "This page can only be read. The API is at /graphql.", http.StatusMethodNotAllowed)
		default:
			f.serve(w, r)
		}
	})
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	pack := f.gzipped && acceptsGzip(r.Header.Get("Accept-Encoding"))
	etag := `"` + f.etag + `"`
	if pack {
		etag = `"` + f.etag + `-gz"` // another representation: RFC 9110 section 8.8.3.3
	}
	h.Set("ETag", etag)
	if f.gzipped {
		h.Set("Vary", "Accept-Encoding")
	}
	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	if !f.gzipped || pack {
		h.Set("Content-Length", strconv.Itoa(len(f.body)))
	}
	if pack {
		h.Set("Content-Encoding", "gzip")
	}
	if r.Method == http.MethodHead {
		return
	}
	// A client that goes away while it is sent to is not an error of ours.
	if !f.gzipped || pack {
		_, _ = w.Write(f.body)
		return
	}
	if z, err := gzip.NewReader(bytes.NewReader(f.body)); err == nil { // load's test unpacks every file
		_, _ = io.Copy(w, z) // #nosec G110 -- our own bundle, not a stranger's archive
	}
}

// acceptsGzip reads Accept-Encoding as far as gzip and the star go: RFC 9110 section 12.5.3.
func acceptsGzip(header string) bool {
	star := false
	for item := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(strings.TrimSpace(item), ";")
		name, value, _ := strings.Cut(strings.ReplaceAll(params, " ", ""), "=")
		q, err := strconv.ParseFloat(value, 64)
		allowed := !strings.EqualFold(name, "q") || err == nil && q > 0
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			return allowed
		case "*":
			star = allowed
		}
	}
	return star
}

// matches compares If-None-Match weakly, as RFC 9110 section 13.1.2 wants.
func matches(header, etag string) bool {
	for item := range strings.SplitSeq(header, ",") {
		item = strings.TrimPrefix(strings.TrimSpace(item), "W/")
		if item == etag || item == "*" {
			return true
		}
	}
	return false
}
