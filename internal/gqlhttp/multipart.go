package gqlhttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/99designs/gqlgen/graphql"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
)

const (
	maxMap       = 64 << 10 // bytes of the map part
	maxPathParts = 10       // segments of one variable path
)

// multipartForm is the GraphQL multipart request specification
// (github.com/jaydenseric/graphql-multipart-request-spec): operations, then map, then the files. It needs a signed-in
// caller and a header that no form of a foreign page can send. Files live until the operation has answered.
type multipartForm struct{ *endpoint }

func (multipartForm) Supports(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	ct := r.Header.Get("Content-Type")
	if ct == "application/json" { // most requests
		return false
	}
	typ, _, err := mime.ParseMediaType(ct)
	return err == nil && typ == "multipart/form-data"
}

func (t multipartForm) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	start := graphql.TraceTiming{Start: graphql.Now()}
	t.serve(w, r, exec, func(x *exchange) {
		if r.Header.Get("GraphQL-Require-Preflight") == "" && r.Header.Get("Apollo-Require-Preflight") == "" {
			x.drain()
			x.refuse(http.StatusBadRequest, errs.New(errs.BadUserInput,
				"Uploads need the header GraphQL-Require-Preflight (any value), so that no other site can send them for you."))
			return
		}
		if _, err := authz.Signed(r.Context()); err != nil {
			x.drain()
			x.refuse(http.StatusUnauthorized, err)
			return
		}
		if !x.admit() {
			return
		}
		if r.ContentLength > t.MaxUpload {
			x.tooLarge(t.MaxUpload)
			return
		}
		whole := r.Body
		r.Body = http.MaxBytesReader(w, whole, t.MaxUpload)
		u := &upload{settings: t.Settings}
		defer u.close()
		p, err := u.read(r)
		switch _, known := errs.As(err); {
		case err == nil:
			x.run(&p, start, refuseSubscription)
		case isTooLarge(err):
			r.Body = whole // the limited one reads no more
			x.tooLarge(t.MaxUpload)
		case known:
			x.drain()
			x.refuseInput(http.StatusBadRequest, u.decoded, err)
		case errors.Is(err, errStorage):
			x.drain()
			x.refuse(http.StatusInternalServerError, err)
		default:
			x.refuseInput(http.StatusBadRequest, u.decoded, errs.Wrap(err, errs.BadUserInput, "The multipart body is malformed or ended early. Send it again."))
		}
	})
}

// errStorage marks a failure of the server's own temporary storage.
var errStorage = errors.New("upload storage")

// upload is the state of one multipart request.
type upload struct {
	settings Settings
	open     []*os.File
	decoded  int // bytes of JSON
}

// close frees what the files took; they have no name on disk any more.
func (u *upload) close() {
	for _, f := range u.open {
		_ = f.Close() // reading is over and nothing was promised to stay
	}
}

func (u *upload) read(r *http.Request) (graphql.RawParams, error) {
	var p graphql.RawParams
	parts, err := r.MultipartReader()
	if err != nil {
		return p, err
	}
	operations, err := namedPart(parts, "operations", u.settings.MaxBody)
	if err != nil {
		return p, err
	}
	u.decoded += len(operations)
	if p, err = Decode(operations); err != nil {
		return p, err
	}
	raw, err := namedPart(parts, "map", maxMap)
	if err != nil {
		return p, err
	}
	u.decoded += len(raw)
	targets, err := u.decodeMap(raw)
	if err != nil {
		return p, err
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return p, err
		}
		paths, ok := targets[part.FormName()]
		if !ok {
			return p, errs.Input("map", "The body has a part that \"map\" does not name, or names it twice.")
		}
		delete(targets, part.FormName())
		if err := u.attach(p.Variables, part, paths); err != nil {
			return p, err
		}
	}
	if len(targets) > 0 {
		return p, errs.Input("map", "\"map\" names a file that the body does not have.")
	}
	return p, nil
}

func namedPart(parts *multipart.Reader, name string, limit int64) ([]byte, error) {
	part, err := parts.NextPart()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err != nil || part.FormName() != name {
		return nil, errs.Input(name, "The multipart body must have the parts \"operations\", \"map\" and the files, in this order.")
	}
	b, err := io.ReadAll(io.LimitReader(part, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, errs.New(errs.ResourceExhausted, "The part %q is larger than %d bytes. Send less.", name, limit)
	}
	return b, nil
}

func (u *upload) decodeMap(raw []byte) (map[string][]string, error) {
	var m map[string][]string
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, errs.Input("map", "\"map\" must be a JSON object of lists of paths, such as {\"0\": [\"variables.file\"]}.")
	}
	paths := 0
	for _, p := range m {
		if len(p) == 0 {
			return nil, errs.Input("map", "\"map\" names a file without a path.")
		}
		paths += len(p)
	}
	if paths > u.settings.MaxFiles {
		return nil, errs.New(errs.ResourceExhausted, "One request may carry %d files. Send fewer.", u.settings.MaxFiles)
	}
	return m, nil
}

// attach stores one part and puts it in place of every null its paths point at.
func (u *upload) attach(variables map[string]any, part *multipart.Part, paths []string) error {
	name, typ := part.FileName(), part.Header.Get("Content-Type")
	if !validHeader(name, 255) || !validHeader(typ, 255) {
		return errs.Input("map", "A file's name or type is too long or has control characters. Rename it.")
	}
	content, size, err := u.store(part)
	if err != nil {
		return err
	}
	for _, path := range paths {
		file := graphql.Upload{File: io.NewSectionReader(content, 0, size), Filename: name, Size: size, ContentType: typ}
		if !place(variables, path, file) {
			return errs.Input("map", "A path of \"map\" does not lead to a null in the variables.")
		}
	}
	return nil
}

// store keeps a small file in memory and a larger one in a temporary file, unlinked at once so that not even a killed
// process leaves it behind.
func (u *upload) store(r io.Reader) (io.ReaderAt, int64, error) {
	var head bytes.Buffer
	n, err := io.Copy(&head, io.LimitReader(r, u.settings.UploadMemory+1))
	if err != nil {
		return nil, 0, err
	}
	if n <= u.settings.UploadMemory {
		return bytes.NewReader(head.Bytes()), n, nil
	}
	f, err := os.CreateTemp("", "cdsa-upload-")
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errStorage, err)
	}
	u.open = append(u.open, f)
	if err := os.Remove(f.Name()); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errStorage, err)
	}
	if _, err := head.WriteTo(f); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errStorage, err)
	}
	rest, err := io.Copy(storageWriter{f}, r)
	return f, n + rest, err
}

// storageWriter tells a full disk from a broken request.
type storageWriter struct{ f *os.File }

func (w storageWriter) Write(b []byte) (int, error) {
	n, err := w.f.Write(b)
	if err != nil {
		err = fmt.Errorf("%w: %w", errStorage, err)
	}
	return n, err
}

// place sets variables.a.0.b to file where it is null now; anything else is a bad path.
func place(variables map[string]any, path string, file graphql.Upload) bool {
	parts := strings.Split(path, ".")
	if len(parts) < 2 || len(parts) > maxPathParts || parts[0] != "variables" {
		return false
	}
	var at any = variables
	for _, part := range parts[1 : len(parts)-1] {
		slot := slotOf(at, part)
		if slot == nil {
			return false
		}
		at = slot.value
	}
	slot := slotOf(at, parts[len(parts)-1])
	if slot == nil || slot.value != nil {
		return false
	}
	slot.set(file)
	return true
}

type slot struct {
	value any
	set   func(any)
}

func slotOf(container any, key string) *slot {
	switch c := container.(type) {
	case map[string]any:
		v, ok := c[key]
		if ok {
			return &slot{v, func(f any) { c[key] = f }}
		}
	case []any:
		i, err := strconv.Atoi(key)
		if err == nil && i >= 0 && i < len(c) {
			return &slot{c[i], func(f any) { c[i] = f }}
		}
	}
	return nil
}
