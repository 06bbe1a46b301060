// Package currenttime is the built-in tool "current_time": the date and time in an IANA time zone, from a database
// that is part of the program. It keeps no state. An unknown zone is a *tool.Error with code TOOL_ERROR.
package currenttime

import (
	"context"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // zones, where the machine has none

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool"
)

type input struct {
	Timezone string `json:"timezone"`
}

type output struct {
	Time      string `json:"time"`      // RFC 3339, whole seconds
	Timezone  string `json:"timezone"`  // IANA name
	UTCOffset string `json:"utcOffset"` // +02:00
	Date      string `json:"date"`      // 2006-01-02
	Weekday   string `json:"weekday"`   // in English
	Unix      int64  `json:"unix"`      // seconds
}

// zoneName keeps paths and the machine's own zone ("Local") out; LoadLocation refuses the rest.
var zoneName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*){0,2}$`)

// New makes the tool; now is the clock, time.Now where it is real.
func New(now func() time.Time) (tool.Builtin, error) {
	text := map[string]any{"type": "string"}
	return tool.Typed(tool.Definition{
		Name:        "current_time",
		DisplayName: "Current time",
		Description: "Tells the current date and time in a time zone.",
		Category:    enum.ToolCategoryDataAnalysis,
		RiskLevel:   enum.RiskLevelLow,
		Schema: map[string]any{"type": "object", "additionalProperties": false, "properties": map[string]any{
			"timezone": map[string]any{"type": "string", "minLength": 1, "maxLength": 64, "default": "UTC", "description": "IANA name such as Europe/Berlin; UTC when left out."}}},
		OutputSchema: map[string]any{"type": "object", "additionalProperties": false,
			"required": []any{"time", "timezone", "utcOffset", "date", "weekday", "unix"},
			"properties": map[string]any{"time": map[string]any{"type": "string", "format": "date-time"}, "timezone": text, "utcOffset": text,
				"date": map[string]any{"type": "string", "format": "date"}, "weekday": text, "unix": map[string]any{"type": "integer"}}},
		Hints:          tool.Hints{ReadOnly: true, Idempotent: true},
		TimeoutSeconds: 5, MaxConcurrent: 8,
	}, func(_ context.Context, _ tool.Call, in input) (output, enum.Sensitivity, error) {
		name := in.Timezone
		if name == "" {
			name = "UTC"
		}
		zone := load(name)
		if zone == nil {
			return output{}, "", unknown
		}
		t := now().In(zone).Truncate(time.Second)
		return output{t.Format(time.RFC3339), zone.String(), t.Format("-07:00"), t.Format(time.DateOnly), t.Weekday().String(), t.Unix()}, enum.SensitivityPublic, nil
	})
}

// load finds a zone by its name in any case; nil when there is none.
func load(name string) *time.Location {
	if !zoneName.MatchString(name) {
		return nil
	}
	for _, n := range []string{name, proper(name), strings.ToUpper(name)} {
		if n == "Local" {
			continue
		}
		if zone, err := time.LoadLocation(n); err == nil {
			return zone
		}
	}
	return nil
}

// proper writes a name as the database does: capitals after / _ and -, but for what odd has.
func proper(name string) string {
	return word.ReplaceAllStringFunc(name, func(w string) string {
		w = strings.ToLower(w)
		if s, ok := odd[w]; ok {
			return s
		}
		return strings.ToUpper(w[:1]) + w[1:]
	})
}

var (
	word = regexp.MustCompile(`[A-Za-z]+`)
	odd  = map[string]string{"of": "of", "es": "es", "au": "au", "us": "US", "gmt": "GMT", "utc": "UTC", "uct": "UCT", "mcmurdo": "McMurdo",
		"dumontdurville": "DumontDUrville", "comodrivadavia": "ComodRivadavia", "easterisland": "EasterIsland", "bajanorte": "BajaNorte",
		"bajasur": "BajaSur", "act": "ACT", "lhi": "LHI", "nsw": "NSW"}
)

var unknown = tool.Fail("This time zone is unknown; use an IANA name such as Europe/Berlin.")
