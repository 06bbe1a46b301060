package canonical

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// SecretRef is a secret as a call names it: its handle and the hosts its value may be sent to, never the value.
type SecretRef struct {
	Handle string
	Hosts  []string
}

// ArgsHash is what an approval binds: the SHA-256, in lower-case hex, of the RFC 8785 JSON of
//
//	{"parameters": {…}, "secrets": [{"handle": "…", "hosts": ["…"]}], "tool": "…", "version": n}
//
// with the secrets in order of their handles, hosts sorted, neither repeated; absent parameters are {} and absent
// secrets []. Parameters that have no canonical form are an error, never a hash.
func ArgsHash(tool string, version int, parameters map[string]any, secrets []SecretRef) (string, error) {
	if parameters == nil {
		parameters = map[string]any{}
	}
	hosts := map[string][]string{}
	for _, s := range secrets {
		hosts[s.Handle] = append(hosts[s.Handle], s.Hosts...)
	}
	refs := make([]any, 0, len(hosts))
	for _, handle := range sortedKeys(hosts) {
		hh := slices.Clone(hosts[handle])
		slices.SortFunc(hh, compareUTF16)
		list := make([]any, 0, len(hh))
		for _, h := range slices.Compact(hh) {
			list = append(list, h)
		}
		refs = append(refs, map[string]any{"handle": handle, "hosts": list})
	}
	b, err := Marshal(map[string]any{"tool": tool, "version": version, "parameters": parameters, "secrets": refs})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func sortedKeys(m map[string][]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareUTF16)
	return keys
}
