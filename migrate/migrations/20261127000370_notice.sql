-- A notice that an account's address was changed, to the former one. It carries no token.
ALTER TABLE mailed_tokens DROP CONSTRAINT mailed_tokens_kind_check,
    ADD CONSTRAINT mailed_tokens_kind_check CHECK (kind IN ('RESET', 'VERIFY', 'INVITE', 'NOTICE'));
