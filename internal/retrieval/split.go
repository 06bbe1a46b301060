package retrieval

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sizes of chunks, in tokens as Tokens estimates them. Some 300 tokens hold one thought and leave a model's window
// room for a dozen chunks.
const (
	chunkMax     = 320 // never more
	chunkEnough  = 200 // from here on a paragraph's end closes the chunk
	sectionMin   = 60  // a heading closes a chunk of this size
	chunkOverlap = 40  // at most this much is repeated from the chunk before
)

// Chunk is a passage of a text. Text is exactly the text's code points Start to End.
type Chunk struct {
	Index      int // from 0
	Start, End int // code points into the text
	Text       string
	Heading    string // the nearest above or at Start; empty when there is none
	Page       *int   // of Start, from 1; nil without pages
	TokenCount int    // estimate, 1..320
}

// Split cuts a text into chunks of whole sentences where they fit. Chunks come in order, begin and end at other
// than white space, and together hold all of the text but white space. Neighbours share up to some 40 tokens,
// except across a heading. A text of white space has no chunks.
func Split(t *Text) []Chunk {
	atoms := atomise(t)
	var out []Chunk
	pos := position{s: t.Content}
	for i := 0; i < len(atoms); {
		end := i + take(atoms[i:])
		start := i
		if i > 0 && !atoms[i].heading {
			start = overlap(atoms, i, end)
		}
		c := Chunk{Index: len(out)}
		a, b := atoms[start].start, atoms[end-1].end
		text := t.Content[a:b]
		trimmed := strings.TrimSpace(text)
		a += strings.Index(text, trimmed)
		i = end
		if trimmed == "" {
			continue
		}
		c.Text = trimmed
		c.Start = pos.rune(a)
		c.End = c.Start + runes(trimmed)
		c.Heading, c.Page, c.TokenCount = t.heading(c.Start), t.Page(c.Start), Tokens(trimmed)
		out = append(out, c)
	}
	return out
}

// take gives how many of the atoms go into the next chunk, at least one.
func take(atoms []atomText) int {
	sum, good := 0, 0
	for n, a := range atoms {
		if n > 0 {
			switch {
			case a.heading && sum >= sectionMin:
				return n
			case sum >= chunkEnough && atoms[n-1].after == paragraphEnd:
				return n
			case sum+a.tokens > chunkMax:
				if good > 0 {
					return good
				}
				return n
			}
			// A heading must not end a chunk, nor a short first sentence of a paragraph.
			if sum >= chunkEnough/2 && !atoms[n-1].heading && atoms[n-1].after >= lineEnd {
				good = n
			} else if sum >= chunkEnough && !atoms[n-1].heading {
				good = n
			}
		}
		sum += a.tokens
	}
	return len(atoms)
}

// overlap gives the first of the atoms before i that the chunk i to end repeats.
func overlap(atoms []atomText, i, end int) int {
	room := chunkMax
	for _, a := range atoms[i:end] {
		room -= a.tokens
	}
	room = min(room, chunkOverlap)
	for i > 0 && atoms[i-1].tokens <= room && !atoms[i-1].heading {
		i--
		room -= atoms[i].tokens
	}
	return i
}

// An atomText is a sentence, or a part of one too long for a chunk.
type atomText struct {
	start, end int // bytes
	tokens     int
	after      strength
	heading    bool // begins at a heading
}

func atomise(t *Text) []atomText {
	var out []atomText
	pos := position{s: t.Content}
	h := 0
	for _, s := range sentences(t.Content) {
		isHeading := false
		if h < len(t.Headings) {
			end := pos.rune(s.end)
			for ; h < len(t.Headings) && t.Headings[h].Offset < end; h++ {
				isHeading = true
			}
		}
		for a := s.start; a < s.end; {
			n, tokens := fit(t.Content[a:s.end], chunkMax)
			at := atomText{a, a + n, tokens, sentenceEnd, isHeading}
			if at.end == s.end {
				at.after = s.after
			}
			out = append(out, at)
			a, isHeading = at.end, false
		}
	}
	return out
}

// fit gives how many bytes of s make at most limit tokens, cutting between words where that leaves at least half, else
// between what readers take for characters.
func fit(s string, limit int) (n, tokens int) {
	var c counter
	space, spaceTokens := 0, 0
	for i, r := range s {
		before := c.tokens
		c.add(r)
		if c.tokens > limit {
			if spaceTokens*2 >= limit {
				return space, spaceTokens
			}
			cut := i - joined(s, i)
			if cut <= 0 {
				cut = i
			}
			return cut, min(before, limit)
		}
		if unicode.IsSpace(r) {
			space, spaceTokens = i+utf8.RuneLen(r), c.tokens
		}
	}
	return len(s), c.tokens
}

// joined gives how many bytes before i belong to the same character as what is at i, 0 when a cut at i parts nothing. It looks back some 32 code points at most.
func joined(s string, i int) int {
	cut := i
	for range 32 {
		next, _ := utf8.DecodeRuneInString(s[cut:])
		prev, n := utf8.DecodeLastRuneInString(s[:cut])
		if n == 0 {
			break
		}
		if !glued(prev, next) {
			return i - cut
		}
		cut -= n
	}
	return 0
}

// glued says whether no cut should come between two code points: Unicode's UAX 29, near enough. Flags are kept in
// one run, since a cut between their letters shows another flag.
func glued(a, b rune) bool {
	flag := func(r rune) bool { return 0x1F1E6 <= r && r <= 0x1F1FF }
	return unicode.IsMark(b) || b == 0x200D || a == 0x200D || 0x1F3FB <= b && b <= 0x1F3FF || a == '\r' && b == '\n' ||
		flag(a) && flag(b) || 0x1160 <= b && b <= 0x11FF
}

// position turns increasing byte offsets into code point offsets.
type position struct {
	s     string
	at, n int
}

func (p *position) rune(b int) int {
	if b < p.at {
		return p.n - runes(p.s[b:p.at])
	}
	p.n += runes(p.s[p.at:b])
	p.at = b
	return p.n
}

// Tokens estimates how many tokens a language model's byte-pair vocabulary makes of s, usually within a fifth for
// English prose. It is 0 for white space only.
func Tokens(s string) int {
	var c counter
	for _, r := range s {
		c.add(r)
	}
	return c.tokens
}

// counter counts a Latin word as one token and another for each six letters more, three digits or three letters of another
// alphabet as one, and any other sign as one.
type counter struct {
	tokens int
	class  int // of the run: 0 none, 1 Latin, 2 digits, 3 other letters
	length int
}

func (c *counter) add(r rune) {
	var class, every int
	switch {
	case 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || 0xC0 <= r && r < 0x250:
		class, every = 1, 7
	case '0' <= r && r <= '9':
		class, every = 2, 3
	case unicode.IsSpace(r):
		c.class = 0
		return
	case unicode.IsOneOf(scripts, r):
		class, every = 3, 3
	default:
		c.tokens++
		c.class = 0
		return
	}
	if class != c.class {
		c.class, c.length = class, 0
	}
	if c.length%every == 0 {
		c.tokens++
	}
	c.length++
}

var scripts = []*unicode.RangeTable{unicode.Cyrillic, unicode.Greek, unicode.Arabic, unicode.Hebrew, unicode.Devanagari, unicode.Latin}
