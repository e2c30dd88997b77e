//! Cuts SQL into statements, as PostgreSQL does, and finds what no migration can contain.

mod lexer;
mod outside;
mod refused;
#[cfg(test)]
mod tests;

pub(crate) use self::outside::Outside;
use self::{
    lexer::{Kind, Token, tokens},
    outside::Alone,
};

/// A text of SQL and where its statements are.
///
/// The database runs them one by one: PostgreSQL does not tell a function where in a text an
/// error was, so the number of the statement is the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statements {
    text: String,
    statements: Vec<Statement>,
    /// The one statement, if it runs outside a transaction.
    outside: Option<Outside>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Statement {
    /// Where it ends, in bytes of the text. It begins where the last one ended.
    end: usize,
    /// The line of its first word, from 1.
    line: usize,
}

/// Why a text cannot be a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SqlError {
    /// Only blanks and comments.
    Empty,
    /// A string, comment or quoted name that never ends.
    Unterminated { line: usize, what: &'static str },
    /// A zero byte, which PostgreSQL cannot store in a text.
    ZeroByte { line: usize },
    /// A byte order mark, which PostgreSQL reads as a letter.
    ByteOrderMark { line: usize },
    /// A backslash outside of a string that begins no command of psql.
    Backslash { line: usize },
    /// A statement that cannot run inside a transaction of a function.
    NotTransactional {
        line: usize,
        what: String,
        remedy: &'static str,
    },
    /// A change of the role.
    Role { line: usize, what: String },
    /// A statement that a version can consist of which is no transaction.
    OutsideOnly { line: usize, what: String },
    /// Of a text that is one statement outside a transaction: the second one.
    SecondStatement { line: usize },
    /// Such a text of another statement.
    NotOutside { line: usize, what: String },
    /// Such a text with an index that has no name.
    UnnamedIndex { line: usize },
    /// `select … into`, which PL/pgSQL does not execute.
    SelectInto { line: usize },
    /// `standard_conforming_strings = off`, after which PostgreSQL reads strings differently.
    OldStrings { line: usize },
}

impl Statements {
    /// Cuts a text after each statement.
    ///
    /// A semicolon ends a statement unless it is in a string, a name, a comment, in parentheses
    /// (the actions of a rule) or in the body of a function that begins with `begin atomic`.
    pub(crate) fn cut(text: String) -> Result<Self, SqlError> {
        let statements = cut(&text, false)?;
        Ok(Self {
            text,
            statements,
            outside: None,
        })
    }

    /// Takes a text of one statement for a version that is no transaction.
    pub(crate) fn alone(text: String) -> Result<Self, SqlError> {
        let statements = cut(&text, true)?;
        if let Some(second) = statements.get(1) {
            return Err(SqlError::SecondStatement { line: second.line });
        }
        let line = statements[0].line;
        let outside = match outside::read(&text) {
            Alone::Outside(outside) => Some(outside),
            Alone::AddsValue => None,
            Alone::Unnamed => return Err(SqlError::UnnamedIndex { line }),
            Alone::Other => {
                let what = outside::title(&text);
                return Err(SqlError::NotOutside { line, what });
            }
        };
        Ok(Self {
            text,
            statements,
            outside,
        })
    }

    /// The one statement, if it runs outside a transaction.
    pub(crate) fn outside(&self) -> Option<&Outside> {
        self.outside.as_ref()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The statements in order, with the comments before them. Joined they are the text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let ends = self.statements.iter().map(|statement| statement.end);
        let starts = std::iter::once(0).chain(ends.clone());
        starts.zip(ends).map(|(start, end)| &self.text[start..end])
    }

    /// The line on which statement `number` (from 1) begins.
    pub(crate) fn line_of(&self, number: usize) -> Option<usize> {
        Some(self.statements.get(number.checked_sub(1)?)?.line)
    }

    /// The line on which statement `number` (from 1) ends, without what is between it and the next one.
    pub(crate) fn last_line_of(&self, number: usize) -> Option<usize> {
        let text = self.iter().nth(number.checked_sub(1)?)?;
        let mut words = tokens(text).filter(|token| !token.is_skipped());
        let first = words.next()?;
        let end = words
            .last()
            .map_or(first.at, |last| last.at + last.text.len());
        Some(self.line_of(number)? + line_ends(&text.as_bytes()[first.at..end]))
    }
}

/// Makes line endings LF and drops a byte order mark. A CR alone stays.
pub(crate) fn normalise(text: &str) -> String {
    text.strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace("\r\n", "\n")
}

/// How many lines end in a text: at LF, CR LF or CR, as editors and PostgreSQL see it.
pub(crate) fn line_ends(text: &[u8]) -> usize {
    let next = text.iter().skip(1).map(Some).chain([None]);
    let ends = text.iter().zip(next);
    ends.filter(|end| {
        matches!(end, (b'\n', _)) || matches!(end, (b'\r', next) if *next != Some(&b'\n'))
    })
    .count()
}

/// Cuts a text. `alone`: it may have what runs outside a transaction only.
fn cut(text: &str, alone: bool) -> Result<Vec<Statement>, SqlError> {
    let mut statements: Vec<Statement> = Vec::new();
    // Of the statement that is being read: where it starts, and its first word.
    let (mut start, mut first) = (0, None);
    let mut grammar = Grammar::default();
    let mut line = 1;

    for token in tokens(text) {
        check_token(&token, line)?;
        if !token.is_skipped() {
            let ends = grammar.ends_statement(&token);
            if token.kind != Kind::Semicolon {
                first.get_or_insert(line);
            }
            if ends {
                let end = token.at + 1;
                if let Some(line) = first.take() {
                    refused::check(&text[start..end], line, alone)?;
                    statements.push(Statement { end, line });
                } else if let Some(last) = statements.last_mut() {
                    last.end = end;
                }
                start = end;
            }
        }
        line += line_ends(token.text.as_bytes());
    }

    if let Some(line) = first {
        refused::check(&text[start..], line, alone)?;
        let end = text.len();
        statements.push(Statement { end, line });
    }
    // Comments behind the last statement stay with it.
    statements.last_mut().ok_or(SqlError::Empty)?.end = text.len();
    Ok(statements)
}

/// Refuses what cannot be part of any statement.
fn check_token(token: &Token<'_>, line: usize) -> Result<(), SqlError> {
    if let Kind::Unterminated(what) = token.kind {
        return Err(SqlError::Unterminated { line, what });
    }
    if let Some(zero) = token.text.find('\0') {
        let line = line + line_ends(&token.text.as_bytes()[..zero]);
        return Err(SqlError::ZeroByte { line });
    }
    if token.kind == Kind::Word && token.text.contains('\u{feff}') {
        return Err(SqlError::ByteOrderMark { line });
    }
    Ok(())
}

/// So much of the grammar as tells which semicolons end a statement.
#[derive(Default)]
struct Grammar {
    /// Open parentheses.
    depth: usize,
    /// Open bodies that begin with `begin atomic`.
    bodies: usize,
    head: Head,
    /// Whether the last token was `begin`.
    after_begin: bool,
}

/// What the statement is by its first words; in a body, that of the body.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Head {
    #[default]
    Start,
    Create,
    CreateOr,
    CreateOrReplace,
    CreateRoutine,
    Else,
}

impl Grammar {
    /// Takes the next token, and says whether a statement ends with it.
    fn ends_statement(&mut self, token: &Token<'_>) -> bool {
        let after_begin = std::mem::replace(&mut self.after_begin, token.is("begin"));
        match token.kind {
            Kind::Open => self.depth += 1,
            Kind::Close => self.depth = self.depth.saturating_sub(1),
            Kind::Semicolon if self.depth == 0 => {
                self.head = Head::Start;
                return self.bodies == 0;
            }
            _ => {}
        }
        if self.depth > 0 {
            return false;
        }
        if self.head == Head::CreateRoutine && after_begin && token.is("atomic") {
            self.bodies += 1;
            self.head = Head::Start;
        } else if self.head == Head::Start && self.bodies > 0 && token.is("end") {
            // Only where a statement could begin: elsewhere `end` is of a `case`, or a name.
            self.bodies -= 1;
            self.head = Head::Else;
        } else {
            self.head = self.head.next(token);
        }
        false
    }
}

impl Head {
    fn next(self, token: &Token<'_>) -> Self {
        match self {
            Self::Start if token.is("create") => Self::Create,
            Self::Create if token.is("or") => Self::CreateOr,
            Self::CreateOr if token.is("replace") => Self::CreateOrReplace,
            Self::Create | Self::CreateOrReplace
                if token.is("function") || token.is("procedure") =>
            {
                Self::CreateRoutine
            }
            Self::CreateRoutine => Self::CreateRoutine,
            _ => Self::Else,
        }
    }
}
