package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
)

const (
	prefix      = "CDSA_"
	fileSuffix  = "_FILE"
	maxFileSize = 64 << 10 // bytes of a secret's file
)

// Tooling are variables with the prefix that other programs of this repository read; the server passes over them.
var Tooling = map[string]string{
	"CDSA_SETUP_PRIVATE":     "make setup brings PostgreSQL into a private folder even where the machine has one.",
	"CDSA_TEST_DATABASE_URL": "Tests use this PostgreSQL instead of starting one.",
}

// Problems is every reason why a configuration was refused, one sentence each, sorted.
type Problems []string

func (p Problems) Error() string {
	return "the configuration is not valid:\n  - " + strings.Join(p, "\n  - ")
}

// Load fills a Config from the environment (os.Environ()) and checks it. The error is Problems, all of them, and
// never holds the value of a secret. It reads the files that …_FILE variables name and nothing else.
func Load(environ []string) (*Config, error) {
	l := loader{env: map[string]string{}}
	for _, kv := range environ {
		if name, value, _ := strings.Cut(kv, "="); value != "" {
			l.env[name] = value
		}
	}
	c := &Config{Env: Environment(l.env["CDSA_ENV"])}
	production := c.Env == Production
	fields := fieldsOf(c)
	l.refuseUnknown(fields, environ)
	for _, f := range fields {
		l.fill(f, production)
	}
	if c.InProduction() {
		for _, f := range fields {
			if f.tag("required") == "production" && f.value.IsZero() {
				l.problem("%s must be set in production.", f.name)
			}
		}
	}
	l.relations(c)
	if len(l.problems) > 0 {
		slices.Sort(l.problems)
		return nil, Problems(slices.Compact(l.problems))
	}
	return c, nil
}

type loader struct {
	env      map[string]string
	problems []string
}

func (l *loader) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// field is one variable: where its value goes and what its tags say.
type field struct {
	name, section string
	value         reflect.Value
	tags          reflect.StructTag
}

func (f field) tag(key string) string { return f.tags.Get(key) }

func (f field) secret() bool { return f.value.Type() == reflect.TypeFor[Secret]() }

// fieldsOf lists the variables of a Config in the order they are written.
func fieldsOf(c *Config) []field {
	var list []field
	var walk func(v reflect.Value, section string)
	walk = func(v reflect.Value, section string) {
		for i := range v.NumField() {
			sf := v.Type().Field(i)
			if s, ok := sf.Tag.Lookup("section"); ok {
				walk(v.Field(i), s)
				continue
			}
			list = append(list, field{name: sf.Tag.Get("env"), section: section, value: v.Field(i), tags: sf.Tag})
		}
	}
	walk(reflect.ValueOf(c).Elem(), "General")
	return list
}

func (l *loader) refuseUnknown(fields []field, environ []string) {
	known := map[string]bool{}
	for _, f := range fields {
		known[f.name] = true
		if f.secret() {
			known[f.name+fileSuffix] = true
		}
	}
	for name := range Tooling {
		known[name] = true
	}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, prefix) || known[name] {
			continue
		}
		best, distance := "", min(4, (len(name)-len(prefix)+1)/2) // a short name is near to everything
		for k := range known {
			if d := levenshtein.ComputeDistance(name, k); d < distance || d == distance && k < best {
				best, distance = k, d
			}
		}
		if best != "" {
			l.problem("%s is not a setting; did you mean %s?", name, best)
		} else {
			l.problem("%s is not a setting; docs/config.md lists them.", name)
		}
	}
}

// fill takes the variable, else its file, else its default, and checks it.
func (l *loader) fill(f field, production bool) {
	text, given := l.env[f.name]
	if path, ok := l.env[f.name+fileSuffix]; ok && f.secret() {
		if given {
			l.problem("%s and %s%s are both set; keep one.", f.name, f.name, fileSuffix)
			return
		}
		var err error
		if text, err = readSecret(path); err != nil {
			l.problem("%s%s: %v.", f.name, fileSuffix, err)
			return
		}
		defer func() {
			if p, ok := f.value.Addr().Interface().(*Secret); ok {
				p.file = path
			}
		}()
	}
	if text == "" {
		if text = f.tag("default"); production {
			if p, ok := f.tags.Lookup("production"); ok {
				text = p
			}
		}
	}
	if text == "" {
		return
	}
	shown := strconv.Quote(text)
	if f.secret() {
		shown = "its value"
	}
	if len(shown) > 200 {
		shown = shown[:200] + "…"
	}
	if err := set(f, text); err != nil {
		l.problem("%s: %s %v.", f.name, shown, err)
	}
}

func readSecret(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", pathless(err))
	}
	defer func() { _ = file.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", pathless(err))
	}
	if len(b) > maxFileSize {
		return "", fmt.Errorf("the file is larger than %d bytes", maxFileSize)
	}
	text := strings.TrimRight(string(b), "\r\n")
	if text == "" {
		return "", errors.New("the file is empty")
	}
	return text, nil
}

func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// set parses text into the field by its type, then holds it against its tags.
func set(f field, text string) error {
	v := f.value
	switch p := v.Addr().Interface().(type) {
	case *Secret:
		if err := checkSecret(f, text); err != nil {
			return err
		}
		p.text = text
		return nil
	case *Bytes:
		n, err := ParseBytes(text)
		if err != nil {
			return err
		}
		*p = n
		return between(int64(n), f, func(s string) (int64, error) { b, err := ParseBytes(s); return int64(b), err })
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("is not a duration such as 500ms, 30s or 2h")
		}
		*p = d
		return between(int64(d), f, func(s string) (int64, error) { d, err := time.ParseDuration(s); return int64(d), err })
	case *slog.Level:
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return errors.New("is not one of debug, info, warn, error")
		}
		return nil
	case *[]netip.Prefix:
		return setPrefixes(p, text)
	case *[]string:
		allowed, check := split(f.tag("oneof")), checks[f.tag("check")]
		for _, item := range split(text) {
			if len(allowed) > 0 && !slices.Contains(allowed, item) {
				return fmt.Errorf("holds what is not one of %s", strings.Join(allowed, ", "))
			}
			if check != nil {
				if err := check(item); err != nil {
					return err
				}
			}
			*p = append(*p, item)
		}
		return nil
	}
	return setScalar(f, text)
}

func setScalar(f field, text string) error {
	switch v := f.value; v.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("is not true or false")
		}
		v.SetBool(b)
		return nil
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("is not a whole number")
		}
		v.SetInt(int64(n))
		return between(int64(n), f, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	case reflect.String:
		allowed := split(f.tag("oneof"))
		if e, ok := v.Interface().(interface{ Values() []string }); ok {
			allowed = e.Values()
		}
		if len(allowed) > 0 && !slices.Contains(allowed, text) {
			return fmt.Errorf("is not one of %s", strings.Join(allowed, ", "))
		}
		if check, ok := checks[f.tag("check")]; ok {
			if err := check(text); err != nil {
				return err
			}
		}
		v.SetString(text)
		return nil
	default:
		return fmt.Errorf("has a type this package cannot read: %s", v.Type()) // TestFields keeps this from happening
	}
}

func setPrefixes(p *[]netip.Prefix, text string) error {
	for _, item := range split(text) {
		n, err := netip.ParsePrefix(item)
		if err != nil {
			a, err := netip.ParseAddr(item)
			if err != nil {
				return errors.New("holds what is not a network such as 10.0.0.0/8")
			}
			n = netip.PrefixFrom(a, a.BitLen())
		}
		*p = append(*p, n.Masked())
	}
	return nil
}

func between(n int64, f field, parse func(string) (int64, error)) error {
	for _, bound := range []string{"min", "max"} {
		text, ok := f.tags.Lookup(bound)
		if !ok {
			continue
		}
		limit, err := parse(text)
		if err != nil {
			return fmt.Errorf("has an unreadable bound %q", text)
		}
		if bound == "min" && n < limit || bound == "max" && n > limit {
			return fmt.Errorf("is not between %s and %s", f.tag("min"), f.tag("max"))
		}
	}
	return nil
}

func split(s string) []string {
	var list []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
