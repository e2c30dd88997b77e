//! What a migration says while it is rehearsed.
//!
//! A function cannot see notices, and PostgREST drops them. So a statement that may say something
//! goes to the database with a second text, and only to a rehearsal:
//!
//! - a `do` block with `raise notice` in it, with the same block in which each such `raise` writes
//!   down its message in place of sending it. That one runs. Where it cannot, or fails, it is taken
//!   back and the block itself runs: no failure is told that is not the migration's own. Only a
//!   lock that it has waited for in vain is not waited for again.
//! - a statement with `if exists` or `if not exists`, with the same statement without these words.
//!   Where the statement itself has changed nothing, this one is run to hear its error, which is
//!   what PostgreSQL has said before it skipped the statement. Nothing of it stays.

use serde::{Deserialize, Serialize};
use squawk_lexer::{LiteralKind, TokenKind, tokenize};

/// The name of the setting in which a block leaves what it says, one JSON array a line: level,
/// format, arguments as `quote_nullable` writes them, and pairs of a text and what it is.
const SETTING: &str = "ctx0.notices";

/// The variable that a block collects in. No block that has the name itself is rewritten.
const HEARD: &str = "ctx0_heard";

/// Bytes after which no more is written down of a statement.
const ENOUGH: usize = 8192;

/// Characters that are kept of each argument.
const LONGEST: usize = 2000;

/// Something that a migration says while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Notice {
    /// How grave it is.
    pub level: NoticeLevel,
    /// What it says.
    pub message: String,
    /// The detail, where it gives one.
    pub detail: Option<String>,
    /// The hint, where it gives one.
    pub hint: Option<String>,
    /// Whether PostgreSQL says it, of a statement that it skipped, and not the migration itself.
    pub skipped: bool,
    /// The statement that says it, from 1.
    pub statement: usize,
    /// The line of the file on which that statement begins, from 1.
    pub line: Option<usize>,
}

/// How grave a [`Notice`] is: the levels that PostgreSQL sends to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum NoticeLevel {
    /// What was asked for.
    Info,
    /// What may be of use.
    Notice,
    /// What is probably wrong.
    Warning,
}

/// The second text of a statement.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Hearing {
    /// Runs in place of it.
    Noting(String),
    /// Runs after it, if it has changed nothing, and fails.
    Strict(String),
}

impl Hearing {
    /// None of a statement that says nothing, or nothing that could be heard.
    pub(crate) fn of(statement: &str) -> Option<Self> {
        let tokens = significant(statement);
        let first = tokens.first()?;
        if first.is("do") {
            noting(&tokens).map(Self::Noting)
        } else if ["create", "alter", "drop"]
            .iter()
            .any(|word| first.is(word))
        {
            strict(statement, &tokens).map(Self::Strict)
        } else {
            None
        }
    }

    pub(crate) fn text(&self) -> &str {
        let (Self::Noting(text) | Self::Strict(text)) = self;
        text
    }
}

/// A token that is neither blank nor comment.
#[derive(Clone, Copy)]
struct Word<'t> {
    kind: TokenKind,
    text: &'t str,
    start: usize,
}

impl Word<'_> {
    fn is(&self, word: &str) -> bool {
        self.kind == TokenKind::Ident && self.text.eq_ignore_ascii_case(word)
    }

    fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

fn significant(text: &str) -> Vec<Word<'_>> {
    let mut at = 0;
    let words = tokenize(text).map(|token| {
        let start = at;
        at += token.len as usize;
        Word {
            kind: token.kind,
            text: &text[start..at],
            start,
        }
    });
    words
        .filter(|word| {
            !matches!(
                word.kind,
                TokenKind::Whitespace
                    | TokenKind::LineComment
                    | TokenKind::BlockComment { .. }
                    | TokenKind::Eof
            )
        })
        .collect()
}

/// The statement without `if exists` and `if not exists`.
fn strict(statement: &str, tokens: &[Word<'_>]) -> Option<String> {
    let mut text = String::new();
    let mut from = 0;
    for (index, word) in tokens.iter().enumerate().filter(|(_, word)| word.is("if")) {
        let length = match &tokens[index + 1..] {
            [exists, ..] if exists.is("exists") => 2,
            [not, exists, ..] if not.is("not") && exists.is("exists") => 3,
            _ => continue,
        };
        text += &statement[from..word.start];
        from = tokens[index + length - 1].end();
    }
    (from > 0).then(|| text + &statement[from..])
}

/// The block with its `raise`s written down.
fn noting(tokens: &[Word<'_>]) -> Option<String> {
    let end = tokens
        .iter()
        .rposition(|word| word.kind != TokenKind::Semi)?;
    let body = match &tokens[1..=end] {
        [body] => body,
        [language, name, body] | [body, language, name]
            if language.is("language") && name.is("plpgsql") =>
        {
            body
        }
        _ => return None,
    };
    let body = string(body)?;
    let words = significant(&body);
    if words.iter().any(|word| word.is(HEARD)) || words.first()?.kind == TokenKind::Pound {
        return None;
    }

    let mut text = String::new();
    let mut from = 0;
    for (index, word) in words.iter().enumerate() {
        if word.is("raise")
            && let Some((said, length)) = raise(&body, &words[index + 1..])
        {
            text += &body[from..word.start];
            text += &format!(
                "{HEARD} := pg_catalog.set_config('{SETTING}', pg_catalog.concat({HEARD}, \
                 pg_catalog.repeat(pg_catalog.concat({said}, E'\\n'), \
                 (pg_catalog.octet_length({HEARD}) operator(pg_catalog.<) {ENOUGH})::pg_catalog.int4)), true)"
            );
            from = words[index + length].end();
        }
    }
    if from == 0 {
        return None;
    }
    text += &body[from..];
    let end = match words.last()?.kind {
        TokenKind::Semi => "",
        _ => ";",
    };
    let block = format!(
        "declare {HEARD} pg_catalog.text := ''; begin\n{text}\n{end}\n\
         exception when lock_not_available then raise;\n\
         when assert_failure or others then\n\
         raise sqlstate 'CTX01' using message = {HEARD}, detail = sqlerrm, hint = sqlstate;\nend"
    );
    let tag = (0..)
        .map(|number| format!("$ctx0_{number}$"))
        .find(|tag| !block.contains(tag))?;
    Some(format!("do {tag}\n{block}\n{tag}"))
}

/// An expression for what a `raise` says, and the number of words after `raise` and before the
/// semicolon. None of one that ends the block, or whose message PostgreSQL would put together
/// in a way that the expression cannot.
fn raise(body: &str, words: &[Word<'_>]) -> Option<(String, usize)> {
    let length = words.iter().position(|word| word.kind == TokenKind::Semi)?;
    let (level, words) = words[..length].split_first()?;
    let level = ["info", "notice", "warning"]
        .into_iter()
        .find(|name| level.is(name))?;

    let format = words.first().filter(|word| !word.is("using"));
    let (arguments, words) = match format {
        Some(_) => arguments(body, &words[1..])?,
        None => (Vec::new(), words),
    };
    if format.is_some_and(|format| placeholders(format) != Some(arguments.len())) {
        return None;
    }
    let options = options(body, words)?;
    let given = |name| options.iter().filter(|(option, _)| *option == name).count();
    if given("message") != usize::from(format.is_none()) || given("detail") > 1 || given("hint") > 1
    {
        return None;
    }

    let format = format.map_or("null::pg_catalog.text", |format| format.text);
    let arguments = arguments
        .iter()
        .map(|argument| format!("pg_catalog.left(pg_catalog.format('%L', {argument}), {LONGEST})"));
    // A null is refused as a key, as it is refused as an option.
    let options = options
        .iter()
        .map(|(name, value)| format!("pg_catalog.jsonb_build_object({value}, '{name}')"));
    let said = format!(
        "pg_catalog.jsonb_build_array('{level}', {format}, pg_catalog.jsonb_build_array({}), \
         pg_catalog.jsonb_build_array({}))",
        arguments.collect::<Vec<_>>().join(", "),
        options.collect::<Vec<_>>().join(", "),
    );
    Some((said, length))
}

/// The expressions that stand behind a comma each, and what follows.
fn arguments<'w, 't>(
    body: &'t str,
    mut words: &'w [Word<'t>],
) -> Option<(Vec<&'t str>, &'w [Word<'t>])> {
    let mut arguments = Vec::new();
    while let [comma, rest @ ..] = words
        && comma.kind == TokenKind::Comma
    {
        let (argument, rest) = expression(body, rest)?;
        arguments.push(argument);
        words = rest;
    }
    Some((arguments, words))
}

/// The options behind `using`, with their expressions: message, detail and hint, and no other.
fn options<'t>(body: &'t str, words: &[Word<'t>]) -> Option<Vec<(&'static str, &'t str)>> {
    let mut options = Vec::new();
    let Some((using, mut words)) = words.split_first() else {
        return Some(options);
    };
    if !using.is("using") {
        return None;
    }
    loop {
        let (name, rest) = words.split_first()?;
        let name = ["message", "detail", "hint"]
            .into_iter()
            .find(|known| name.is(known))?;
        let kinds: Vec<_> = rest.iter().take(2).map(|word| word.kind).collect();
        let rest = match kinds[..] {
            [TokenKind::Eq, ..] => &rest[1..],
            [TokenKind::Colon, TokenKind::Eq] => &rest[2..],
            _ => return None,
        };
        let (value, rest) = expression(body, rest)?;
        options.push((name, value));
        match rest.split_first() {
            None => return Some(options),
            Some((comma, rest)) if comma.kind == TokenKind::Comma => words = rest,
            Some(_) => return None,
        }
    }
}

/// The expression up to the next comma or `using` outside of brackets, and what follows.
fn expression<'w, 't>(body: &'t str, words: &'w [Word<'t>]) -> Option<(&'t str, &'w [Word<'t>])> {
    let mut depth = 0_usize;
    let end = words.iter().position(|word| {
        match word.kind {
            TokenKind::OpenParen | TokenKind::OpenBracket => depth += 1,
            TokenKind::CloseParen | TokenKind::CloseBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && (word.kind == TokenKind::Comma || word.is("using"))
    });
    let (expression, rest) = words.split_at(end.unwrap_or(words.len()));
    let (first, last) = (expression.first()?, expression.last()?);
    Some((&body[first.start..last.end()], rest))
}

/// The text of a string without escapes.
fn string(word: &Word<'_>) -> Option<String> {
    match word.kind {
        TokenKind::Literal {
            kind: LiteralKind::Str { terminated: true },
        } => {
            let inner = word.text.strip_prefix('\'')?.strip_suffix('\'')?;
            Some(inner.replace("''", "'"))
        }
        TokenKind::Literal {
            kind: LiteralKind::DollarQuotedString { terminated: true },
        } => {
            let tag = &word.text[..word.text[1..].find('$')? + 2];
            let inner = word.text.strip_prefix(tag)?.strip_suffix(tag)?;
            Some(inner.to_owned())
        }
        _ => None,
    }
}

/// How many values a format asks for: `%` is one, `%%` is a percent sign. None where an escape
/// may hide one.
fn placeholders(format: &Word<'_>) -> Option<usize> {
    let TokenKind::Literal { kind } = format.kind else {
        return None;
    };
    let is_plain =
        match kind {
            LiteralKind::Str { .. } | LiteralKind::DollarQuotedString { .. } => true,
            LiteralKind::EscStr { .. } => !format.text.split('\\').skip(1).any(|escape| {
                escape.starts_with(|c: char| c.is_ascii_digit() || "xuU".contains(c))
            }),
            _ => false,
        };
    is_plain.then(|| format.text.replace("%%", "").matches('%').count())
}

/// What the lines of [`SETTING`] say, each of statement `statement`.
pub(crate) fn heard(
    said: &str,
    statement: usize,
    line: Option<usize>,
) -> impl Iterator<Item = Notice> {
    type Line = (
        NoticeLevel,
        Option<String>,
        Vec<String>,
        Vec<std::collections::BTreeMap<String, String>>,
    );
    said.lines()
        .filter_map(|said| serde_json::from_str::<Line>(said).ok())
        .map(move |(level, format, arguments, options)| {
            let option = |name: &str| {
                let mut options = options.iter().flatten();
                options
                    .find(|(_, what)| *what == name)
                    .map(|(text, _)| text.clone())
            };
            Notice {
                level,
                message: match format {
                    Some(format) => filled(&format, &arguments),
                    None => option("message").unwrap_or_default(),
                },
                detail: option("detail"),
                hint: option("hint"),
                skipped: option("skipped").is_some(),
                statement,
                line,
            }
        })
}

/// As `raise` does it.
fn filled(format: &str, arguments: &[String]) -> String {
    let mut arguments = arguments.iter();
    let mut message = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        message += before;
        rest = match after.strip_prefix('%') {
            Some(after) => {
                message.push('%');
                after
            }
            None => {
                message += &arguments
                    .next()
                    .map_or_else(String::new, |text| unquoted(text));
                after
            }
        };
    }
    message + rest
}

/// A text that `quote_nullable` has quoted, perhaps cut short.
fn unquoted(text: &str) -> String {
    if text == "NULL" {
        return "<NULL>".to_owned();
    }
    let (text, has_escapes) = match text.strip_prefix("E'") {
        Some(text) => (text, true),
        None => (text.strip_prefix('\'').unwrap_or(text), false),
    };
    let text = text.strip_suffix('\'').unwrap_or(text).replace("''", "'");
    if has_escapes {
        text.replace("\\\\", "\\")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strict(statement: &str) -> String {
        match Hearing::of(statement) {
            Some(Hearing::Strict(text)) => text,
            other => panic!("{statement}: {other:?}"),
        }
    }

    #[test]
    fn a_statement_is_made_strict_by_leaving_out_its_condition() {
        for (statement, expected) in [
            (
                "create table if not exists a (b int);",
                "create table  a (b int);",
            ),
            (
                "-- if exists\nDROP VIEW IF /* ! */ EXISTS \"if exists\" cascade",
                "-- if exists\nDROP VIEW  \"if exists\" cascade",
            ),
            (
                "alter table if exists a drop if exists b",
                "alter table  a drop  b",
            ),
        ] {
            assert_eq!(strict(statement), expected);
        }
    }

    #[test]
    fn what_says_nothing_has_no_second_text() {
        for statement in [
            "",
            "select 1",
            "drop table a",
            "insert into a values ('if exists')",
            "select 1 where not exists (select 1)",
            "do",
            "do $$ begin null; end $$",
            "do $$ begin raise exception 'x'; end $$",
            "do $$ begin raise debug 'x'; raise log 'y'; raise; end $$",
            "do $$ begin perform 'raise notice ''x'''; /* raise notice 'x'; */ end $$",
            "do $$ begin execute $x$ raise notice 'x'; $x$; end $$",
            "do language plv8 $$ raise notice 'x'; $$",
            "create function f() returns void language plpgsql as $$ begin raise notice 'x'; end $$",
        ] {
            assert_eq!(Hearing::of(statement), None, "{statement}");
        }
    }

    #[test]
    fn what_was_written_down_is_read_as_raise_writes_it() {
        let said = r#"["warning", "% and %% and %", ["NULL", "E'a\\\\b''c'"], [{"same": "detail"}, {"same": "hint"}]]
["info", null, [], [{"by option %": "message"}]]
["notice", "cut %", ["'lon"], []]
["notice", "this line was c"#;
        let notices: Vec<_> = heard(said, 3, Some(7)).collect();
        let expected = [
            (
                NoticeLevel::Warning,
                "<NULL> and % and a\\b'c",
                Some("same"),
            ),
            (NoticeLevel::Info, "by option %", None),
            (NoticeLevel::Notice, "cut lon", None),
        ];
        assert_eq!(notices.len(), expected.len());
        for (notice, (level, message, more)) in notices.iter().zip(expected) {
            assert_eq!((notice.level, notice.message.as_str()), (level, message));
            assert_eq!(
                (notice.detail.as_deref(), notice.hint.as_deref()),
                (more, more)
            );
            assert_eq!((notice.statement, notice.line), (3, Some(7)));
        }
    }

    const FRAGMENTS: &[&str] = &[
        "do ",
        "$$",
        "$é$",
        "'",
        "e'",
        "raise ",
        "notice ",
        "'x %'",
        "%",
        ",",
        "using ",
        "hint ",
        "=",
        ":=",
        ";",
        "(",
        ")",
        "[",
        "]",
        "é",
        "if ",
        "exists ",
        "not ",
        "create ",
        "--",
        "\n",
        "/*",
        "*/",
        "\\",
        "language ",
        "plpgsql ",
        "begin ",
        "#",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..Default::default() })]
        #[test]
        fn no_text_is_too_odd(fragments in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..40)) {
            let text = fragments.concat();
            let _ = Hearing::of(&text);
            let _ = Hearing::of(&format!("do $tag${text}$tag$"));
            let _ = Hearing::of(&format!("do $tag$raise notice {text};$tag$"));
            let _ = heard(&text, 1, None).count();
        }
    }
}
