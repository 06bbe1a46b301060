package oidc_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/oidc"
)

const whole = `[{"name":"corp","issuer":"https://id.example.org/realm","clientId":"cdsa","clientSecret":"s3cr3t","scopes":["openid","groups"],
	"rolesClaim":"realm.roles","roles":{"staff":"analyst","boss":"admin"},"signUp":true,"defaultRoles":["auditor"]},
	{"name":"other","issuer":"http://127.0.0.1:9/","clientId":"x"}]`

func TestParse(t *testing.T) {
	list, err := oidc.Parse(whole, true)
	require.NoError(t, err)
	require.Equal(t, []oidc.Settings{
		{
			Name: "corp", Issuer: "https://id.example.org/realm", ClientID: "cdsa", ClientSecret: "s3cr3t", Scopes: []string{"openid", "groups"},
			RolesClaim: "realm.roles", Roles: map[string]string{"staff": "analyst", "boss": "admin"}, SignUp: true, DefaultRoles: []string{"auditor"},
		},
		{Name: "other", Issuer: "http://127.0.0.1:9/", ClientID: "x", Scopes: []string{"openid", "email", "profile"}},
	}, list)

	for _, empty := range []string{"", " \n", "[]"} {
		list, err := oidc.Parse(empty, false)
		require.NoError(t, err)
		require.Empty(t, list)
	}
	_, err = oidc.Parse(whole, false)
	require.ErrorContains(t, err, "entry 2: issuer", "http is for a developer's machine")
}

func TestParse_Refuses(t *testing.T) {
	// canary stands in every value, so that no error can quote one unseen.
	const canary = "kanarienvogel"
	entry := func(change ...string) string {
		s := `{"name":"` + canary + `","issuer":"https://` + canary + `.example.org","clientId":"` + canary + `","clientSecret":"` + canary + `"}`
		return "[" + strings.NewReplacer(change...).Replace(s) + "]"
	}
	_, err := oidc.Parse(entry(), false)
	require.NoError(t, err)
	for name, text := range map[string]string{
		"NoJSON":         canary,
		"NoList":         strings.Trim(entry(), "[]"),
		"Trailing":       entry() + canary,
		"Null":           "null",
		"NullEntry":      "[null]",
		"Truncated":      entry()[:40],
		"UnknownField":   entry(`"clientSecret"`, `"`+canary+`"`),
		"WrongType":      entry(`"clientId":"`+canary+`"`, `"clientId":{"`+canary+`":1}`),
		"NoName":         entry(`"name":"`+canary+`",`, ``),
		"NameUpper":      entry(`"name":"`, `"name":"X`),
		"NameSpace":      entry(`"name":"`, `"name":" `),
		"NameDashEnd":    entry(`"name":"`+canary, `"name":"`+canary+`-`),
		"NoIssuer":       entry(`"issuer":"https://`+canary+`.example.org",`, ``),
		"HTTPIssuer":     entry(`https:`, `http:`),
		"FTPIssuer":      entry(`https:`, `ftp:`),
		"IssuerQuery":    entry(`.example.org`, `.example.org?x`),
		"IssuerFragment": entry(`.example.org`, `.example.org#x`),
		"IssuerUser":     entry(`https://`, `https://u:`+canary+`@`),
		"NoClient":       entry(`"clientId":"`+canary+`",`, ``),
		"ClientControl":  entry(`"clientId":"`, `"clientId":"\n`),
		"SecretControl":  entry(`"clientSecret":"`, `"clientSecret":"\u0000`),
		"SecretLong":     entry(`"clientSecret":"`, `"clientSecret":"`+strings.Repeat("x", 501)),
		"ScopesNoOpenID": entry(`"clientSecret"`, `"scopes":["email"],"clientSecret"`),
		"ScopesSpace":    entry(`"clientSecret"`, `"scopes":["openid","a b"],"clientSecret"`),
		"RolesAlone":     entry(`"clientSecret"`, `"roles":{"a":"b"},"clientSecret"`),
		"ClaimAlone":     entry(`"clientSecret"`, `"rolesClaim":"a","clientSecret"`),
		"RoleEmpty":      entry(`"clientSecret"`, `"rolesClaim":"a","roles":{"a":" "},"clientSecret"`),
		"Defaults":       entry(`"clientSecret"`, `"defaultRoles":["analyst"],"clientSecret"`),
		"TwiceName":      strings.TrimSuffix(entry(), "]") + "," + strings.TrimPrefix(entry(`https://`, `https://2`), "["),
		"TwiceIssuer":    strings.TrimSuffix(entry(), "]") + "," + strings.TrimPrefix(entry(`"name":"`, `"name":"2`), "["),
		"Many":           "[" + strings.Repeat("{},", 20) + "{}]",
	} {
		t.Run(name, func(t *testing.T) {
			list, err := oidc.Parse(text, false)
			require.Error(t, err)
			require.Nil(t, list)
			require.NotContains(t, err.Error(), canary)
		})
	}
}

// FuzzParse: whatever it is given, it does not panic, and what it takes can be used.
func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add(`[{"name":"a"}]`)
	f.Add(`[[]]`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := oidc.Parse(text, true)
		for _, s := range list {
			require.NoError(t, err)
			require.NotEmpty(t, s.Name)
			require.NotEmpty(t, s.ClientID)
			require.Contains(t, s.Scopes, "openid")
		}
	})
}
