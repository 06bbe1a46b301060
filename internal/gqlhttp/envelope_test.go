package gqlhttp

import (
	"reflect"
	"testing"

	"github.com/99designs/gqlgen/graphql"
)

var envelopes = []string{
	`{"query":"{viewer{id}}"}`,
	` { "query" : "query A($n: Int) {\n  users(first: $n) { page }\n}" , "operationName":"A","variables":{"n":20,"m":[1,-2,0,true,false,null,{"a":"b"}]} } `,
	`{"query":"a","extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}},"variables":null,"operationName":null}`,
	`{"query":"\u007b\"\\\/\b\f\n\r\t","variables":{"":""}}`,
	`{"query":"a","query":"b"}`, `{"query":null}`, `{"query":7}`, `{"Query":"a"}`, `{"query":"a"}x`, `{"query":"a",}`, `{,}`, `[]`, ``, `{}`,
	`{"query":"a","variables":{"a":01}}`, `{"query":"a","variables":{"a":1.5e3,"b":-0,"c":1e999}}`, `{"query":"a","variables":{"a":123456789012345678901234567890}}`,
	"{\"query\":\"\xff\"}", "{\"query\":\"a\x00\"}", `{"query":"\ud800"}`, `{"query":"Åse 😀","variables":{"å":"é"}}`, `{"query":"a","variables":{"a":{},"b":[],"a":[ ]}}`,
}

// FuzzDecode: what the fast reader accepts, encoding/json reads alike.
func FuzzDecode(f *testing.F) {
	for _, e := range envelopes {
		f.Add([]byte(e))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var fast graphql.RawParams
		accepted := decodeFast(body, &fast)
		slow, err := decodeSlow(body)
		got, gotErr := Decode(body)
		if gotErr == nil && !reflect.DeepEqual(got, slow) {
			t.Fatalf("Decode(%q) = %#v, the judge says %#v", body, got, slow)
		}
		if (gotErr != nil) != (err != nil || complete(&slow) != nil) {
			t.Fatalf("Decode(%q) = %v, the judge says %v", body, gotErr, err)
		}
		if accepted && err == nil && !reflect.DeepEqual(fast, slow) {
			t.Fatalf("%q: fast %#v, slow %#v", body, fast, slow)
		}
	})
}

// TestDecodeFast: the plain form is not left to the slow reader.
func TestDecodeFast(t *testing.T) {
	for _, e := range envelopes[:3] {
		var p graphql.RawParams
		if !decodeFast([]byte(e), &p) {
			t.Errorf("%s is read slowly", e)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(envelopes[1])
	b.Run("Fast", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Decode(body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Slow", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeSlow(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
