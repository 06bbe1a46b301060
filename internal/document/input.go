package document

import (
	"encoding/json"
	"fmt"
	"mime"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/retrieval"
)

// Bounds of what is said about a document; characters are Unicode code points.
const (
	maxTitle       = 300
	maxSource      = 2_000
	maxFilename    = 255
	maxContentType = 200
	maxTags        = 50
	maxTag         = 100
	maxMetadata    = 256 << 10 // bytes of JSON, as for every JSON column
	maxDepth       = 64        // of nested metadata
)

// normalise brings what is said about the document into the form it is stored in, or refuses it with every bad field named.
func (in *Input) normalise(p *authz.Principal) error {
	bad := map[string]string{}
	in.named()
	in.Title = strings.TrimSpace(in.Title)
	if in.Title == "" || !text(in.Title, maxTitle) {
		bad["input.title"] = fmt.Sprintf("A title has 1 to %d characters, none of them a control character.", maxTitle)
	}
	if !text(in.Source, maxSource) {
		bad["input.source"] = fmt.Sprintf("A source has at most %d characters, none of them a control character.", maxSource)
	}
	if in.File == nil && in.Content == "" {
		bad["input.content"] = "The document is empty."
	} else if len(in.Content) > maxFile {
		bad["input.content"] = fmt.Sprintf("A document has at most %d MB.", maxFile>>20)
	}
	in.tags(bad)
	if perm := in.RequiredPermission; perm != nil {
		switch {
		case !authz.Known(*perm):
			bad["input.requiredPermission"] = "There is no such permission."
		case !p.Can(*perm):
			bad["input.requiredPermission"] = "Only a permission that you hold yourself can open a document."
		}
	}
	if in.Sensitivity != nil && !slices.Contains(in.Sensitivity.Values(), string(*in.Sensitivity)) {
		bad["input.sensitivity"] = "The sensitivity is PUBLIC, INTERNAL, CONFIDENTIAL or RESTRICTED."
	}
	if !slices.Contains(in.SourceType.Values(), string(in.SourceType)) {
		return fmt.Errorf("document: source type %q", in.SourceType)
	}
	if sentence := checkMetadata(in.Metadata); sentence != "" {
		bad["input.metadata"] = sentence
	}
	if len(bad) > 0 {
		e := errs.New(errs.BadUserInput, "The document cannot be stored as it is described. Correct the fields named.")
		e.Fields = bad
		return e
	}
	return nil
}

// named makes a file's name and type fit to store: clients send whatever their system has.
func (in *Input) named() {
	raw := in.Filename
	in.Filename = cleanName(raw)
	if raw != "" && in.Title == raw {
		in.Title = cleanName(raw)
	}
	if in.Source == "" || in.Source == raw {
		in.Source = in.Filename
	}
	kind, _, err := mime.ParseMediaType(in.ContentType)
	if err != nil || !text(kind, maxContentType) || kind == "application/octet-stream" {
		kind = ""
	}
	name := in.Filename
	if name == "" && !strings.Contains(in.Source, "://") { // the page behind an address is not the text in the call
		name = in.Source
	}
	if byName := formats[strings.ToLower(path.Ext(name))]; byName != "" {
		kind = byName
	}
	in.ContentType = retrieval.WithCharset(kind, in.ContentType)
}

// formats are the extensions that are trusted more than a declared type: browsers seldom know Markdown.
var formats = map[string]string{
	".md": "text/markdown", ".markdown": "text/markdown", ".mdown": "text/markdown", ".mkd": "text/markdown",
	".html": "text/html", ".htm": "text/html", ".xhtml": "text/html",
	".txt": "text/plain", ".text": "text/plain", ".log": "text/plain", ".csv": "text/plain", ".tsv": "text/plain",
}

// cleanName is a file name without folders and control characters, cut from the front so that the extension stays.
func cleanName(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	if s = path.Base(strings.ReplaceAll(s, `\`, "/")); s == "." || s == "/" {
		return ""
	}
	if r := []rune(s); len(r) > maxFilename {
		s = string(r[len(r)-maxFilename:])
	}
	return strings.TrimSpace(s)
}

// badTags says whether these cannot be looked for.
func badTags(tags []string) bool {
	return len(tags) > maxTags || slices.ContainsFunc(tags, func(t string) bool { return !text(t, maxTag) })
}

func (in *Input) tags(bad map[string]string) {
	tags := make([]string, 0, len(in.Tags))
	for _, t := range in.Tags {
		t = strings.TrimSpace(t)
		if t == "" || !text(t, maxTag) {
			bad["input.tags"] = fmt.Sprintf("A tag has 1 to %d characters, none of them a control character.", maxTag)
			return
		}
		if !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
		if len(tags) > maxTags {
			bad["input.tags"] = fmt.Sprintf("At most %d tags.", maxTags)
			return
		}
	}
	in.Tags = tags
}

// text says whether s is storable as a line of at most n characters.
func text(s string, n int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= n && !strings.ContainsFunc(s, unicode.IsControl)
}

// checkMetadata gives what is wrong with it, empty when nothing is. Postgres stores no NUL in JSON.
func checkMetadata(m map[string]any) string {
	if !storable(m, maxDepth) {
		return fmt.Sprintf("Metadata may be nested %d deep and must be text without NUL.", maxDepth)
	}
	b, err := json.Marshal(m)
	if err != nil {
		return "Metadata must be JSON."
	}
	if len(b) > maxMetadata {
		return fmt.Sprintf("Metadata may have at most %d KB.", maxMetadata>>10)
	}
	return ""
}

func storable(v any, depth int) bool {
	if depth == 0 {
		return false
	}
	switch v := v.(type) {
	case string:
		return utf8.ValidString(v) && !strings.ContainsRune(v, 0)
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !storable(e, depth-1) })
	case map[string]any:
		for k, e := range v {
			if !storable(k, depth) || !storable(e, depth-1) {
				return false
			}
		}
	}
	return true
}
