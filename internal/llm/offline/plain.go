package offline

import (
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

var (
	politeness = regexp.MustCompile(`(?i)^(?:(?:please|can you|could you|would you|will you)\s+)+`)
	calculate  = regexp.MustCompile(`(?i)^(?:calculate|compute|evaluate|work out|how much is|what is|what's)\s+(.+)$`)
	fetch      = regexp.MustCompile(`(?i)^(?:fetch|get|download|open|request|call|retrieve)\s+(?:the\s+)?(?:url|page|address)?\s*(https?://\S+)$`)
	askTime    = regexp.MustCompile(`(?i)^(?:tell me\s+)?(?:what time is it|what is the (?:current )?(?:time|date)|what's the (?:current )?(?:time|date)|what is the time|(?:the )?current (?:time|date)|what date is it|what day is it|time)(?:\s+(?:right )?now|\s+today)?(?:\s+(?:in|at|for)\s+(.+?))?(?:\s+(?:right )?now|\s+today)?$`)

	expression = regexp.MustCompile(`^(?:[0-9.\s+\-*/^%()]|sqrt|abs|min|max|round|floor|ceil|ln|log|exp|sin|cos|tan|pi|e|,)+$`)
	operation  = regexp.MustCompile(`[0-9)]\s*[+\-*/^%]\s*[0-9(+\-a-z]|[a-z]\(`)
	isoDate    = regexp.MustCompile(`^\d{4}-\d{2}(?:-\d{2})?$`)
	spoken     = strings.NewReplacer(" plus ", " + ", " minus ", " - ", " times ", " * ", " multiplied by ", " * ", " divided by ", " / ", "×", "*", "÷", "/", "−", "-")
	chain      = regexp.MustCompile(`^\d+(?:[-.]\d+)+$|^\d+(?:/\d+){2,}$`)
	percentOf  = regexp.MustCompile(`(?i)(\d)\s*(?:%|per\s?cent)\s+of\s+`)
	timesX     = regexp.MustCompile(`(\d)\s*x\s*(\d)`)
)

// plain reads a request for a built-in tool in ordinary words.
func plain(s string) (step, bool) {
	s = strings.TrimRight(politeness.ReplaceAllString(s, ""), " .?!")
	if m := fetch.FindStringSubmatch(s); m != nil {
		return step{toolHTTP, map[string]any{"method": "GET", "url": strings.TrimRight(m[1], `.,;:!?)]}>"'`)}}, true
	}
	if m := askTime.FindStringSubmatch(s); m != nil && !strings.EqualFold(s, "time") {
		return step{toolTime, map[string]any{"timezone": zone(m[1])}}, true
	}
	asked := s
	if m := calculate.FindStringSubmatch(s); m != nil {
		asked = m[1]
	}
	e := timesX.ReplaceAllString(spoken.Replace(percentOf.ReplaceAllString(asked, "$1 / 100 * ")), "$1*$2")
	e = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(e), "="))
	switch {
	case !expression.MatchString(e) || !operation.MatchString(e) || isoDate.MatchString(e):
	case asked == s && chain.MatchString(e): // a date, a telephone number, a range
	default:
		return step{toolCalculator, map[string]any{"expression": e}}, true
	}
	return step{}, false
}

// zone turns "Berlin", "new york" or "Europe/Berlin" into a time zone's name; what it does not know it leaves to the tool to refuse.
func zone(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.EqualFold(s, "utc") || strings.EqualFold(s, "gmt") {
		return "UTC"
	}
	parts := strings.Fields(s)
	for i, p := range parts {
		if p == strings.ToLower(p) && !strings.Contains(p, "/") {
			r, n := utf8.DecodeRuneInString(p)
			parts[i] = string(unicode.ToUpper(r)) + p[n:]
		}
	}
	city := strings.Join(parts, "_")
	for _, name := range []string{city, "Europe/" + city, "America/" + city, "Asia/" + city, "Africa/" + city, "Australia/" + city, "Pacific/" + city, "Atlantic/" + city} {
		if strings.Contains(name, "/") {
			if _, err := time.LoadLocation(name); err == nil {
				return name
			}
		}
	}
	return s
}
