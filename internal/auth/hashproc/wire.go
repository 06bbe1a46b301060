package hashproc

import (
	"encoding/binary"
	"errors"
	"io"

	"cdsa.dev/cdsa/internal/auth"
)

// A frame is the length of its body, in four bytes, and the body. Numbers are big-endian.
const (
	frameHead   = 4
	requestHead = 8 + 4 + 4 + 1 + 1 + 1 // id, memory, iterations, parallelism, lengths of key and salt; then salt and password
	answerHead  = 8                     // id; then the key
	maxPassword = 4 << 10               // bytes: four times the longest
	maxSaltKey  = 64                    // bytes, of either
	maxRequest  = requestHead + maxSaltKey + maxPassword
	maxAnswer   = answerHead + maxSaltKey
)

var errMalformed = errors.New("a malformed frame")

type request struct {
	id             uint64
	params         auth.Params
	salt, password []byte
}

// encode gives the frame.
func (r request) encode() ([]byte, error) {
	p := r.params
	if auth.CheckParams(p) != nil || len(r.salt) != int(p.SaltLength) || len(r.password) > maxPassword {
		return nil, errMalformed
	}
	n := requestHead + len(r.salt) + len(r.password)
	b := make([]byte, 0, frameHead+n) // never grown: no copy of a password stays behind
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint64(b, r.id)
	b = binary.BigEndian.AppendUint32(b, p.Memory)
	b = binary.BigEndian.AppendUint32(b, p.Iterations)
	b = append(b, p.Parallelism, byte(p.KeyLength), byte(p.SaltLength))
	b = append(b, r.salt...)
	return append(b, r.password...), nil
}

// setID names a request once it is known who will be asked.
func setID(frame []byte, id uint64) { binary.BigEndian.PutUint64(frame[frameHead:], id) }

// decodeRequest reads a body. What it gives lies in the body's memory, so that it can be overwritten there.
func decodeRequest(body []byte) (request, error) {
	if len(body) < requestHead {
		return request{}, errMalformed
	}
	r := request{id: binary.BigEndian.Uint64(body), params: auth.Params{
		Memory: binary.BigEndian.Uint32(body[8:]), Iterations: binary.BigEndian.Uint32(body[12:]), Parallelism: body[16],
		KeyLength: uint32(body[17]), SaltLength: uint32(body[18]),
	}}
	rest, n := body[requestHead:], int(r.params.SaltLength)
	if auth.CheckParams(r.params) != nil || len(rest) < n || len(rest)-n > maxPassword {
		return request{}, errMalformed
	}
	r.salt, r.password = rest[:n], rest[n:]
	return r, nil
}

func encodeAnswer(id uint64, key []byte) []byte {
	b := make([]byte, 0, frameHead+answerHead+len(key))
	b = binary.BigEndian.AppendUint32(b, uint32(answerHead+len(key)))
	b = binary.BigEndian.AppendUint64(b, id)
	return append(b, key...)
}

func decodeAnswer(b []byte) (id uint64, key []byte, err error) {
	if len(b) < answerHead {
		return 0, nil, errMalformed
	}
	return binary.BigEndian.Uint64(b), b[answerHead:], nil
}

// readFrame reads a body of at most limit bytes; io.EOF where no frame begins. Nothing is read ahead: a buffer would
// keep passwords.
func readFrame(r io.Reader, limit uint32) ([]byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > limit {
		return nil, errMalformed
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}
