//! PostgreSQL's lexical rules, as far as they decide where a statement ends.
//!
//! They are those of the server's scanner with `standard_conforming_strings = on`:
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>.

/// A part of a text. The tokens of a text, joined, are the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Where it begins, in bytes.
    pub(super) at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Blank,
    Comment,
    /// A keyword or an unquoted name.
    Word,
    QuotedName,
    /// A string of any kind, with all the lines on which it is continued.
    String,
    /// A string, name or comment that the text ends before it does.
    Unterminated(&'static str),
    Semicolon,
    Open,
    Close,
    /// One byte of an operator, a number and so on.
    Other,
}

impl Token<'_> {
    /// Whether it is this keyword, given in lower case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is this name, given in lower case, with or without quotes.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.is(name) || self.kind == Kind::QuotedName && self.value() == name
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Other && self.text == symbol
    }

    /// Whether a parser never sees it.
    pub(super) fn is_skipped(&self) -> bool {
        matches!(self.kind, Kind::Blank | Kind::Comment)
    }

    /// What is between its quotes, or all of it where it has none.
    pub(super) fn value(&self) -> &str {
        if let Some(tag) = dollar_tag(self.text) {
            return &self.text[tag.len()..self.text.len() - tag.len()];
        }
        let quotes = ['\'', '"'];
        match (self.text.find(quotes), self.text.rfind(quotes)) {
            (Some(first), Some(last)) if first < last => &self.text[first + 1..last],
            _ => self.text,
        }
    }
}

pub(super) fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> + Clone {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (kind, length) = first(&text[at..])?;
        let token = Token {
            kind,
            text: &text[at..at + length],
            at,
        };
        at += length;
        Some(token)
    })
}

/// The kind of the first token and its length in bytes; none at the end of the text.
///
/// All that ends a token is ASCII, so a length never splits a character.
fn first(text: &str) -> Option<(Kind, usize)> {
    let bytes = text.as_bytes();
    let ended = |kind, what, end: Option<usize>| match end {
        Some(end) => (kind, end),
        None => (Kind::Unterminated(what), text.len()),
    };
    let string = |prefix, escapes| ended(Kind::String, "string", string_end(text, prefix, escapes));
    let name = |prefix| {
        let end = quote_end(text, prefix, b'"', false);
        ended(Kind::QuotedName, "quoted name", end)
    };
    Some(match bytes {
        [] => return None,
        [byte, ..] if is_blank(*byte) => (Kind::Blank, run(bytes, is_blank)),
        [b'-', b'-', ..] => (Kind::Comment, run(bytes, |byte| !is_newline(byte))),
        [b'/', b'*', ..] => ended(Kind::Comment, "comment", comment_end(bytes)),
        [b'\'', ..] => string(0, false),
        [b'e' | b'E', b'\'', ..] => string(1, true),
        [b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'', ..] => string(1, false),
        [b'u' | b'U', b'&', b'\'', ..] => string(2, false),
        [b'u' | b'U', b'&', b'"', ..] => name(2),
        [b'"', ..] => name(0),
        [b'$', ..] => match dollar_tag(text) {
            Some(tag) => {
                let body = text[tag.len()..].find(tag);
                let end = body.map(|body| body + 2 * tag.len());
                ended(Kind::String, "dollar-quoted string", end)
            }
            None => (Kind::Other, 1),
        },
        [b';', ..] => (Kind::Semicolon, 1),
        [b'(', ..] => (Kind::Open, 1),
        [b')', ..] => (Kind::Close, 1),
        [byte, ..] if starts_name(*byte) => (Kind::Word, run(bytes, continues_name)),
        _ => (Kind::Other, 1),
    })
}

/// The end of a string. Where only blanks with a line end among them, or line comments, are
/// between two strings, they are one, and the second is read as the first was.
fn string_end(text: &str, prefix: usize, escapes: bool) -> Option<usize> {
    let mut end = quote_end(text, prefix, b'\'', escapes)?;
    while let Some(next) = continuation(&text[end..]) {
        end = quote_end(text, end + next, b'\'', escapes)?;
    }
    Some(end)
}

/// Where the quote of a string's next part is, if the string has one.
fn continuation(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (mut at, mut new_line) = (0, false);
    loop {
        match &bytes[at..] {
            [byte, ..] if is_blank(*byte) => {
                new_line |= is_newline(*byte);
                at += 1;
            }
            [b'-', b'-', ..] => at += run(&bytes[at..], |byte| !is_newline(byte)),
            [b'\'', ..] => return new_line.then_some(at),
            _ => return None,
        }
    }
}

/// The end of what the quote at `start` begins; a doubled quote is one inside.
fn quote_end(text: &str, start: usize, quote: u8, escapes: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'\\' if escapes => at += 2,
            byte if *byte != quote => at += 1,
            _ if bytes.get(at + 1) == Some(&quote) => at += 2,
            _ => return Some(at + 1),
        }
    }
}

/// The end of a block comment, in which there may be others.
fn comment_end(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0);
    loop {
        match &bytes[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] if depth == 1 => return Some(at + 2),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            [] => return None,
            _ => at += 1,
        }
    }
}

/// `$$` or `$tag$`, where a text begins with one.
fn dollar_tag(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let tag = match bytes.strip_prefix(b"$")?.first()? {
        byte if starts_name(*byte) => run(&bytes[1..], |byte| byte != b'$' && continues_name(byte)),
        _ => 0,
    };
    (bytes.get(tag + 1) == Some(&b'$')).then(|| &text[..tag + 2])
}

/// How many bytes at the beginning are of a kind.
fn run(bytes: &[u8], kind: impl Fn(u8) -> bool) -> usize {
    bytes
        .iter()
        .position(|byte| !kind(*byte))
        .unwrap_or(bytes.len())
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_name(byte: u8) -> bool {
    starts_name(byte) || byte.is_ascii_digit() || byte == b'$'
}
