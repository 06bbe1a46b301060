package currenttime

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool"
)

func TestTool(t *testing.T) {
	now := time.Date(2026, 3, 28, 23, 30, 0, 987654321, time.UTC) // the night Berlin's clocks go forward
	b, err := New(func() time.Time { return now })
	require.NoError(t, err)
	reg, err := tool.NewRegistry(b)
	require.NoError(t, err)
	r := tool.NewRunner(reg, slog.New(slog.DiscardHandler))
	run := func(params map[string]any) (tool.Result, error) {
		return r.Run(t.Context(), tool.Call{Tool: "current_time", Parameters: params})
	}
	at := func(zone, text, offset, date, day string) map[string]any {
		return map[string]any{"time": text, "timezone": zone, "utcOffset": offset, "date": date, "weekday": day, "unix": float64(now.Unix())}
	}
	for name, c := range map[string]struct{ params, want map[string]any }{
		"Default": {nil, at("UTC", "2026-03-28T23:30:00Z", "+00:00", "2026-03-28", "Saturday")},
		"Berlin":  {map[string]any{"timezone": "Europe/Berlin"}, at("Europe/Berlin", "2026-03-29T00:30:00+01:00", "+01:00", "2026-03-29", "Sunday")},
		"Kolkata": {map[string]any{"timezone": "Asia/Kolkata"}, at("Asia/Kolkata", "2026-03-29T05:00:00+05:30", "+05:30", "2026-03-29", "Sunday")},
		"Deep": {map[string]any{"timezone": "America/Argentina/Buenos_Aires"},
			at("America/Argentina/Buenos_Aires", "2026-03-28T20:30:00-03:00", "-03:00", "2026-03-28", "Saturday")},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := run(c.params)
			require.NoError(t, err)
			require.Equal(t, tool.Result{Value: c.want, Sensitivity: enum.SensitivityPublic}, res)
		})
	}
	for _, zone := range []string{"Europe/Berlin", "America/Port-au-Prince", "America/Port_of_Spain", "Africa/Dar_es_Salaam", "Europe/Isle_of_Man", "Antarctica/McMurdo",
		"Antarctica/DumontDUrville", "America/Argentina/ComodRivadavia", "US/Eastern", "Etc/GMT+1", "America/North_Dakota/New_Salem", "Australia/NSW", "Australia/ACT",
		"Chile/EasterIsland", "Mexico/BajaNorte", "UTC", "GMT", "EST5EDT", "GB"} {
		for _, as := range []string{zone, strings.ToLower(zone), strings.ToUpper(zone)} {
			res, err := run(map[string]any{"timezone": as})
			require.NoError(t, err, as)
			require.Equal(t, zone, res.Value.(map[string]any)["timezone"], as)
		}
	}
	for _, zone := range []string{"local", "LOCAL", "Local", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe/Berlin/", " UTC", "Europe\\Berlin", "europe/"} {
		_, err := run(map[string]any{"timezone": zone})
		require.ErrorIs(t, err, unknown, zone)
	}
	_, err = run(map[string]any{"timezone": 1})
	require.ErrorContains(t, err, "must be a string")
}
