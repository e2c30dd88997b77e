use squawk_lexer::{LiteralKind, Token, TokenKind, tokenize};

/// The text of a migration, cut into statements without losing a byte.
///
/// The database runs the statements one by one, because PostgreSQL does not tell a
/// function where in an `execute`d text an error was: so the statement is the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    text: String,
    statements: Vec<Statement>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Statement {
    /// Where the statement ends, in bytes of the text. It begins where the last one ended.
    end: usize,
    /// The line of the statement's first word, from 1.
    line: usize,
}

/// Why a text cannot be a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ScriptError {
    /// No statement in it, only blanks and comments at most.
    Empty,
    /// A string, comment or quoted name that never ends.
    Unterminated { line: usize, what: &'static str },
    /// A zero byte, which PostgreSQL cannot store in a text.
    ZeroByte { line: usize },
    /// A statement that cannot run inside a transaction of a function.
    NotTransactional { line: usize, what: String },
}

impl Script {
    pub(crate) fn parse(text: String) -> Result<Self, ScriptError> {
        let statements = cut(&text)?;
        Ok(Self { text, statements })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The statements in order; joined they are the whole text.
    pub(crate) fn statements(&self) -> impl Iterator<Item = &str> {
        let starts =
            std::iter::once(0).chain(self.statements.iter().map(|statement| statement.end));
        starts
            .zip(&self.statements)
            .map(|(start, statement)| &self.text[start..statement.end])
    }

    /// The line on which statement `number` (from 1) begins.
    pub(crate) fn line_of(&self, number: usize) -> Option<usize> {
        Some(self.statements.get(number.checked_sub(1)?)?.line)
    }
}

/// Makes line endings LF and drops a byte order mark.
pub(crate) fn normalise(text: &str) -> String {
    text.strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace("\r\n", "\n")
}

fn cut(text: &str) -> Result<Vec<Statement>, ScriptError> {
    let mut statements: Vec<Statement> = Vec::new();
    let mut words = Words::default();
    let mut first_line = None;
    let mut depth = 0_usize;
    let (mut at, mut line) = (0, 1);

    for token in tokenize(text) {
        let token_text = &text[at..at + token.len as usize];
        at += token_text.len();
        if let Some(what) = unterminated(token) {
            return Err(ScriptError::Unterminated { line, what });
        }
        if let Some(zero) = token_text.find('\0') {
            let line = line + token_text[..zero].matches('\n').count();
            return Err(ScriptError::ZeroByte { line });
        }
        if !matches!(
            token.kind,
            TokenKind::Whitespace
                | TokenKind::LineComment
                | TokenKind::BlockComment { .. }
                | TokenKind::Semi
        ) {
            first_line.get_or_insert(line);
        }
        match token.kind {
            TokenKind::Ident => words.push(token_text),
            TokenKind::OpenParen => depth += 1,
            TokenKind::CloseParen => depth = depth.saturating_sub(1),
            TokenKind::Unknown if token_text == "\\" => {
                let rest = text[at..].split_whitespace().next().unwrap_or_default();
                return Err(ScriptError::NotTransactional {
                    line,
                    what: format!("the psql command \\{rest}"),
                });
            }
            TokenKind::Semi if depth == 0 && !words.in_atomic_body() => {
                if let Some(line) = first_line.take() {
                    words.check(line)?;
                    statements.push(Statement { end: at, line });
                } else if let Some(last) = statements.last_mut() {
                    last.end = at;
                }
                words = Words::default();
            }
            _ => {}
        }
        line += token_text.matches('\n').count();
    }

    if let Some(line) = first_line {
        words.check(line)?;
        statements.push(Statement {
            end: text.len(),
            line,
        });
    }
    // Comments behind the last statement stay with it.
    statements.last_mut().ok_or(ScriptError::Empty)?.end = text.len();
    Ok(statements)
}

fn unterminated(token: Token) -> Option<&'static str> {
    match token.kind {
        TokenKind::BlockComment { terminated: false } => Some("comment"),
        TokenKind::QuotedIdent {
            terminated: false, ..
        } => Some("quoted name"),
        TokenKind::Literal {
            kind:
                LiteralKind::Str { terminated: false }
                | LiteralKind::NationalStr { terminated: false }
                | LiteralKind::ByteStr { terminated: false }
                | LiteralKind::BitStr { terminated: false }
                | LiteralKind::UnicodeEscStr { terminated: false }
                | LiteralKind::EscStr { terminated: false },
        } => Some("string"),
        TokenKind::Literal {
            kind: LiteralKind::DollarQuotedString { terminated: false },
        } => Some("dollar-quoted string"),
        _ => None,
    }
}

/// The unquoted words of one statement, in lower case.
#[derive(Default)]
struct Words {
    words: Vec<String>,
    /// How many `end`s a `begin atomic` body still needs: its semicolons end no statement.
    atomic: usize,
}

impl Words {
    fn push(&mut self, word: &str) {
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "atomic"
                if self.words.last().is_some_and(|last| last == "begin")
                    && self.creates_routine() =>
            {
                self.atomic = 1;
            }
            "case" if self.atomic > 0 => self.atomic += 1,
            "end" if self.atomic > 0 => self.atomic -= 1,
            _ => {}
        }
        self.words.push(word);
    }

    fn in_atomic_body(&self) -> bool {
        self.atomic > 0
    }

    fn creates_routine(&self) -> bool {
        self.starts(&["create", "function"])
            || self.starts(&["create", "procedure"])
            || self.starts(&["create", "or", "replace", "function"])
            || self.starts(&["create", "or", "replace", "procedure"])
    }

    fn starts(&self, with: &[&str]) -> bool {
        self.words.len() >= with.len()
            && self.words.iter().zip(with).all(|(word, with)| word == with)
    }

    fn has(&self, wanted: &str) -> bool {
        self.words.iter().any(|word| word == wanted)
    }

    fn has_pair(&self, first: &str, second: &str) -> bool {
        self.words
            .windows(2)
            .any(|pair| pair[0] == first && pair[1] == second)
    }

    /// Refuses what PostgreSQL would refuse inside a transaction, or inside a function.
    fn check(&self, line: usize) -> Result<(), ScriptError> {
        const TRANSACTION: &[&[&str]] = &[
            &["begin"],
            &["start", "transaction"],
            &["commit"],
            &["end"],
            &["rollback"],
            &["abort"],
            &["savepoint"],
            &["release"],
            &["prepare", "transaction"],
        ];
        const OUTSIDE_ONLY: &[&[&str]] = &[
            &["vacuum"],
            &["discard", "all"],
            // It would run, and take away what PostgREST has prepared on the connection.
            &["deallocate", "all"],
            &["deallocate", "prepare", "all"],
            &["alter", "system"],
            &["create", "database"],
            &["drop", "database"],
            &["create", "tablespace"],
            &["drop", "tablespace"],
            &["reindex", "database"],
            &["reindex", "system"],
            &["reindex", "schema"],
            &["set", "role"],
            &["set", "local", "role"],
            &["set", "session", "role"],
            &["set", "session", "authorization"],
            &["set", "local", "session", "authorization"],
            &["reset", "role"],
            &["reset", "session", "authorization"],
        ];
        const CONCURRENTLY: &[(&[&str], &str)] = &[
            (&["create", "index"], "create index concurrently"),
            (
                &["create", "unique", "index"],
                "create unique index concurrently",
            ),
            (&["drop", "index"], "drop index concurrently"),
            (&["reindex"], "reindex concurrently"),
            (
                &["alter", "table"],
                "alter table … detach partition … concurrently",
            ),
        ];
        let what = if let Some(found) = TRANSACTION
            .iter()
            .chain(OUTSIDE_ONLY)
            .find(|with| self.starts(with))
        {
            found.join(" ")
        } else if let Some((_, what)) = CONCURRENTLY
            .iter()
            .find(|(with, _)| self.has("concurrently") && self.starts(with))
        {
            (*what).to_owned()
        } else if self.starts(&["copy"]) && self.has_pair("from", "stdin") {
            "copy … from stdin".to_owned()
        } else if self.starts(&["copy"]) && self.has_pair("to", "stdout") {
            "copy … to stdout".to_owned()
        } else {
            return Ok(());
        };
        Err(ScriptError::NotTransactional { line, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<String> {
        let script = Script::parse(text.to_owned()).unwrap();
        let statements: Vec<_> = script.statements().map(str::to_owned).collect();
        assert_eq!(statements.concat(), text, "no byte is lost");
        statements
    }

    fn refused(text: &str) -> String {
        match Script::parse(text.to_owned()) {
            Err(ScriptError::NotTransactional { what, .. }) => what,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_text_is_cut_after_each_statement() {
        assert_eq!(statements("select 1; select 2"), ["select 1;", " select 2"]);
    }

    #[test]
    fn comments_stay_with_the_statement_that_follows_or_with_the_last_one() {
        assert_eq!(
            statements("-- a;\nselect 1; /* b; */ -- c\n"),
            ["-- a;\nselect 1; /* b; */ -- c\n"]
        );
        assert_eq!(
            statements("select 1;\n-- b\nselect 2;"),
            ["select 1;", "\n-- b\nselect 2;"]
        );
    }

    #[test]
    fn semicolons_in_quotes_comments_and_bodies_end_nothing() {
        for text in [
            "select ';'",
            "select e'\\';'",
            "select \"a;b\"",
            "select U&'\\003b;'",
            "select 'it''s; fine'",
            "/* a /* nested; */ ; */ select 1",
            "do $$ begin perform 1; end $$",
            "do $body$ begin perform $$;$$; end $body$",
            "create rule r as on insert to t do also (insert into l values (1); select 1)",
            "create function f() returns int begin atomic select 1; select case when true then 2 end; end",
            "create or replace procedure p() language sql begin atomic insert into t values (1); end",
        ] {
            assert_eq!(statements(&format!("{text}; select 2;")).len(), 2, "{text}");
        }
    }

    #[test]
    fn a_backslash_does_not_escape_in_a_plain_string() {
        assert_eq!(statements(r"select '\'; select 2;").len(), 2);
    }

    #[test]
    fn empty_statements_are_joined_to_their_neighbours() {
        assert_eq!(statements("select 1;; ;select 2;").len(), 2);
        assert_eq!(statements(";;select 1;").len(), 1);
    }

    #[test]
    fn each_statement_knows_its_line() {
        let script =
            Script::parse("-- one\n\nselect 'a\nb';\n\n  -- two\n select 2;".to_owned()).unwrap();
        assert_eq!((script.line_of(1), script.line_of(2)), (Some(3), Some(7)));
        assert_eq!((script.line_of(0), script.line_of(3)), (None, None));
    }

    #[test]
    fn a_text_without_a_statement_is_empty() {
        for text in ["", " \n", "-- nothing\n", "/* nothing */ ;"] {
            assert_eq!(
                Script::parse(text.to_owned()),
                Err(ScriptError::Empty),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_never_ends_is_refused_with_its_line() {
        for (text, what) in [
            ("\nselect 'a", "string"),
            ("\nselect \"a", "quoted name"),
            ("\n/* a", "comment"),
            ("\ndo $x$ begin", "dollar-quoted string"),
        ] {
            let expected = Err(ScriptError::Unterminated { line: 2, what });
            assert_eq!(Script::parse(text.to_owned()), expected, "{text}");
        }
    }

    #[test]
    fn a_zero_byte_is_refused_with_its_line() {
        let expected = Err(ScriptError::ZeroByte { line: 3 });
        assert_eq!(
            Script::parse("select 1;\nselect '\n\0'".to_owned()),
            expected
        );
    }

    #[test]
    fn what_cannot_run_inside_one_transaction_is_refused() {
        for (text, what) in [
            (
                "create index concurrently i on t (a)",
                "create index concurrently",
            ),
            (
                "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)",
                "create unique index concurrently",
            ),
            ("drop index concurrently i", "drop index concurrently"),
            ("reindex (concurrently) table t", "reindex concurrently"),
            (
                "alter table t detach partition p concurrently",
                "alter table … detach partition … concurrently",
            ),
            ("vacuum full t", "vacuum"),
            ("begin", "begin"),
            ("Start  Transaction", "start transaction"),
            ("commit", "commit"),
            ("end", "end"),
            ("rollback to a", "rollback"),
            ("savepoint a", "savepoint"),
            ("copy t from stdin", "copy … from stdin"),
            (
                "copy t (a, b) from stdin with (format csv)",
                "copy … from stdin",
            ),
            ("discard all", "discard all"),
            ("deallocate all", "deallocate all"),
            ("deallocate prepare all", "deallocate prepare all"),
            ("create database d", "create database"),
            ("alter system set work_mem = '1MB'", "alter system"),
            ("set role anon", "set role"),
            ("\\i other.sql", "the psql command \\i"),
            ("\\connect db", "the psql command \\connect"),
        ] {
            assert_eq!(refused(&format!("select 1;\n{text};")), what, "{text}");
        }
    }

    #[test]
    fn words_inside_quotes_comments_and_names_are_not_commands() {
        for text in [
            "-- begin\nselect 1",
            "/* vacuum; */ select 1",
            "do $$ begin perform 1; end $$",
            "select 'create index concurrently'",
            "create table vacuum_log (begin_at int, \"commit\" int)",
            "comment on table t is 'vacuum; commit'",
            "refresh materialized view concurrently m",
            "create index i on t (concurrently_seen)",
            "insert into t values ('\\i')",
            "copy t from '/file'",
            "select e'\\\\'",
        ] {
            assert!(Script::parse(format!("{text};")).is_ok(), "{text}");
        }
    }

    #[test]
    fn line_endings_and_a_byte_order_mark_do_not_count() {
        assert_eq!(
            normalise("\u{feff}select 1;\r\nselect 2;\r\n"),
            "select 1;\nselect 2;\n"
        );
    }
}
