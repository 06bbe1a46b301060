package gqlhttp

import (
	"mime"
	"strconv"
	"strings"
)

// media is the type of an answer.
type media int

const (
	mediaJSON media = iota
	mediaResponse
)

var contentTypes = [...][]string{
	mediaJSON:     {"application/json; charset=utf-8"},
	mediaResponse: {"application/graphql-response+json; charset=utf-8"},
}

// preference is what an Accept header says of one media type.
type preference struct {
	q        float64
	specific int // 3 the type itself, 2 application/*, 1 */*, 0 not named
	order    int
}

// negotiate picks the answer's type by RFC 9110 section 12.5.1: the most specific range gives a type its q. With
// nothing to choose by, application/json, as the draft says for clients of before its watershed.
func negotiate(accept []string) (media, bool) {
	if len(accept) == 0 {
		return mediaJSON, true
	}
	if len(accept) == 1 {
		switch accept[0] { // what most clients send
		case "", "*/*", "application/json":
			return mediaJSON, true
		case "application/graphql-response+json", "application/graphql-response+json, application/json;q=0.9", "application/graphql-response+json,application/json;q=0.9":
			return mediaResponse, true
		}
	}
	return weigh(accept)
}

func weigh(accept []string) (media, bool) {
	var prefs [2]preference
	for i, rng := range strings.Split(strings.Join(accept, ","), ",") {
		consider(&prefs, strings.TrimSpace(rng), i)
	}
	j, g := prefs[mediaJSON], prefs[mediaResponse]
	switch {
	case j.q <= 0 && g.q <= 0:
		return mediaJSON, false
	case g.q > j.q,
		g.q == j.q && g.specific > j.specific,
		g.q == j.q && g.specific == 3 && j.specific == 3 && g.order < j.order:
		return mediaResponse, true
	}
	return mediaJSON, true
}

func consider(prefs *[2]preference, rng string, order int) {
	typ, params, err := mime.ParseMediaType(rng)
	if err != nil {
		return
	}
	if cs, ok := params["charset"]; ok && !strings.EqualFold(cs, "utf-8") {
		return
	}
	q := 1.0
	if s, ok := params["q"]; ok {
		if q, err = strconv.ParseFloat(s, 64); err != nil || !(q >= 0 && q <= 1) {
			return
		}
	}
	set := func(m media, specific int) {
		if p := &prefs[m]; specific > p.specific || specific == p.specific && q > p.q {
			*p = preference{q: q, specific: specific, order: order}
		}
	}
	switch typ {
	case "application/json":
		set(mediaJSON, 3)
	case "application/graphql-response+json":
		set(mediaResponse, 3)
	case "application/*":
		set(mediaJSON, 2)
		set(mediaResponse, 2)
	case "*/*":
		set(mediaJSON, 1)
		set(mediaResponse, 1)
	}
}
