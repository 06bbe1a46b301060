package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func packed(t *testing.T, text string) *fstest.MapFile {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return &fstest.MapFile{Data: b.Bytes()}
}

func bundle(t *testing.T) http.Handler {
	t.Helper()
	files, err := load(fstest.MapFS{
		missing:                   {Data: []byte("no bundle")},
		"dist/index.html.gz":      packed(t, "<!doctype html>page"),
		"dist/assets/app-1.js.gz": packed(t, "let x"),
		"dist/stray.txt":          {Data: []byte("not of the bundle")},
	})
	require.NoError(t, err)
	return handler(files)
}

func get(h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func TestHandler_Page(t *testing.T) {
	rec := get(bundle(t), "GET", "/")
	require.Equal(t, 200, rec.Code)
	require.Equal(t, "<!doctype html>page", rec.Body.String())
	require.Equal(t, "text/html; charset=utf-8", rec.Header().Get("Content-Type"))
	require.Equal(t, "no-cache", rec.Header().Get("Cache-Control"))
	require.Empty(t, rec.Header().Get("Content-Encoding"))

	answered := get(bundle(t), "GET", "/oidc/corp-2?code=x&state=y")
	require.Equal(t, 200, answered.Code)
	require.Equal(t, rec.Body.String(), answered.Body.String(), "the page reads a provider's answer")
	require.Equal(t, rec.Header(), answered.Header())

	rec = get(bundle(t), "GET", "/", "If-None-Match", "W/"+rec.Header().Get("ETag"))
	require.Equal(t, 304, rec.Code)
	require.Zero(t, rec.Body.Len())
}

func TestHandler_Asset(t *testing.T) {
	h := bundle(t)
	plain := get(h, "GET", "/assets/app-1.js")
	require.Equal(t, "let x", plain.Body.String())
	require.Equal(t, "text/javascript; charset=utf-8", plain.Header().Get("Content-Type"))
	require.Contains(t, plain.Header().Get("Cache-Control"), "immutable")

	zipped := get(h, "GET", "/assets/app-1.js", "Accept-Encoding", "br, gzip")
	require.Equal(t, "gzip", zipped.Header().Get("Content-Encoding"))
	require.Equal(t, "Accept-Encoding", zipped.Header().Get("Vary"))
	z, err := gzip.NewReader(zipped.Body)
	require.NoError(t, err)
	text, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Equal(t, "let x", string(text))
	require.NotEqual(t, plain.Header().Get("ETag"), zipped.Header().Get("ETag"), "two representations")

	head := get(h, "HEAD", "/assets/app-1.js", "Accept-Encoding", "gzip")
	require.Equal(t, zipped.Header(), head.Header())
	require.Zero(t, head.Body.Len())
}

func TestHandler_Refuses(t *testing.T) {
	h := bundle(t)
	for _, path := range []string{"/index.html", "/stray.txt", "/assets/", "/assets/app-1.js.gz", "/dist.html", "/../dist.html", "/%00", "/oidc/", "/oidc/CORP", "/oidc/a/b", "/oidc/corp/", "/oidc/%0a"} {
		rec := get(h, "GET", path)
		require.Equal(t, 404, rec.Code, path)
		require.NotContains(t, rec.Body.String(), strings.Trim(path, "/")+".", "nothing is echoed")
	}
	rec := get(h, "POST", "/")
	require.Equal(t, 405, rec.Code)
	require.Equal(t, "GET, HEAD", rec.Header().Get("Allow"))
}

func TestAcceptsGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "identity": false, "gzip": true, "GZIP;q=0.5": true, "br, *": true, "gzip;q=0": false, "gzip; q=0.0, *": false,
		"*;q=0": false, "deflate, gzip;q=x": false,
	} {
		require.Equal(t, want, acceptsGzip(header), header)
	}
}

// TestLoad_WithoutBundle is a checkout that never saw Node.
func TestLoad_WithoutBundle(t *testing.T) {
	page, err := built.ReadFile(missing)
	require.NoError(t, err)
	files, err := load(fstest.MapFS{missing: {Data: page}})
	require.NoError(t, err)
	rec := get(handler(files), "GET", "/", "Accept-Encoding", "gzip")
	require.Equal(t, 200, rec.Code)
	require.Contains(t, rec.Body.String(), "built without the playground")
	require.NotContains(t, rec.Body.String(), "<script")
	require.Equal(t, 404, get(handler(files), "GET", "/assets/x.js").Code)
}

func TestLoad_UnknownType(t *testing.T) {
	_, err := load(fstest.MapFS{"dist/index.html.gz": packed(t, "x"), "dist/assets/a.exe.gz": packed(t, "x")})
	require.ErrorContains(t, err, "content type")
}

// TestEmbedded holds whatever this program was built with: each file unpacks, and the page names only files of ours.
func TestEmbedded(t *testing.T) {
	h := Handler()
	page := get(h, "GET", "/").Body.String()
	require.Contains(t, page, "CDSA")
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if m[1] == "data:," {
			continue
		}
		require.Regexp(t, `^/assets/[\w.-]+$`, m[1], "nothing is loaded from elsewhere")
		rec := get(h, "GET", m[1])
		require.Equal(t, 200, rec.Code, m[1])
		require.NotZero(t, rec.Body.Len())
	}
	files, err := load(built)
	require.NoError(t, err)
	for name, f := range files {
		if !f.gzipped {
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(f.body))
		require.NoError(t, err, name)
		_, err = io.Copy(io.Discard, z)
		require.NoError(t, err, name)
	}
}
