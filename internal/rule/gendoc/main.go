// Command gendoc writes docs/permissions.md: the seeded roles from package authz, what each entity needs from package
// rule, and who may do and see what from the golden tables that the API's tests hold the running server to. Run from the
// repository's root.
package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/rule"
)

const tables = "internal/apitest/testdata/"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gendoc:", err)
		os.Exit(1)
	}
}

func run() error {
	var b strings.Builder
	b.WriteString(`# Permissions

Generated from ` + "`internal/authz`, `internal/rule`" + ` and the golden tables of ` + "`internal/apitest`" + `, which tests hold the running server to. Change those.

Two questions are asked of whoever calls. May they do this at all: that is the permission an operation asks for, which a role gives. And which rows of it: that is decided beside the data, for every row, in lists, by id, in edges,
in searches and in events alike, and it asks for the permission again. A row that may not be seen is as if it did not exist.

A superuser passes permissions without holding them, never the bounds of what is one person's own: another's messages, another's documents' content. Each time that decides, it is in the audit log as SUPERUSER_BYPASS_USED
before anything is given. Background work has no such bypass. ` + "`simulateAccess`" + ` tells whether and why a user may see an object.

## Roles
Seeded at the first start; an operator's own changes survive.

`)
	roles(&b)
	b.WriteString("\nBackground work runs as one of these, with no more than its permissions (those that begin with system: no role can hold):\n\n")
	workers(&b)
	b.WriteString(`
## Operations
Each operation, called with arguments that are good for whoever may call it. **yes**: it is done. -: FORBIDDEN. sign in: UNAUTHENTICATED. none: NOT_FOUND, for want of a row of their own.

`)
	if err := operations(&b); err != nil {
		return err
	}
	b.WriteString("\n## Rows\nWhat an entity needs before any row of it is seen, besides the rows that everyone sees of themselves:\n\n")
	needs(&b)
	b.WriteString(`
Who reaches rows of each entity: another's, one's own, public ones, ones that are open to a permission, and ones that are nobody's. **id**: by ` + "`node`" + `. **list**: in the entity's own list at the root, where there is one. -: neither. Blank: there is no such row.

`)
	if err := rows(&b); err != nil {
		return err
	}
	b.WriteString(`
## Fields
Fields that not everyone sees who sees the row: who sees them of another's row, the owner of their own, and the owner's program by an API token of all they may. In brackets: who sees that there is a value, and not which.

`)
	if err := fields(&b); err != nil {
		return err
	}
	return os.WriteFile("docs/permissions.md", []byte(b.String()), 0o644) //nolint:gosec // a public document
}

func roles(b *strings.Builder) {
	line(b, append([]string{"permission", "allows"}, names(authz.Roles)...)...)
	header(b, 2+len(authz.Roles))
	for _, p := range authz.Permissions {
		cells := []string{"`" + p.Name() + "`", p.Description}
		for _, r := range authz.Roles {
			cells = append(cells, map[bool]string{true: "yes", false: ""}[slices.Contains(r.Holds, p.Name())])
		}
		line(b, cells...)
	}
}

func names(roles []authz.Role) []string {
	var l []string
	for _, r := range roles {
		l = append(l, r.Name)
	}
	return l
}

func workers(b *strings.Builder) {
	line(b, "principal", "holds")
	header(b, 2)
	for _, p := range authz.Workers() {
		line(b, "`"+p.Username+"`", "`"+strings.Join(p.Permissions(), "` `")+"`")
	}
}

func operations(b *strings.Builder) error {
	lines, err := read("matrix.golden")
	if err != nil {
		return err
	}
	words := map[string]string{"OK": "yes", "FORBIDDEN": "-", "UNAUTHENTICATED": "sign in", "NOT_FOUND": "none"}
	for i, l := range lines {
		cells := strings.Fields(strings.TrimPrefix(l, "# "))
		if i == 0 {
			line(b, cells...)
			header(b, len(cells))
			continue
		}
		cells[0] = "`" + cells[0] + "`"
		for j, c := range cells[1:] {
			if w, ok := words[c]; ok {
				cells[j+1] = w
			}
		}
		line(b, cells...)
	}
	return nil
}

func needs(b *strings.Builder) {
	line(b, "entity", "permission")
	header(b, 2)
	all := rule.Entities()
	slices.Sort(all)
	for _, e := range all {
		if n := rule.Needs(e); n != "" {
			line(b, e, "`"+n+"`")
		} else {
			line(b, e, "")
		}
	}
}

func rows(b *strings.Builder) error {
	lines, err := read("rows.golden")
	if err != nil {
		return err
	}
	words := map[string]string{"node": "id", "list": "list", "node,list": "id, list", "-": "-", "none": ""}
	for i, l := range lines {
		part := strings.SplitN(l, "|", 3)
		if len(part) != 3 {
			return fmt.Errorf("rows.golden, line %d has another form", i+1)
		}
		people := strings.Fields(part[2])
		if i > 0 {
			for j, c := range people {
				people[j] = words[c]
			}
		}
		line(b, append([]string{strings.TrimSpace(strings.TrimPrefix(part[0], "#")), strings.TrimSpace(part[1])}, people...)...)
		if i == 0 {
			header(b, 2+len(people))
		}
	}
	return nil
}

func fields(b *strings.Builder) error {
	lines, err := read("fields.golden")
	if err != nil {
		return err
	}
	line(b, "row", "field", "seen by")
	header(b, 3)
	for _, l := range lines[1:] {
		part := strings.Split(l, "|")
		if len(part) != 3 {
			return fmt.Errorf("fields.golden: a line has another form: %s", l)
		}
		by := strings.Fields(strings.ReplaceAll(part[2], "exhibit", "owner"))
		seen := strings.Join(by, ", ")
		if seen == "" {
			seen = "there was no value"
		}
		line(b, strings.TrimSpace(part[0]), "`"+strings.TrimSpace(part[1])+"`", seen)
	}
	return nil
}

// read gives the lines of a golden table.
func read(name string) ([]string, error) {
	f, err := os.Open(tables + name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		lines = append(lines, scan.Text())
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(lines) < 2 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	return lines, nil
}

func line(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func header(b *strings.Builder, columns int) {
	b.WriteString("|" + strings.Repeat("---|", columns) + "\n")
}
