package app

import (
	"context"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"cdsa.dev/cdsa/internal/mail"
)

// mailTimeout bounds one attempt to hand a mail over.
const mailTimeout = time.Minute

// openMail makes what sends mails: an SMTP server where one is set, a folder for a developer, in production nothing.
func (a *App) openMail() (err error) {
	m := a.cfg.Mail
	switch {
	case m.SMTPAddr != "":
		a.mail, err = mail.NewSMTP(mail.SMTPConfig{Addr: m.SMTPAddr, TLS: m.SMTPTLS, Username: m.SMTPUsername, Password: m.SMTPPassword.Reveal(), From: m.From})
	case a.cfg.InProduction():
		a.log.Warn("no mails are sent: CDSA_SMTP_ADDR is not set, so nobody can reset a password or confirm an address by mail")
	default:
		a.mail, err = mail.NewFolder(filepath.Join(a.cfg.Server.DataDir, "mail"), m.From, a.log)
	}
	return err
}

// sendMail works on a mail's job. What an SMTP server refuses for good is not tried again.
func (a *App) sendMail(ctx context.Context, id uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	err := a.accounts.SendMailed(ctx, id)
	if mail.Permanent(err) {
		return river.JobCancel(err)
	}
	return err
}
