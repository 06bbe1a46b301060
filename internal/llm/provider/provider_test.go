package provider

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
)

func TestNew(t *testing.T) {
	local := llm.Info{Name: "offline", Provider: "offline", ContextWindow: offlineWindow, SensitivityCeiling: enum.SensitivityRestricted}
	alone := local
	alone.IsDefault = true
	hosted := llm.Info{Name: "small", Provider: "openai", ContextWindow: openaiWindow, SensitivityCeiling: enum.SensitivityInternal, IsDefault: true}
	raised := hosted
	raised.ContextWindow, raised.SensitivityCeiling = 100_000, enum.SensitivityRestricted
	for _, tc := range []struct {
		name string
		c    Config
		want []llm.Info
		err  string
	}{
		{"Nothing", Config{}, []llm.Info{alone}, ""},
		{"Offline", Config{Provider: "offline", APIKey: "unused"}, []llm.Info{alone}, ""},
		{"ByKey", Config{APIKey: "sk-canary", Model: "small"}, []llm.Info{hosted, local}, ""},
		{"ByBaseURL", Config{BaseURL: "http://127.0.0.1:11434/v1", Model: "small", ContextWindow: 100_000, SensitivityCeiling: enum.SensitivityRestricted}, []llm.Info{raised, local}, ""},
		{"NoModel", Config{Provider: "openai", APIKey: "sk-canary"}, nil, "needs the name of a model"},
		{"Unknown", Config{Provider: "crystal-ball", APIKey: "sk-canary"}, nil, "there is no provider"},
		{"BadURL", Config{BaseURL: "ftp://x", APIKey: "sk-canary", Model: "small"}, nil, "base URL"},
		{"BadCeiling", Config{SensitivityCeiling: "SECRET"}, nil, "no sensitivity ceiling"},
		{"NameTaken", Config{APIKey: "sk-canary", Model: "offline"}, nil, "two models"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := New(tc.c)
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				require.NotContains(t, err.Error(), "sk-canary")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, r.List())
			require.Equal(t, tc.want[0], r.Default().Info)
		})
	}
}
