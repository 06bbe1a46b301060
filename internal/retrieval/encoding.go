package retrieval

import (
	"bytes"
	"encoding/binary"
	"mime"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"

	"cdsa.dev/cdsa/internal/errs"
)

// decode gives the bytes as UTF-8, or refuses what is not text or in an encoding that cannot be told. In this order: a byte
// order mark, the shape of UTF-16 and UTF-32, valid UTF-8, the encoding that the content type or the page declares, and
// Windows-1252, which contains Latin-1, if the text looks like it. NUL and what is invalid become U+FFFD.
func decode(data []byte, k kind, contentType string) (string, error) {
	switch { // that of UTF-32 begins like that of UTF-16
	case bytes.HasPrefix(data, []byte{0xEF, 0xBB, 0xBF}):
		data = data[3:]
	case bytes.HasPrefix(data, []byte{0xFF, 0xFE, 0, 0}):
		return fromUTF32(data[4:], binary.LittleEndian), nil
	case bytes.HasPrefix(data, []byte{0, 0, 0xFE, 0xFF}):
		return fromUTF32(data[4:], binary.BigEndian), nil
	case bytes.HasPrefix(data, []byte{0xFF, 0xFE}):
		return fromUTF16(data[2:], binary.LittleEndian), nil
	case bytes.HasPrefix(data, []byte{0xFE, 0xFF}):
		return fromUTF16(data[2:], binary.BigEndian), nil
	}
	if order := shapeOfUTF32(data); order != nil {
		return fromUTF32(data, order), nil
	}
	if order := shapeOfUTF16(data); order != nil {
		return fromUTF16(data, order), nil
	}
	if err := refuseBinary(data); err != nil {
		return "", err
	}
	if e, stateful := declared(data, k, contentType); e != nil && (stateful || !utf8.Valid(data)) {
		return decodeAs(e, data)
	}
	if !utf8.Valid(data) && mostlyHighASCII(data) {
		if !likeWindows1252(data) {
			return "", unknownEncoding()
		}
		return decodeAs(charmap.Windows1252, data)
	}
	return clean(string(data)), nil
}

func unknownEncoding() error {
	return errs.Input("file", "It cannot be told in which encoding this text is. Save it as UTF-8 and upload it again.")
}

// declared is the encoding that the content type names, or the page itself; nil when none does. Stateful ones look like
// ASCII, so that being valid UTF-8 says nothing about them.
func declared(data []byte, k kind, contentType string) (e encoding.Encoding, stateful bool) {
	var name string
	if _, params, err := mime.ParseMediaType(contentType); err == nil {
		e, name = charset.Lookup(params["charset"])
	}
	if e == nil && k == htmlKind {
		if e, name, _ = charset.DetermineEncoding(data, ""); name == "windows-1252" || name == "utf-8" {
			e = nil // its guess where the page names none
		}
	}
	return e, name == "iso-2022-jp"
}

// WithCharset gives the media type with the charset that the declared one names, if it is one that Extract reads and not UTF-8;
// without a media type, that of plain text.
func WithCharset(mediaType, declared string) string {
	_, params, err := mime.ParseMediaType(declared)
	if err != nil {
		return mediaType
	}
	e, name := charset.Lookup(params["charset"])
	if e == nil || name == "utf-8" {
		return mediaType
	}
	if mediaType == "" {
		mediaType = "text/plain"
	}
	return mime.FormatMediaType(mediaType, map[string]string{"charset": name})
}

// decodeAs refuses a text of which more than one character in a hundred does not exist in the encoding.
func decodeAs(e encoding.Encoding, data []byte) (string, error) {
	out, err := e.NewDecoder().Bytes(data)
	if err != nil {
		return "", unknownEncoding()
	}
	s := clean(string(out))
	if strings.Count(s, "\uFFFD")*100 > runes(s) {
		return "", unknownEncoding()
	}
	return s, nil
}

// mostlyHighASCII says whether the invalid bytes are too many for damaged UTF-8: more than the valid sequences.
func mostlyHighASCII(data []byte) bool {
	valid, invalid := 0, 0
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			invalid++
		} else if n > 1 {
			valid++
		}
		data = data[n:]
	}
	return invalid > valid
}

// likeWindows1252 says whether the bytes can be a text in that encoding: none is undefined there, of the letters the most are
// plain ones, as in every language that is written in it, and signs such as ³ or ¿ do not stand inside words. Other
// encodings of one byte have letters in their places.
func likeWindows1252(data []byte) bool {
	plain, high, odd := 0, 0, 0
	letter := func(i int) bool {
		return i >= 0 && i < len(data) && (data[i] >= 0xC0 || 'a' <= data[i]|0x20 && data[i]|0x20 <= 'z')
	}
	for i, b := range data {
		switch {
		case b == 0x81 || b == 0x8D || b == 0x8F || b == 0x90 || b == 0x9D:
			return false
		case b >= 0xC0:
			high++
		case 'a' <= b|0x20 && b|0x20 <= 'z' && b < utf8.RuneSelf:
			plain++
		case b > 0xA0 && b != 0xAA && b != 0xAD && b != 0xB4 && b != 0xB7 && b != 0xBA && letter(i-1) && letter(i+1):
			odd++
		}
	}
	switch all := plain + high; {
	case high > 2 && high*2 > all, high > 8 && high*10 > all*3:
		return false
	default:
		return odd < 3 || odd*200 < all
	}
}

func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func fromUTF16(data []byte, order binary.ByteOrder) string {
	var b strings.Builder
	b.Grow(len(data) / 2)
	for len(data) >= 2 {
		r := rune(order.Uint16(data))
		data = data[2:]
		if utf16.IsSurrogate(r) && len(data) >= 2 {
			if p := utf16.DecodeRune(r, rune(order.Uint16(data))); p != utf8.RuneError {
				r, data = p, data[2:]
			}
		}
		b.WriteRune(r) // a lone surrogate becomes U+FFFD
	}
	return clean(b.String())
}

func fromUTF32(data []byte, order binary.ByteOrder) string {
	var b strings.Builder
	b.Grow(len(data) / 4)
	for ; len(data) >= 4; data = data[4:] {
		b.WriteRune(rune(order.Uint32(data))) // what is no code point becomes U+FFFD
	}
	return clean(b.String())
}

// shapeOfUTF32 tells UTF-32 without a mark: every four bytes are a code point that a text may have.
func shapeOfUTF32(data []byte) binary.ByteOrder {
	head := data[:min(len(data), 4096)&^3]
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		fits := len(head) >= 8
		for i := 0; fits && i < len(head); i += 4 {
			u := order.Uint32(head[i:])
			fits = u <= unicode.MaxRune && (u >= ' ' || u == '\t' || u == '\n' || u == '\r' || u == '\f') && utf8.ValidRune(rune(u))
		}
		if fits {
			return order
		}
	}
	return nil
}

// shapeOfUTF16 tells UTF-16 without a mark by the NULs that Latin letters have in one half of their bytes.
func shapeOfUTF16(data []byte) binary.ByteOrder {
	head := data[:min(len(data), 4096)&^1]
	var nul [2]int
	for i, b := range head {
		if b == 0 {
			nul[i&1]++
		}
	}
	switch half := len(head) / 2; {
	case half < 2:
		return nil
	case nul[1] > half*6/10 && nul[0] < half/20+1:
		return binary.LittleEndian
	case nul[0] > half*6/10 && nul[1] < half/20+1:
		return binary.BigEndian
	}
	return nil
}
