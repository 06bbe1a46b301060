//go:build unix

package main

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"
)

// appendString writes a JSON string, escaping what RFC 8259 section 7 demands.
func appendString(b, s []byte) []byte {
	b = append(b, '"')
	from := 0
	for i, c := range s {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
		from = i + 1
	}
	return append(append(b, s[from:]...), '"')
}

// appendID writes a binary uuid, or null.
func appendID(b, u []byte) []byte {
	if u == nil {
		return append(b, "null"...)
	}
	b = hex.AppendEncode(append(b, '"'), u[:4])
	b = hex.AppendEncode(append(b, '-'), u[4:6])
	b = hex.AppendEncode(append(b, '-'), u[6:8])
	b = hex.AppendEncode(append(b, '-'), u[8:10])
	return append(hex.AppendEncode(append(b, '-'), u[10:]), '"')
}

func appendBool(b, v []byte) []byte { return strconv.AppendBool(b, v[0] == 1) }

// pgEpoch is 2000-01-01 UTC, from which PostgreSQL counts microseconds.
const pgEpoch = 946_684_800 * 1_000_000

func instant(v []byte) time.Time {
	return time.UnixMicro(int64(binary.BigEndian.Uint64(v)) + pgEpoch).UTC()
}

// appendTime writes a binary timestamptz, or null.
func appendTime(b, v []byte) []byte {
	if v == nil {
		return append(b, "null"...)
	}
	return append(instant(v).AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}
