-- Chinese, Japanese, Thai and others put no spaces between words, so a whole clause would be one word of the search. search_text
-- cuts each run of them into pairs of neighbours, and its last character alone: package bigram does the same to queries.
CREATE FUNCTION search_text(s text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN s !~ '[\u0E01-\u0E3A\u0E40-\u0E4E\u0E81-\u0ECE\u1000-\u103F\u1050-\u109F\u1780-\u17D3\u3005-\u3007\u3041-\u3096\u309D-\u309F\u30A1-\u30FA\u30FC-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uAC00-\uD7A3\uF900-\uFAFF\uFF66-\uFF9F\U00020000-\U0003FFFF]' THEN s
        ELSE (SELECT string_agg(CASE WHEN m[1] IS NULL THEN m[2]
                ELSE (SELECT string_agg(substr(m[1], i, 2), ' ' ORDER BY i) FROM generate_series(1, length(m[1])) i) END, ' ' ORDER BY n)
            FROM regexp_matches(s, '([\u0E01-\u0E3A\u0E40-\u0E4E\u0E81-\u0ECE\u1000-\u103F\u1050-\u109F\u1780-\u17D3\u3005-\u3007\u3041-\u3096\u309D-\u309F\u30A1-\u30FA\u30FC-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uAC00-\uD7A3\uF900-\uFAFF\uFF66-\uFF9F\U00020000-\U0003FFFF]+)|([^\u0E01-\u0E3A\u0E40-\u0E4E\u0E81-\u0ECE\u1000-\u103F\u1050-\u109F\u1780-\u17D3\u3005-\u3007\u3041-\u3096\u309D-\u309F\u30A1-\u30FA\u30FC-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uAC00-\uD7A3\uF900-\uFAFF\uFF66-\uFF9F\U00020000-\U0003FFFF]+)', 'g')
                WITH ORDINALITY AS r(m, n)) END
$$;

-- Rather fail and be tried again than have everybody wait behind this. Stop replicas of before it first: it takes minutes.
SET LOCAL lock_timeout = '5s';
SET LOCAL maintenance_work_mem = '1GB';
-- The passages that are there get their words anew with the column: nothing needs to be processed again. Postgres writes the
-- table and its indexes once more for it, which takes minutes where there are hundreds of thousands of passages.
ALTER TABLE document_chunks DROP COLUMN search_vector,
    ADD COLUMN search_vector tsvector GENERATED ALWAYS AS (CASE language WHEN 'en' THEN to_tsvector('english'::regconfig, search_text(content)) WHEN 'de' THEN to_tsvector('german'::regconfig, search_text(content)) WHEN 'fr' THEN to_tsvector('french'::regconfig, search_text(content)) WHEN 'es' THEN to_tsvector('spanish'::regconfig, search_text(content)) ELSE to_tsvector('simple'::regconfig, search_text(content)) END) STORED;
CREATE INDEX documentchunk_search_vector ON document_chunks USING gin (search_vector);
