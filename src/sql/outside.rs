//! The statements that PostgreSQL runs outside a transaction only, and that a version can consist of.

use serde::Serialize;

use super::lexer::{Kind, Token, tokens};

/// A statement that cannot run inside a transaction, taken apart as far as its outcome depends on it.
///
/// The database gets it in this form and puts the statement together itself: while it runs, its index
/// has a name that belongs to the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Outside {
    CreateIndex {
        unique: bool,
        if_not_exists: bool,
        /// As PostgreSQL stores it.
        name: String,
        /// As it is written.
        table: String,
        /// What follows the table.
        rest: String,
    },
    DropIndex {
        if_exists: bool,
        /// As it is written.
        index: String,
    },
    Vacuum {
        table: String,
        /// The statement alone.
        sql: String,
    },
    Reindex {
        /// The index, or the table, as it is written.
        relation: String,
        sql: String,
    },
    DetachPartition {
        if_exists: bool,
        /// The partitioned table, as it is written.
        table: String,
        /// As it is written.
        partition: String,
    },
}

impl Outside {
    /// What it is called in an error.
    pub(super) fn title(&self) -> &'static str {
        match self {
            Self::CreateIndex { unique: true, .. } => "create unique index concurrently",
            Self::CreateIndex { unique: false, .. } => "create index concurrently",
            Self::DropIndex { .. } => "drop index concurrently",
            Self::Vacuum { .. } => "vacuum",
            Self::Reindex { .. } => "reindex concurrently",
            Self::DetachPartition { .. } => "alter table … detach partition … concurrently",
        }
    }

    /// Whether the same can be done inside a transaction.
    pub(crate) fn can_run_inside(&self) -> bool {
        match self {
            Self::CreateIndex { .. } | Self::DropIndex { .. } | Self::DetachPartition { .. } => {
                true
            }
            Self::Vacuum { .. } | Self::Reindex { .. } => false,
        }
    }
}

/// What a single statement is that is to run outside a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    Outside(Outside),
    /// It runs in a transaction as well, since PostgreSQL 12.
    AddsValue,
    /// An index without a name, by which its outcome would be known.
    Unnamed,
    /// It is none of those above.
    Other,
}

/// What a statement is. `Other` also where it is not complete: PostgreSQL says why.
pub(super) fn read(statement: &str) -> Alone {
    let mut words = Words::of(statement);
    if words.take_all(&["create"]) {
        let unique = words.take_all(&["unique"]);
        if words.take_all(&["index", "concurrently"]) {
            return create_index(words, unique);
        }
    } else if words.take_all(&["drop", "index", "concurrently"]) {
        let if_exists = words.take_all(&["if", "exists"]);
        if let Some(index) = words.name().filter(|_| words.is_at_end()) {
            let index = index.to_owned();
            return Alone::Outside(Outside::DropIndex { if_exists, index });
        }
    } else if words.take_all(&["alter", "type"])
        && words.name().is_some()
        && words.take_all(&["add", "value"])
    {
        return Alone::AddsValue;
    }
    maintenance(Words::of(statement))
        .or_else(|| detach_partition(Words::of(statement)))
        .map_or(Alone::Other, Alone::Outside)
}

/// `vacuum` of one table, but for `vacuum full`, which locks it; `reindex … concurrently` of an index or table.
fn maintenance(mut words: Words<'_>) -> Option<Outside> {
    let sql = words.rest().to_owned();
    if words.take_all(&["vacuum"]) {
        let options = words.parentheses();
        while ["freeze", "verbose", "analyze", "analyse"]
            .iter()
            .any(|word| words.take_all(&[word]))
        {}
        // PostgreSQL 18: without the partitions or the tables that inherit.
        words.take_all(&["only"]);
        let table = words.name()?.to_owned();
        words.parentheses();
        let is_plain = words.is_at_end() && !is_on(&options, "full");
        return is_plain.then_some(Outside::Vacuum { table, sql });
    }
    if !words.take_all(&["reindex"]) {
        return None;
    }
    let options = words.parentheses();
    let optional = is_on(&options, "concurrently");
    if !words.take_all(&["index"]) && !words.take_all(&["table"]) {
        return None;
    }
    let concurrently = words.take_all(&["concurrently"]) || optional;
    let relation = words.name()?.to_owned();
    (concurrently && words.is_at_end()).then_some(Outside::Reindex { relation, sql })
}

/// Whether a `reindex` is concurrent, of whatever it is.
pub(super) fn reindexes_concurrently(statement: &str) -> bool {
    let mut words = Words::of(statement);
    if !words.take_all(&["reindex"]) {
        return false;
    }
    let options = words.parentheses();
    let what = words.part();
    what.is_some() && words.take_all(&["concurrently"]) || is_on(&options, "concurrently")
}

/// Whether a statement is `create subscription` that makes a slot on the publisher, which no transaction can.
pub(super) fn creates_slot(statement: &str) -> bool {
    let mut words = Words::of(statement);
    if !words.take_all(&["create", "subscription"]) {
        return false;
    }
    while !words.is_at_end() && !words.take_all(&["with"]) {
        words.next += 1;
    }
    let options = words.parentheses();
    ["connect", "create_slot"]
        .iter()
        .all(|name| option(&options, name).unwrap_or(true))
}

fn is_on(options: &[Token<'_>], name: &str) -> bool {
    option(options, name).unwrap_or(false)
}

/// Whether an option in parentheses, such as `(full, verbose off)`, is on, if it is there. Without a value it is on;
/// the last one of a name counts.
fn option(options: &[Token<'_>], name: &str) -> Option<bool> {
    let mut is_on = None;
    let inside = options.get(1..options.len().max(2) - 1).unwrap_or_default();
    for option in inside.split(|token| token.is_symbol(",")) {
        let mut tokens = option.iter();
        if tokens.next().is_some_and(|token| token.is_named(name)) {
            // `create subscription` has an equals sign, the others none.
            let value = tokens.find(|token| !token.is_symbol("=")).map(Token::value);
            is_on = Some(value.is_none_or(|value| {
                !["false", "off", "0"]
                    .iter()
                    .any(|off| value.eq_ignore_ascii_case(off))
            }));
        }
    }
    is_on
}

fn detach_partition(mut words: Words<'_>) -> Option<Outside> {
    if !words.take_all(&["alter", "table"]) {
        return None;
    }
    let if_exists = words.take_all(&["if", "exists"]);
    words.take_all(&["only"]);
    let table = words.name()?.to_owned();
    if !words.take_all(&["detach", "partition"]) {
        return None;
    }
    let partition = words.name()?.to_owned();
    let is_whole = words.take_all(&["concurrently"]) && words.is_at_end();
    is_whole.then_some(Outside::DetachPartition {
        if_exists,
        table,
        partition,
    })
}

/// The first words of a statement, to name it by.
pub(super) fn title(statement: &str) -> String {
    let words = tokens(statement).filter(|token| !token.is_skipped());
    let words: Vec<_> = words
        .take_while(|token| token.kind == Kind::Word)
        .take(2)
        .map(|token| token.text.to_ascii_lowercase())
        .collect();
    words.join(" ")
}

fn create_index(mut words: Words<'_>, unique: bool) -> Alone {
    let if_not_exists = words.take_all(&["if", "not", "exists"]);
    if words.take_all(&["on"]) {
        return Alone::Unnamed;
    }
    let name = words.part();
    let table = words
        .take_all(&["on"])
        .then(|| {
            words.take_all(&["only"]);
            words.name()
        })
        .flatten();
    match (name, table) {
        (Some(name), Some(table)) => Alone::Outside(Outside::CreateIndex {
            unique,
            if_not_exists,
            name,
            table: table.to_owned(),
            rest: words.rest().to_owned(),
        }),
        _ => Alone::Other,
    }
}

/// What is left of a statement, by its tokens.
struct Words<'a> {
    statement: &'a str,
    tokens: Vec<Token<'a>>,
    next: usize,
}

impl<'a> Words<'a> {
    fn of(statement: &'a str) -> Self {
        let tokens = tokens(statement).filter(|token| !token.is_skipped());
        Self {
            statement,
            tokens: tokens
                .filter(|token| token.kind != Kind::Semicolon)
                .collect(),
            next: 0,
        }
    }

    /// Takes these keywords if all of them are next.
    fn take_all(&mut self, keywords: &[&str]) -> bool {
        let rest = &self.tokens[self.next..];
        let matches = rest.len() >= keywords.len()
            && keywords
                .iter()
                .zip(rest)
                .all(|(word, token)| token.is(word));
        self.next += if matches { keywords.len() } else { 0 };
        matches
    }

    /// Takes a name that may have a schema, as it is written.
    fn name(&mut self) -> Option<&'a str> {
        let start = self.next;
        self.part()?;
        while let Some(token) = self.tokens.get(self.next)
            && token.is_symbol(".")
        {
            self.next += 1;
            self.part()?;
        }
        let (first, last) = (self.tokens[start], self.tokens[self.next - 1]);
        Some(&self.statement[first.at..last.at + last.text.len()])
    }

    /// Takes a name, as PostgreSQL stores it.
    fn part(&mut self) -> Option<String> {
        let token = self.tokens.get(self.next)?;
        let name = match token.kind {
            Kind::Word => token.text.to_ascii_lowercase(),
            // Not U&"…", whose escapes only the server reads.
            Kind::QuotedName if token.text.starts_with('"') => token.value().replace("\"\"", "\""),
            _ => return None,
        };
        self.next += 1;
        Some(name)
    }

    /// Takes what is between parentheses, if such are next.
    fn parentheses(&mut self) -> Vec<Token<'a>> {
        let rest = &self.tokens[self.next..];
        let opens = rest.first().is_some_and(|token| token.kind == Kind::Open);
        let end = rest.iter().position(|token| token.kind == Kind::Close);
        let count = end.filter(|_| opens).map_or(0, |end| end + 1);
        let taken = rest[..count].to_vec();
        self.next += count;
        taken
    }

    fn is_at_end(&self) -> bool {
        self.next == self.tokens.len()
    }

    /// What has not been taken, up to the last token: no comment or semicolon behind it.
    fn rest(&self) -> &'a str {
        let rest = &self.tokens[self.next..];
        match (rest.first(), rest.last()) {
            (Some(first), Some(last)) => &self.statement[first.at..last.at + last.text.len()],
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(unique: bool, if_not_exists: bool, [name, table, rest]: [&str; 3]) -> Alone {
        Alone::Outside(Outside::CreateIndex {
            unique,
            if_not_exists,
            name: name.to_owned(),
            table: table.to_owned(),
            rest: rest.to_owned(),
        })
    }

    fn drop(if_exists: bool, index: &str) -> Alone {
        Alone::Outside(Outside::DropIndex {
            if_exists,
            index: index.to_owned(),
        })
    }

    #[test]
    fn an_index_is_taken_apart() {
        for (statement, expected) in [
            (
                "create index concurrently i on t (a)",
                create(false, false, ["i", "t", "(a)"]),
            ),
            (
                "-- first\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS I /* x */ ON Public.\"T\" using btree (a desc)\n where a > ';'; -- end",
                create(
                    true,
                    true,
                    ["i", "Public.\"T\"", "using btree (a desc)\n where a > ';'"],
                ),
            ),
            (
                "create index concurrently \"A \"\"b\" on only s . t(lower(a))",
                create(false, false, ["A \"b", "s . t", "(lower(a))"]),
            ),
            ("drop index concurrently i", drop(false, "i")),
            (
                "drop index concurrently if exists s.\"I\";",
                drop(true, "s.\"I\""),
            ),
        ] {
            assert_eq!(read(statement), expected, "{statement}");
        }
    }

    #[test]
    fn maintenance_is_of_one_table() {
        for (statement, sql, name) in [
            ("vacuum t;", "vacuum t", "t"),
            (
                "-- x\nVACUUM (analyze, truncate off) s.t (a);",
                "VACUUM (analyze, truncate off) s.t (a)",
                "s.t",
            ),
            (
                "vacuum freeze verbose analyze t",
                "vacuum freeze verbose analyze t",
                "t",
            ),
            ("vacuum only t", "vacuum only t", "t"),
            ("vacuum (full false) t", "vacuum (full false) t", "t"),
            (
                "vacuum (verbose, FULL 'Off', analyze) t",
                "vacuum (verbose, FULL 'Off', analyze) t",
                "t",
            ),
            (
                "reindex (concurrently off, \"concurrently\" 1) index i",
                "reindex (concurrently off, \"concurrently\" 1) index i",
                "i",
            ),
            (
                "reindex (concurrently 0) index concurrently i",
                "reindex (concurrently 0) index concurrently i",
                "i",
            ),
            (
                "reindex (verbose) table concurrently \"T\"",
                "reindex (verbose) table concurrently \"T\"",
                "\"T\"",
            ),
            (
                "reindex (concurrently) index s.i;",
                "reindex (concurrently) index s.i",
                "s.i",
            ),
        ] {
            let (sql, relation) = (sql.to_owned(), name.to_owned());
            let outside = match statement.contains("reindex") {
                true => Outside::Reindex { relation, sql },
                false => Outside::Vacuum {
                    table: relation,
                    sql,
                },
            };
            assert_eq!(read(statement), Alone::Outside(outside), "{statement}");
        }
    }

    #[test]
    fn a_partition_is_detached_from_its_table() {
        for (statement, if_exists, table, partition) in [
            (
                "alter table p detach partition c concurrently",
                false,
                "p",
                "c",
            ),
            (
                "ALTER TABLE IF EXISTS ONLY s.\"P\"\n  DETACH PARTITION s . c CONCURRENTLY; -- end",
                true,
                "s.\"P\"",
                "s . c",
            ),
        ] {
            let outside = Outside::DetachPartition {
                if_exists,
                table: table.to_owned(),
                partition: partition.to_owned(),
            };
            assert_eq!(read(statement), Alone::Outside(outside), "{statement}");
        }
    }

    #[test]
    fn what_is_not_such_a_statement_is_told_from_it() {
        for (statement, expected) in [
            ("create index concurrently on t (a)", Alone::Unnamed),
            (
                "create index concurrently if not exists on t (a)",
                Alone::Unnamed,
            ),
            ("alter type s.e add value 'x' after 'y'", Alone::AddsValue),
            ("alter type e rename to f", Alone::Other),
            ("create index i on t (a)", Alone::Other),
            ("create index concurrently", Alone::Other),
            ("create index concurrently i", Alone::Other),
            ("create index concurrently i on", Alone::Other),
            ("create index concurrently U&\"i\" on t (a)", Alone::Other),
            ("drop index concurrently a, b", Alone::Other),
            ("drop index concurrently a cascade", Alone::Other),
            ("drop index i", Alone::Other),
            ("vacuum", Alone::Other),
            ("vacuum full t", Alone::Other),
            ("vacuum (full) t", Alone::Other),
            ("vacuum (full true) t", Alone::Other),
            ("vacuum (full on, analyze) t", Alone::Other),
            ("vacuum (full false, full) t", Alone::Other),
            ("vacuum a, b", Alone::Other),
            ("reindex (concurrently false) index i", Alone::Other),
            ("reindex (concurrently off) table t", Alone::Other),
            ("reindex (concurrently \"OFF\") index i", Alone::Other),
            ("reindex (concurrently 0, verbose) index i", Alone::Other),
            ("reindex table t", Alone::Other),
            ("reindex (verbose) index i", Alone::Other),
            ("reindex schema concurrently s", Alone::Other),
            ("alter table p detach partition c", Alone::Other),
            ("alter table p detach partition c finalize", Alone::Other),
            (
                "alter table p detach partition c concurrently, add a int",
                Alone::Other,
            ),
        ] {
            assert_eq!(read(statement), expected, "{statement}");
        }
    }
}
