// Package mail sends the server's letters: through an SMTP server, or as files into a folder for a developer to read.
// Both take the same messages and refuse the same ones; one suite of tests holds them together.
//
// A message is one plain text to one person. Nothing in it can begin a header or a command: addresses are of ASCII and
// checked, names are encoded, and what holds a control character is refused. Errors and log lines name the kind of a
// message, never whom it is for or what it says; of an SMTP server's answers they have the number only, since its
// words may quote the address. Senders are safe for concurrent use.
package mail

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	gomail "github.com/wneessen/go-mail"
)

// Sender takes a message for delivery. A nil error says that it was taken, not that it was read. Permanent tells
// whether trying again is of no use.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Kind is what a message is for.
type Kind string

// The kinds of messages.
const (
	Reset  Kind = "reset"  // a link to set a new password
	Verify Kind = "verify" // a link that confirms an address
	Invite Kind = "invite" // an invitation to register
	Notice Kind = "notice" // that an account has another address now, to the former one
)

// Message is a plain text to one person.
type Message struct {
	ID      uuid.UUID // the same at each attempt, so that a second delivery can be told
	Kind    Kind
	To      string // an address of ASCII, without a name
	Name    string // of the recipient; may be empty
	Subject string
	Text    string // lines end in \n
}

// Bounds of a message. RFC 5321 section 4.5.3.1.3 has the address's.
const (
	maxAddress = 254
	maxName    = 400 // code points
	maxSubject = 200
	maxText    = 16 << 10
	maxLine    = 998 // bytes
)

// Error says why a message was not taken, without a word of it.
type Error struct {
	Step  string // what was being done
	Code  int    // the SMTP server's answer; 0: there was none
	final bool
	cause error // holds no address
}

// Error names the step and the number.
func (e *Error) Error() string {
	s := "mail: " + e.Step
	if e.Code != 0 {
		s += fmt.Sprintf(": the server answered %d", e.Code)
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// Permanent says whether a message would be refused again.
func Permanent(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.final
}

func refuse(why string) error { return &Error{Step: "refuse a message: " + why, final: true} }

// check refuses what could break out of its place.
func (m Message) check() error {
	switch {
	case m.ID == uuid.Nil || m.Kind == "":
		return refuse("it lacks an id or a kind")
	case !address(m.To):
		return refuse("the recipient is not an address")
	case !line(m.Name, maxName):
		return refuse("the recipient's name is not one line of text")
	case m.Subject == "" || !line(m.Subject, maxSubject):
		return refuse("the subject is not one line of text")
	case m.Text == "" || len(m.Text) > maxText || !utf8.ValidString(m.Text) || strings.ContainsFunc(m.Text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }):
		return refuse("the text is empty, too long or not text")
	}
	return nil
}

// address takes dot-atoms of ASCII only: no quotes, no comments, no route, nothing that another parser reads otherwise.
func address(s string) bool {
	if len(s) > maxAddress || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),:;<>[\]`, r) }) {
		return false
	}
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s
}

func line(s string, most int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) })
}

// ParseSender reads the address that messages are from, with or without a name.
func ParseSender(s string) (*mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil || !address(a.Address) || !line(a.Name, maxName) {
		return nil, errors.New("mail: the sender is not an address such as CDSA <cdsa@example.org>")
	}
	return a, nil
}

// build makes the message as it goes over the wire.
func (m Message) build(from *mail.Address, at time.Time) (*gomail.Msg, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	text, encoding := m.Text, gomail.EncodingQP
	if plain(text) { // a link can be copied from the raw message, which is how developers read it
		// The library has no 7bit: it calls unencoded text 8bit, which ASCII is as well, and leaves its line ends alone.
		text, encoding = strings.ReplaceAll(text, "\n", "\r\n"), gomail.NoEncoding
	}
	g := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP), gomail.WithCharset(gomail.CharsetUTF8))
	g.FromMailAddress(from)
	g.ToMailAddress(&mail.Address{Name: m.Name, Address: m.To})
	g.Subject(m.Subject)
	g.SetDateWithValue(at)
	g.SetMessageIDWithValue(m.ID.String() + "@" + domain)
	g.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's holiday answer comes back
	// Of the part alone: a message that is 8bit as a whole is not sent to servers without 8BITMIME, which ASCII does not need.
	g.SetBodyString(gomail.TypeTextPlain, text, gomail.WithPartEncoding(encoding))
	return g, nil
}

// plain says whether a text can go over the wire as it is: ASCII, in lines that RFC 5322 section 2.1.1 allows.
func plain(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if len(line) > maxLine || strings.ContainsFunc(line, func(r rune) bool { return r > unicode.MaxASCII }) {
			return false
		}
	}
	return true
}
