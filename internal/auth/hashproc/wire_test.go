package hashproc

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/auth"
)

func sample() request {
	return request{
		id: 7, params: auth.Params{Memory: 64, Iterations: 2, Parallelism: 2, SaltLength: 16, KeyLength: 32},
		salt: []byte("0123456789abcdef"), password: []byte("a long password"),
	}
}

func TestRequest_Encode(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*request)
		ok     bool
	}{
		"Plain":           {func(*request) {}, true},
		"EmptyPassword":   {func(r *request) { r.password = []byte{} }, true},
		"LongestPassword": {func(r *request) { r.password = bytes.Repeat([]byte("x"), maxPassword) }, true},
		"LongestOfAll": {func(r *request) {
			r.password, r.salt, r.params.SaltLength = bytes.Repeat([]byte("x"), maxPassword), bytes.Repeat([]byte("s"), maxSaltKey), maxSaltKey
		}, true},
		"TooLong":    {func(r *request) { r.password = bytes.Repeat([]byte("x"), maxPassword+1) }, false},
		"SaltLength": {func(r *request) { r.params.SaltLength = 15 }, false},
		"NoLanes":    {func(r *request) { r.params.Parallelism = 0 }, false},
		"Memory":     {func(r *request) { r.params.Memory = 1<<20 + 1 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := sample()
			c.change(&r)
			frame, err := r.encode()
			if !c.ok {
				require.ErrorIs(t, err, errMalformed)
				return
			}
			require.NoError(t, err)
			setID(frame, 9)
			r.id = 9
			body, err := readFrame(bytes.NewReader(frame), maxRequest)
			require.NoError(t, err)
			got, err := decodeRequest(body)
			require.NoError(t, err)
			require.Equal(t, r, got)
		})
	}
}

func TestReadFrame(t *testing.T) {
	frame := encodeAnswer(1, make([]byte, 32))
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"Nothing":   {"", io.EOF},
		"HalfHead":  {"\x00\x00", io.ErrUnexpectedEOF},
		"HeadAlone": {"\x00\x00\x00\x08", io.ErrUnexpectedEOF},
		"HalfBody":  {string(frame[:20]), io.ErrUnexpectedEOF},
		"Zero":      {"\x00\x00\x00\x00", errMalformed},
		"TooLong":   {string(encodeAnswer(1, make([]byte, maxSaltKey+1))), errMalformed},
		"Enormous":  {"\xff\xff\xff\xff" + strings.Repeat("x", 100), errMalformed},
		"Text":      {"GET / HTTP/1.1\r\n", errMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readFrame(strings.NewReader(c.in), maxAnswer)
			require.Equal(t, c.want, err)
		})
	}
	body, err := readFrame(bytes.NewReader(frame), maxAnswer)
	require.NoError(t, err)
	id, key, err := decodeAnswer(body)
	require.NoError(t, err)
	require.EqualValues(t, 1, id)
	require.Equal(t, make([]byte, 32), key)
	_, _, err = decodeAnswer(make([]byte, answerHead-1))
	require.ErrorIs(t, err, errMalformed)
}

// Whatever is taken is within bounds and has one spelling; nothing longer than the bound is read.
func FuzzDecodeRequest(f *testing.F) {
	frame, err := sample().encode()
	require.NoError(f, err)
	f.Add(frame)
	f.Add(frame[:len(frame)-1])
	f.Add(frame[:frameHead+requestHead])
	f.Add([]byte("\x00\x00\x00\x13"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add(append(binary.BigEndian.AppendUint32(nil, requestHead), make([]byte, requestHead)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		body, err := readFrame(in, maxRequest)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(body), maxRequest)
		r, err := decodeRequest(body)
		if err != nil {
			require.Equal(t, errMalformed, err)
			return
		}
		require.NoError(t, auth.CheckParams(r.params))
		require.Len(t, r.salt, int(r.params.SaltLength))
		again, err := r.encode()
		require.NoError(t, err)
		require.Equal(t, b[:len(b)-in.Len()], again)
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add(encodeAnswer(1, make([]byte, 32)))
	f.Add([]byte("\x00\x00\x00\x01x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		body, err := readFrame(in, maxAnswer)
		if err != nil {
			return
		}
		id, key, err := decodeAnswer(body)
		if err != nil {
			require.Less(t, len(body), answerHead)
			return
		}
		require.LessOrEqual(t, len(key), maxSaltKey)
		require.Equal(t, b[:len(b)-in.Len()], encodeAnswer(id, key))
	})
}
