package retrieval

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"cdsa.dev/cdsa/internal/errs"
)

// readHTML replaces t's content by what a reader of the page sees: a block a paragraph, items behind a dash or their number, cells
// behind a bar. What is hidden, scripted or embedded is left out, and so cannot be cited or followed.
func readHTML(ctx context.Context, t *Text, source string) error {
	root, err := html.Parse(strings.NewReader(source))
	if err != nil { // the parser's own bound of 512 open elements
		return errs.Wrap(err, errs.BadUserInput, "This HTML is nested too deeply to be read. Save the page as plain text and upload that.")
	}
	w := &htmlWriter{t: t}
	for n, steps := root, 0; n != nil; steps++ { // no recursion: depth is the document's choice
		if steps%8192 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if !hidden(n) {
			w.enter(n)
			if n.FirstChild != nil {
				n = n.FirstChild
				continue
			}
			w.leave(n)
		}
		for n != nil && n.NextSibling == nil {
			if n = n.Parent; n != nil {
				w.leave(n)
			}
		}
		if n != nil {
			n = n.NextSibling
		}
	}
	t.Content = strings.TrimRight(w.b.String(), " \n")
	return nil
}

// unread are the elements whose content is not text of the page.
var unread = set(atom.Script, atom.Style, atom.Template, atom.Noscript, atom.Head, atom.Svg, atom.Math, atom.Iframe, atom.Object, atom.Embed,
	atom.Canvas, atom.Audio, atom.Video, atom.Textarea, atom.Select, atom.Datalist)

func set(as ...atom.Atom) map[atom.Atom]bool {
	m := map[atom.Atom]bool{}
	for _, a := range as {
		m[a] = true
	}
	return m
}

// hidden says whether a reader of the page does not see the node.
func hidden(n *html.Node) bool {
	switch n.Type {
	case html.TextNode, html.DocumentNode:
		return false
	case html.ElementNode:
	default:
		return true
	}
	if unread[n.DataAtom] || n.DataAtom == atom.Dialog && !hasAttr(n, "open") {
		return true
	}
	for _, a := range n.Attr {
		switch a.Key {
		case "hidden":
			return true
		case "aria-hidden":
			if strings.EqualFold(strings.TrimSpace(a.Val), "true") {
				return true
			}
		case "style":
			if hiddenStyle(a.Val) {
				return true
			}
		}
	}
	return false
}

func hasAttr(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}

func hiddenStyle(style string) bool {
	for d := range strings.SplitSeq(strings.ToLower(style), ";") {
		k, v, _ := strings.Cut(d, ":")
		v, _, _ = strings.Cut(v, "!")
		v = strings.TrimSpace(v)
		switch strings.TrimSpace(k) {
		case "display":
			if v == "none" {
				return true
			}
		case "visibility":
			if v == "hidden" || v == "collapse" {
				return true
			}
		case "opacity":
			if strings.Trim(v, "0.%") == "" && v != "" {
				return true
			}
		case "font-size":
			if strings.TrimRight(strings.Trim(v, "0."), "pxremt%") == "" && strings.HasPrefix(v, "0") {
				return true
			}
		}
	}
	return false
}

// htmlWriter writes text with white space collapsed outside pre, counting code points.
type htmlWriter struct {
	t       *Text
	b       strings.Builder
	n       int   // code points written
	breaks  int   // line breaks owed before the next text
	space   bool  // a space owed
	fresh   bool  // an item or cell began: no break or space comes before its first text
	lists   []int // of each open list the last item's number, unordered for one without
	pre     int
	heading int // level of the open heading, 0 outside
	title   strings.Builder
	at      int // where the open heading began, -1 before its first text
}

func (w *htmlWriter) enter(n *html.Node) {
	switch {
	case n.Type == html.TextNode:
		w.text(n.Data)
		return
	case n.Type != html.ElementNode:
		return
	}
	w.owe(breaksAround(n.DataAtom))
	switch a := n.DataAtom; {
	case a == atom.Pre:
		w.pre++
	case a == atom.Ul || a == atom.Menu:
		w.lists, w.fresh = append(w.lists, unordered), false
	case a == atom.Ol:
		w.lists, w.fresh = append(w.lists, number(n, "start", 1)-1), false
	case a == atom.Table:
		w.fresh = false
	case a == atom.Li:
		w.fresh = false
		w.write(w.item(n))
		w.fresh = true
	case tableCells[a]:
		w.cell(n)
	}
	if n.DataAtom == atom.Img {
		for _, a := range n.Attr {
			if a.Key == "alt" {
				w.text(a.Val)
			}
		}
	}
	if l := htmlLevel(n.DataAtom); l > 0 {
		w.heading, w.at = l, -1
		w.title.Reset()
	}
}

func (w *htmlWriter) leave(n *html.Node) {
	if n.Type != html.ElementNode {
		return
	}
	switch a := n.DataAtom; {
	case a == atom.Pre:
		w.pre--
	case a == atom.Ul || a == atom.Menu || a == atom.Ol:
		w.lists = w.lists[:len(w.lists)-1]
	case a == atom.Li:
		w.fresh = false
	case tableCells[a]:
		if !w.fresh { // what its blocks owe would part the row
			w.breaks = 0
		}
		w.fresh = false
	}
	if htmlLevel(n.DataAtom) > 0 {
		if title := oneLine(w.title.String()); w.heading > 0 && title != "" && w.at >= 0 {
			w.t.Headings = append(w.t.Headings, Heading{w.at, w.heading, title})
		}
		w.heading = 0
	}
	w.owe(breaksAround(n.DataAtom))
}

func (w *htmlWriter) owe(breaks int) {
	if breaks > 0 && w.n > 0 && !w.fresh {
		w.breaks, w.space = max(w.breaks, breaks), false
	}
}

// item numbers an item: a dash, or the number that a reader of the page sees.
func (w *htmlWriter) item(n *html.Node) string {
	if len(w.lists) == 0 || w.lists[len(w.lists)-1] == unordered {
		return "- "
	}
	last := &w.lists[len(w.lists)-1]
	*last = number(n, "value", *last+1)
	return strconv.Itoa(*last) + ". "
}

// unordered is the number of items of a list without numbers.
const unordered = -1 << 31

// number gives an attribute that is a number a list may have, or what else it is.
func number(n *html.Node, key string, otherwise int) int {
	for _, a := range n.Attr {
		if a.Key == key {
			if v, err := strconv.Atoi(strings.TrimSpace(a.Val)); err == nil && -1e6 < v && v < 1e6 {
				return v
			}
		}
	}
	return otherwise
}

// cell begins a cell: behind a bar unless it is the row's first.
func (w *htmlWriter) cell(n *html.Node) {
	before := n.PrevSibling
	for before != nil && before.Type != html.ElementNode {
		before = before.PrevSibling
	}
	w.space = false
	switch {
	case before == nil:
	case w.breaks > 0 || w.n == 0: // those before it are empty
		w.write("| ")
	default:
		w.write(" | ")
	}
	w.fresh = true
}

func (w *htmlWriter) text(s string) {
	if w.pre > 0 {
		if s != "" {
			w.write(s)
		}
		return
	}
	for f := range strings.FieldsSeq(s) {
		if i := strings.Index(s, f); i > 0 { // white space before
			w.space = w.n > 0
		}
		w.write(f)
		s = s[strings.Index(s, f)+len(f):]
	}
	if strings.TrimLeftFunc(s, unicode.IsSpace) != s && w.n > 0 {
		w.space = true
	}
}

// write writes s after the breaks or the space owed.
func (w *htmlWriter) write(s string) {
	switch {
	case w.breaks > 0:
		w.raw(strings.Repeat("\n", w.breaks))
	case w.space && !w.fresh:
		w.raw(" ")
	}
	if (w.breaks > 0 || w.space) && w.at >= 0 {
		w.title.WriteByte(' ')
	}
	w.breaks, w.space, w.fresh = 0, false, false
	if w.heading > 0 {
		if w.at < 0 {
			w.at = w.n
		}
		w.title.WriteString(s)
	}
	w.raw(s)
}

func (w *htmlWriter) raw(s string) {
	w.b.WriteString(s)
	w.n += runes(s)
}

// htmlLevel gives 1 to 6 for a heading, else 0.
func htmlLevel(a atom.Atom) int {
	return 1 + slices.Index([]atom.Atom{atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6}, a)
}

var (
	tableCells = set(atom.Td, atom.Th)

	lines  = set(atom.Br, atom.Li, atom.Tr, atom.Dt, atom.Dd, atom.Option, atom.Figcaption, atom.Caption)
	blocks = set(atom.P, atom.Div, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Ul, atom.Ol, atom.Dl, atom.Table, atom.Pre, atom.Blockquote,
		atom.Section, atom.Article, atom.Header, atom.Footer, atom.Main, atom.Nav, atom.Aside, atom.Hr, atom.Form, atom.Fieldset, atom.Figure,
		atom.Address, atom.Details, atom.Summary, atom.Body)
)

// breaksAround gives how many line breaks stand before and after an element.
func breaksAround(a atom.Atom) int {
	switch {
	case blocks[a]:
		return 2
	case lines[a]:
		return 1
	}
	return 0
}
