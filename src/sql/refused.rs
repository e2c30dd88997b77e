//! What PostgreSQL takes and a migration cannot contain, found before anything is sent.

use super::{
    SqlError,
    lexer::{Kind, Token, tokens},
    line_ends,
    outside::{self, Alone},
};

/// The first words of what ends, or begins, a transaction.
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

const VACUUM: &[&[&str]] = &[&["vacuum"]];

/// For what a version of its own can be, if it is written otherwise.
const OF_ITS_OWN: &str = "write it for one table or index, in a version of its own that has \"transaction\": false in the \
                          manifest";

const BY_HAND: &str = "remove it, and run it by hand if it is needed";

/// The first words of what runs in no transaction, or in no function.
const OUTSIDE_ONLY: &[&[&str]] = &[
    &["discard", "all"],
    // It would run, and drop what PostgREST has prepared on the connection.
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
];

/// The first words of what such a version can consist of, if the rest is right.
const ALONE: &[&[&str]] = &[
    &["create", "index", "concurrently"],
    &["create", "unique", "index", "concurrently"],
    &["drop", "index", "concurrently"],
];

const OLD_STRINGS: &str = "standard_conforming_strings";

/// The commands of psql, but for those that begin with `d`, such as `\dt`:
/// <https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-META-COMMANDS>.
const PSQL: &str = "a bind bind_named c C cd close close_prepared conninfo connect copy copyright crosstabview e echo ef \
                    elif else encoding endif endpipeline errverbose ev f flush flushrequest g gdesc getenv getresults \
                    gexec gset gx h H help html i if include include_relative ir l list lo_export lo_import lo_list \
                    lo_unlink o out p parse password print prompt pset q qecho quit r reset restrict s sendpipeline set \
                    setenv sf startpipeline sv syncpipeline t T timing unrestrict unset w warn watch write x z";

/// Refuses a statement that begins on this line. `alone`: it may be one of [`ALONE`].
pub(super) fn check(statement: &str, line: usize, alone: bool) -> Result<(), SqlError> {
    let tokens = tokens(statement).filter(|token| !token.is_skipped());
    let begin = tokens.clone().next().map_or(0, |first| first.at);
    let line_of = |token: Token<'_>| line + line_ends(&statement.as_bytes()[begin..token.at]);
    if let Alone::Outside(outside) = outside::read(statement) {
        let what = outside.title().to_owned();
        return match alone {
            true => Ok(()),
            false => Err(SqlError::OutsideOnly { line, what }),
        };
    }
    if let Some(words) = ALONE.iter().find(|words| starts(tokens.clone(), words)) {
        let what = words.join(" ");
        return match alone {
            true => Ok(()),
            false => Err(SqlError::OutsideOnly { line, what }),
        };
    }
    if let Some(backslash) = tokens.clone().find(|token| token.is_symbol("\\")) {
        let line = line_of(backslash);
        return Err(match psql(&statement[backslash.at + 1..]) {
            Some(command) => SqlError::NotTransactional {
                line,
                what: format!("\\{command}"),
                remedy: "it is a command of psql, so remove it",
            },
            None => SqlError::Backslash { line },
        });
    }
    if let Some((what, remedy)) = not_transactional(statement, tokens.clone()) {
        return Err(SqlError::NotTransactional { line, what, remedy });
    }
    if let Some(what) = changes_role(tokens.clone()) {
        let what = what.to_owned();
        return Err(SqlError::Role { line, what });
    }
    if let Some(into) = selects_into(tokens.clone()) {
        let line = line_of(into);
        return Err(SqlError::SelectInto { line });
    }
    if sets_old_strings(tokens) {
        return Err(SqlError::OldStrings { line });
    }
    Ok(())
}

/// The command of psql whose name follows a backslash, if it is one.
fn psql(rest: &str) -> Option<&str> {
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let name = &rest[..end.unwrap_or(rest.len())];
    match rest.chars().next()? {
        '!' | '?' | '.' => Some(&rest[..1]),
        'd' => Some(name),
        _ => PSQL.split_whitespace().find(|known| *known == name),
    }
}

/// What cannot run in one transaction, and what to do about it.
fn not_transactional<'a>(
    statement: &'a str,
    tokens: impl Iterator<Item = Token<'a>> + Clone,
) -> Option<(String, &'static str)> {
    for (list, remedy) in [
        (TRANSACTION, "remove it"),
        (VACUUM, OF_ITS_OWN),
        (OUTSIDE_ONLY, BY_HAND),
    ] {
        // Options come before what `reindex` is for.
        let tokens = outside_parentheses(tokens.clone());
        if let Some(words) = list.iter().find(|words| starts(tokens.clone(), words)) {
            return Some((words.join(" "), remedy));
        }
    }
    if let Some(what) = sets_transaction(tokens.clone()) {
        return Some((what, "remove it"));
    }
    let cluster = outside_parentheses(tokens.clone())
        .filter(|token| token.kind != Kind::Semicolon && !token.is("verbose"));
    if starts(cluster.clone(), &["cluster"]) && cluster.count() == 1 {
        return Some(("cluster".to_owned(), "name a table, or remove it"));
    }
    if outside::creates_slot(statement) {
        let remedy = "add \"with (create_slot = false)\" and make the slot by hand, or remove it";
        return Some(("create subscription".to_owned(), remedy));
    }
    let has = |word| tokens.clone().any(|token| token.is(word));
    if outside::reindexes_concurrently(statement) {
        return Some(("reindex concurrently".to_owned(), OF_ITS_OWN));
    }
    if starts(tokens.clone(), &["alter", "table"]) && has("detach") && has("concurrently") {
        let what = "alter table … detach partition … concurrently";
        return Some((what.to_owned(), OF_ITS_OWN));
    }
    if starts(tokens.clone(), &["alter", "database"]) && has("tablespace") {
        return Some(("alter database … set tablespace".to_owned(), BY_HAND));
    }
    if starts(tokens.clone(), &["copy"]) {
        let tokens = outside_parentheses(tokens);
        let pairs = tokens.clone().zip(tokens.skip(1));
        for (first, second, remedy) in [
            ("from", "stdin", "write its rows as `insert` statements"),
            ("to", "stdout", "remove it"),
        ] {
            if pairs.clone().any(|(a, b)| a.is(first) && b.is(second)) {
                return Some((format!("copy … {first} {second}"), remedy));
            }
        }
    }
    None
}

/// What changes the role, which PostgreSQL refuses in a function with the rights of its owner.
fn changes_role<'a>(tokens: impl Iterator<Item = Token<'a>> + Clone) -> Option<&'static str> {
    let [role, session] = match tokens.clone().next() {
        Some(first) if first.is("set") => ["set role", "set session authorization"],
        Some(first) if first.is("reset") => ["reset role", "reset session authorization"],
        _ => return None,
    };
    match set(tokens).next()? {
        name if name.is_named("role") => Some(role),
        name if name.is_named("session_authorization") || name.is("authorization") => Some(session),
        _ => None,
    }
}

/// What sets the transaction, if it is set to what it can no longer become after its first statement, or to what
/// the ledger cannot be written in.
fn sets_transaction<'a>(tokens: impl Iterator<Item = Token<'a>> + Clone) -> Option<String> {
    if !starts(tokens.clone(), &["set"]) {
        return None;
    }
    let mut rest = set(tokens);
    let name = rest.next()?;
    let refused = if name.is("transaction") {
        let refused = [
            "serializable",
            "repeatable",
            "uncommitted",
            "only",
            "deferrable",
            "snapshot",
        ];
        rest.any(|token| refused.iter().any(|word| token.is(word)))
    } else {
        let value = rest
            .nth(1)
            .map(|token| token.value().to_ascii_lowercase())?;
        name.is_named("transaction_isolation") && value != "read committed"
            || name.is_named("transaction_read_only") && !is_false(&value)
            || name.is_named("transaction_deferrable")
    };
    refused.then(|| format!("set {}", name.value().to_ascii_lowercase()))
}

/// What follows `set [session | local]` or `reset [session]`.
fn set<'a>(tokens: impl Iterator<Item = Token<'a>> + Clone) -> impl Iterator<Item = Token<'a>> {
    let scope = |token: &Token<'_>| token.is("session") || token.is("local");
    tokens.skip(1).skip_while(scope)
}

/// The `into` of `select … into`. It is a reserved word: it follows `insert` or `merge`,
/// or is a label or the name of a column behind `as` or a dot; anything else is this.
fn selects_into<'a>(tokens: impl Iterator<Item = Token<'a>> + Clone) -> Option<Token<'a>> {
    let query = tokens.clone().skip_while(|token| token.kind == Kind::Open);
    if !starts(query.clone(), &["select"]) && !starts(query, &["with"]) {
        return None;
    }
    let mut pairs = tokens.clone().zip(tokens.skip(1));
    let into = pairs.find(|(before, token)| {
        token.is("into")
            && !["insert", "merge", "as"].iter().any(|word| before.is(word))
            && !before.is_symbol(".")
    });
    into.map(|(_, into)| into)
}

/// Whether it is one of
/// - `set [session | local] standard_conforming_strings = off`,
/// - `alter role | user | database … set standard_conforming_strings = off`,
/// - `… set_config('standard_conforming_strings', 'off', …) …`.
fn sets_old_strings<'a>(tokens: impl Iterator<Item = Token<'a>> + Clone) -> bool {
    let names_it = |token: &Token<'_>| token.value().eq_ignore_ascii_case(OLD_STRINGS);
    if !tokens.clone().any(|token| names_it(&token)) {
        return false;
    }
    let assigns = [
        &["set"][..],
        &["alter", "role"],
        &["alter", "user"],
        &["alter", "database"],
    ];
    if assigns.iter().any(|words| starts(tokens.clone(), words)) {
        let mut rest = tokens.skip_while(|token| !names_it(token)).skip(1);
        let assigned = rest
            .next()
            .is_some_and(|to| to.is("to") || to.is_symbol("="));
        return assigned && rest.next().is_some_and(|value| is_false(value.value()));
    }
    let mut call = tokens.skip_while(|token| !token.is("set_config"));
    call.clone().any(|token| names_it(&token))
        && call.any(|token| token.kind == Kind::String && is_false(token.value()))
}

/// Whether PostgreSQL takes the text for the Boolean value false.
fn is_false(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    match text.as_str() {
        "" | "o" => false,
        "0" => true,
        text => ["false", "no", "off"]
            .iter()
            .any(|word| word.starts_with(text)),
    }
}

fn starts<'a>(mut tokens: impl Iterator<Item = Token<'a>>, words: &[&str]) -> bool {
    words
        .iter()
        .all(|word| tokens.next().is_some_and(|token| token.is(word)))
}

fn outside_parentheses<'a>(
    tokens: impl Iterator<Item = Token<'a>> + Clone,
) -> impl Iterator<Item = Token<'a>> + Clone {
    let mut depth = 0_usize;
    tokens.filter(move |token| {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    })
}
