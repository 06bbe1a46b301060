// Package bigram cuts text of scripts that put no spaces between words, so that words can be found in it: each two
// neighbouring code points are a word, and the last one of a run alone. Pure; safe for concurrent use.
package bigram

import (
	"strings"
	"unicode"
)

// Class is what Is holds true, as a bracket expression's content in Postgres' regular expressions. The function
// search_text of the database has the same.
const Class = `\u0E01-\u0E3A\u0E40-\u0E4E\u0E81-\u0ECE\u1000-\u103F\u1050-\u109F\u1780-\u17D3\u3005-\u3007\u3041-\u3096\u309D-\u309F\u30A1-\u30FA\u30FC-\u30FF` +
	`\u3400-\u4DBF\u4E00-\u9FFF\uAC00-\uD7A3\uF900-\uFAFF\uFF66-\uFF9F\U00020000-\U0003FFFF`

// scripts are Thai, Lao, Burmese, Khmer, kana and Han without their digits and signs, and Hangul, whose spaces stand between phrases.
var scripts = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0E01, Hi: 0x0E3A, Stride: 1}, {Lo: 0x0E40, Hi: 0x0E4E, Stride: 1}, {Lo: 0x0E81, Hi: 0x0ECE, Stride: 1},
		{Lo: 0x1000, Hi: 0x103F, Stride: 1}, {Lo: 0x1050, Hi: 0x109F, Stride: 1}, {Lo: 0x1780, Hi: 0x17D3, Stride: 1},
		{Lo: 0x3005, Hi: 0x3007, Stride: 1}, {Lo: 0x3041, Hi: 0x3096, Stride: 1}, {Lo: 0x309D, Hi: 0x309F, Stride: 1},
		{Lo: 0x30A1, Hi: 0x30FA, Stride: 1}, {Lo: 0x30FC, Hi: 0x30FF, Stride: 1}, {Lo: 0x3400, Hi: 0x4DBF, Stride: 1},
		{Lo: 0x4E00, Hi: 0x9FFF, Stride: 1}, {Lo: 0xAC00, Hi: 0xD7A3, Stride: 1}, {Lo: 0xF900, Hi: 0xFAFF, Stride: 1}, {Lo: 0xFF66, Hi: 0xFF9F, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0x20000, Hi: 0x3FFFF, Stride: 1}},
}

// Is says whether r is a letter of such a script.
func Is(r rune) bool { return r >= 0x0E01 && unicode.Is(scripts, r) }

// Of gives the bigrams of a run; of a single code point, that.
func Of(run []rune) []string {
	if len(run) == 1 {
		return []string{string(run)}
	}
	var out []string
	for i := range len(run) - 1 {
		out = append(out, string(run[i:i+2]))
	}
	return out
}

// Parts gives a word's runs of such scripts as their bigrams and what is between them as it is, in order.
func Parts(word string) []string {
	if !strings.ContainsFunc(word, Is) {
		return []string{word}
	}
	var out []string
	rs := []rune(word)
	for i := 0; i < len(rs); {
		end := i + 1
		for end < len(rs) && Is(rs[end]) == Is(rs[i]) {
			end++
		}
		if Is(rs[i]) {
			out = append(out, Of(rs[i:end])...)
		} else {
			out = append(out, string(rs[i:end]))
		}
		i = end
	}
	return out
}
