package config

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// WriteDoc writes docs/config.md: every variable with its meaning, default and bounds, in the order of the struct.
func WriteDoc(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Generated from internal/config by go run ./internal/config/gendoc; do not edit. -->

The server reads its settings from the environment, once, at start. An empty variable counts as unset. A variable
with the prefix CDSA_ that is not listed here is an error, and all problems are reported together. A secret may be
given as a file: NAME_FILE holds its path. Durations are written as 500ms, 30s or 2h, sizes as 512KiB or 2MiB.
`)
	section := ""
	for _, f := range fieldsOf(&Config{}) {
		if f.section != section {
			section = f.section
			fmt.Fprintf(&b, "\n## %s\n\n| variable | meaning | default |\n|---|---|---|\n", section)
		}
		name := "`" + f.name + "`"
		if f.secret() {
			name += " (or `" + f.name + fileSuffix + "`)"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, cell(f.tag("doc")+f.bounds()), cell(f.defaults()))
	}
	b.WriteString("\n## Read by other programs of this repository\n\n| variable | meaning |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(Tooling)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, cell(Tooling[name]))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f field) bounds() string {
	if lo, hi := f.tag("min"), f.tag("max"); lo != "" {
		return fmt.Sprintf(" From %s to %s.", lo, hi)
	}
	if e, ok := f.value.Interface().(interface{ Values() []string }); ok {
		return " One of " + strings.Join(e.Values(), ", ") + "."
	}
	if one := f.tag("oneof"); one != "" {
		return " One of " + strings.Join(split(one), ", ") + "."
	}
	return ""
}

func (f field) defaults() string {
	d := f.tag("default")
	if derived := f.tag("derived"); derived != "" {
		d = derived
	}
	if p, ok := f.tags.Lookup("production"); ok {
		if p == "" {
			p = "none"
		}
		d += " (production: " + p + ")"
	}
	if f.tag("required") == "production" {
		d = strings.TrimSpace(d + " required in production")
	}
	return d
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
