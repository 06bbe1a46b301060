package tool

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
)

type obj = map[string]any

func parse(t *testing.T, s string) obj {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var m obj
	require.NoError(t, d.Decode(&m))
	return m
}

func requireInput(t *testing.T, err error, fields map[string]string) {
	t.Helper()
	e, ok := errs.As(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, errs.BadUserInput, e.Code)
	if fields != nil {
		require.Equal(t, fields, e.Fields)
	}
	require.NotEmpty(t, e.Message)
	for _, s := range e.Fields {
		require.NotContains(t, s, "mem:")
	}
}

func TestSchema_Validate(t *testing.T) {
	s, err := Compile(parse(t, `{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"https://elsewhere.example/x","type":"object","required":["name"],
		"properties":{
			"name":{"type":"string","minLength":2,"maxLength":5,"pattern":"^[a-z]+$"},
			"n":{"type":"integer","minimum":1,"maximum":10},
			"half":{"type":"number","multipleOf":0.5,"exclusiveMinimum":0},
			"kind":{"enum":["A","B",3,null]},
			"list":{"type":"array","items":{"$ref":"#/$defs/item"},"maxItems":3,"uniqueItems":true},
			"mail":{"type":"string","format":"email"},
			"either":{"oneOf":[{"type":"string"},{"type":"integer"}]},
			"open":{"type":"object","additionalProperties":{"type":"string"}},
			"shut":{"type":"object","properties":{"a":true},"additionalProperties":false}
		},"$defs":{"item":{"type":"object","required":["id"],"properties":{"id":{"type":["string","null"]}}}}}`))
	require.NoError(t, err)
	for name, c := range map[string]struct {
		params string
		fields map[string]string
	}{
		"OK":          {`{"name":"abc","n":10,"half":1.5,"kind":null,"list":[{"id":"x"},{"id":null}],"mail":"a@example.org","either":3,"open":{"h":"v"},"shut":{"a":1}}`, nil},
		"WholeFloat":  {`{"name":"abc","n":2.0}`, nil},
		"Missing":     {`{}`, map[string]string{"parameters.name": "parameters.name is required."}},
		"Unknown":     {`{"name":"abc","rm -rf":1}`, map[string]string{"parameters.rm -rf": "parameters.rm -rf is not known; leave it out."}},
		"UnknownDeep": {`{"name":"abc","shut":{"b":1}}`, map[string]string{"parameters.shut.b": "parameters.shut.b is not known; leave it out."}},
		"Type":        {`{"name":1}`, map[string]string{"parameters.name": "parameters.name must be a string."}},
		"Types":       {`{"name":"abc","list":[{"id":"x"},{"id":1}]}`, map[string]string{"parameters.list.1.id": "parameters.list.1.id must be null or a string."}},
		"Several": {`{"name":"a","n":11}`, map[string]string{
			"parameters.name": "parameters.name must have at least 2 characters.", "parameters.n": "parameters.n must be at most 10."}},
		"Pattern":  {`{"name":"ABC"}`, map[string]string{"parameters.name": "parameters.name must match the pattern ^[a-z]+$"}},
		"Fraction": {`{"name":"abc","n":1.5}`, map[string]string{"parameters.n": "parameters.n must be a whole number."}},
		"Multiple": {`{"name":"abc","half":0.3}`, map[string]string{"parameters.half": "parameters.half must be a multiple of 0.5."}},
		"Zero":     {`{"name":"abc","half":0}`, map[string]string{"parameters.half": "parameters.half must be more than 0."}},
		"Enum":     {`{"name":"abc","kind":"C"}`, map[string]string{"parameters.kind": `parameters.kind must be one of: "A", "B", 3, null.`}},
		"Unique":   {`{"name":"abc","list":[{"id":"x"},{"id":"x"}]}`, map[string]string{"parameters.list": "parameters.list must not have the same item twice."}},
		"Format":   {`{"name":"abc","mail":"nobody"}`, map[string]string{"parameters.mail": "parameters.mail must be a valid email."}},
		"OneOf":    {`{"name":"abc","either":true}`, map[string]string{"parameters.either": "parameters.either has none of the forms that are allowed, or one that is not."}},
		"Nested":   {`{"name":"abc","open":{"h":1}}`, map[string]string{"parameters.open.h": "parameters.open.h must be a string."}},
		"NUL":      {`{"name":"a\u0000"}`, map[string]string{"parameters": "The parameters cannot be used: a string holds the character U+0000."}},
		"Number":   {`{"name":"abc","n":1e999}`, map[string]string{"parameters": "The parameters cannot be used: a number is not finite, or is too precise for a double; send it as a string."}},
		"Tiny":     {`{"name":"abc","n":1e-999999999}`, map[string]string{"parameters": "The parameters cannot be used: a number is not finite, or is too precise for a double; send it as a string."}},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Validate(parse(t, c.params))
			if c.fields == nil {
				require.NoError(t, err)
				return
			}
			requireInput(t, err, c.fields)
		})
	}
	t.Run("NeverQuotesValues", func(t *testing.T) {
		const canary = "canary-7f3a"
		for _, p := range []obj{{"name": canary + canary}, {"name": "abc", "kind": canary}, {"name": "abc", "mail": canary}, {"name": "abc", "open": canary}} {
			err := s.Validate(p)
			requireInput(t, err, nil)
			e, _ := errs.As(err)
			require.NotContains(t, fmt.Sprint(e.Message, e.Fields), canary)
		}
	})
	t.Run("TooLarge", func(t *testing.T) {
		require.True(t, errs.Is(s.Validate(obj{"name": strings.Repeat("x", MaxParameters)}), errs.ResourceExhausted))
	})
	t.Run("TooMany", func(t *testing.T) {
		requireInput(t, s.Validate(obj{"name": "abc", "list": make([]any, MaxValues)}), map[string]string{
			"parameters": "The parameters cannot be used: there are more than 20000 values."})
	})
	t.Run("NaN", func(t *testing.T) { requireInput(t, s.Validate(obj{"n": math.NaN()}), nil) })
	t.Run("NamesAreClipped", func(t *testing.T) {
		err := s.Validate(obj{"name": "abc", strings.Repeat("k\n", 500): 1})
		requireInput(t, err, nil)
		require.Less(t, len(err.Error()), 200)
		require.NotContains(t, err.Error(), "\n")
	})
	t.Run("FieldsAreBounded", func(t *testing.T) {
		p := obj{}
		for i := range 500 {
			p[fmt.Sprint("x", i)] = i
		}
		e, _ := errs.As(s.Validate(p))
		require.Len(t, e.Fields, maxFields)
	})
	t.Run("Normalised", func(t *testing.T) {
		p, err := s.Check(obj{"name": "abc", "n": json.Number("2.0")})
		require.NoError(t, err)
		require.Equal(t, obj{"name": "abc", "n": 2.0}, p)
	})
}

func TestCompile_Refuses(t *testing.T) {
	bomb := obj{"type": "object", "properties": obj{"x": obj{"$ref": "#/$defs/a0"}}}
	defs := obj{"a20": obj{"type": "string"}}
	for i := range 20 {
		next := obj{"$ref": fmt.Sprintf("#/$defs/a%d", i+1)}
		defs[fmt.Sprintf("a%d", i)] = obj{"allOf": []any{next, next}}
	}
	bomb["$defs"] = defs
	for name, c := range map[string]struct {
		schema obj
		field  string
	}{
		"NoType":         {obj{}, "schema.type"},
		"NotObject":      {obj{"type": "array"}, "schema.type"},
		"OldDraft":       {obj{"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}, "schema.$schema"},
		"InnerDraft":     {obj{"type": "object", "properties": obj{"a": obj{"$schema": "http://json-schema.org/draft-04/schema#"}}}, "schema.properties.a.$schema"},
		"RemoteRef":      {obj{"type": "object", "$ref": "https://example.org/s.json"}, "schema.$ref"},
		"FileRef":        {obj{"type": "object", "properties": obj{"a": obj{"$ref": "file:///etc/passwd"}}}, "schema.properties.a.$ref"},
		"RelativeRef":    {obj{"type": "object", "$ref": "other.json#/a"}, "schema.$ref"},
		"RefNotText":     {obj{"type": "object", "$ref": 1}, "schema.$ref"},
		"DanglingRef":    {obj{"type": "object", "$ref": "#/$defs/none"}, "schema.$ref"},
		"InnerID":        {obj{"type": "object", "$defs": obj{"a": obj{"$id": "https://example.org/"}}}, "schema.$defs.a.$id"},
		"DynamicRef":     {obj{"type": "object", "$dynamicRef": "#x"}, "schema.$dynamicRef"},
		"SelfReference":  {obj{"type": "object", "properties": obj{"a": obj{"$ref": "#"}}}, "schema.properties.a.$ref"},
		"Recursion":      {obj{"type": "object", "properties": obj{"a": obj{"$ref": "#/$defs/t"}}, "$defs": obj{"t": obj{"items": obj{"$ref": "#/$defs/t"}}}}, ""},
		"EscapedLoop":    {obj{"type": "object", "$ref": "#/%24defs/t", "$defs": obj{"t": obj{"not": obj{"$ref": "#/%24defs/t"}}}}, ""},
		"Unfolds":        {bomb, ""},
		"BadType":        {obj{"type": "object", "properties": obj{"a": obj{"type": "text"}}}, ""},
		"BadKeyword":     {obj{"type": "object", "properties": obj{"a": obj{"minLength": -1}}}, "schema.properties.a.minLength"},
		"BadPattern":     {obj{"type": "object", "properties": obj{"a": obj{"pattern": "(?=x)"}}}, ""},
		"HugePattern":    {obj{"type": "object", "properties": obj{"a": obj{"pattern": strings.Repeat("a{900}", 40)}}}, ""},
		"LongPattern":    {obj{"type": "object", "properties": obj{"a": obj{"pattern": strings.Repeat("a", 600)}}}, ""},
		"BadPatternName": {obj{"type": "object", "patternProperties": obj{"(": true}}, ""},
		"TooLarge":       {obj{"type": "object", "description": strings.Repeat("x", maxSchema)}, "schema"},
		"NotJSON":        {obj{"type": "object", "default": make(chan int)}, "schema"},
		"PropertiesList": {obj{"type": "object", "properties": []any{}}, "schema.properties"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(c.schema)
			requireInput(t, err, nil)
			if c.field != "" {
				e, _ := errs.As(err)
				require.Contains(t, e.Fields, c.field, "%v", e.Fields)
			}
		})
	}
}

func TestCompile_OpenOnRequest(t *testing.T) {
	for name, c := range map[string]struct {
		schema obj
		ok     bool
	}{
		"Closed":               {obj{"type": "object", "properties": obj{"a": true}}, false},
		"ClosedAcrossAllOf":    {obj{"type": "object", "allOf": []any{obj{"properties": obj{"a": true}}}}, false},
		"Additional":           {obj{"type": "object", "additionalProperties": true}, true},
		"Unevaluated":          {obj{"type": "object", "unevaluatedProperties": obj{"type": "integer"}}, true},
		"PatternProperties":    {obj{"type": "object", "patternProperties": obj{"^b": true}}, true},
		"NamedInComposition":   {obj{"type": "object", "allOf": []any{obj{"properties": obj{"b": true}}}}, true},
		"NamedThroughRef":      {obj{"type": "object", "$ref": "#/$defs/x", "$defs": obj{"x": obj{"properties": obj{"b": true}}}}, true},
		"PropertyCalledDollar": {obj{"type": "object", "properties": obj{"$id": true, "b": true}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Compile(c.schema)
			require.NoError(t, err)
			err = s.Validate(obj{"b": 1})
			require.Equal(t, c.ok, err == nil, "%v", err)
		})
	}
}

func TestSchemaCache(t *testing.T) {
	c := NewSchemaCache(2)
	a, b, d := uuid.New(), uuid.New(), uuid.New()
	schema := obj{"type": "object"}
	first, err := c.Parameters(a, 1, schema)
	require.NoError(t, err)
	_, err = c.Parameters(b, 1, schema)
	require.NoError(t, err)
	again, err := c.Parameters(a, 1, nil)
	require.NoError(t, err, "served from the cache")
	require.Same(t, first, again)
	_, err = c.Output(d, 1, nil)
	require.NoError(t, err)
	_, err = c.Parameters(b, 1, nil)
	require.Error(t, err, "the least recently used went")
	_, err = c.Parameters(a, 2, obj{"type": "string"})
	require.Error(t, err, "another version is another schema")
	require.Equal(t, 2, c.order.Len())
	require.Len(t, c.byKey, 2)
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"pattern":"a+"}}}`, `{"type":"object","allOf":[{"$ref":"#"}]}`,
		`{"type":"object","properties":{"a":{"enum":[1]}},"required":["a"],"if":true,"then":{"minProperties":2}}`,
	} {
		f.Add([]byte(s), []byte(`{"a":1}`))
	}
	f.Fuzz(func(t *testing.T, schema, params []byte) {
		var s, p obj
		if json.Unmarshal(schema, &s) != nil || json.Unmarshal(params, &p) != nil {
			return
		}
		c, err := Compile(s)
		if err != nil {
			requireInput(t, err, nil)
			return
		}
		if err := c.Validate(p); err != nil {
			requireInput(t, err, nil)
		}
	})
}
