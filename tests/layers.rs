//! The layers of `ARCHITECTURE.md`: each module of `src/` uses exactly the modules that its row
//! names, and those rows stand below its own.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn each_module_uses_what_architecture_md_says_and_only_what_stands_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let rows: Vec<_> = text.lines().filter_map(row).collect();
    let order: Vec<_> = rows.iter().map(|(module, _)| module.as_str()).collect();
    let listed: BTreeSet<_> = order.iter().map(|module| (*module).to_owned()).collect();
    assert_eq!(
        listed,
        modules(root),
        "the rows of the table are the modules of src/"
    );
    assert_eq!(listed.len(), order.len(), "each module has one row");

    let mut wrong = String::new();
    for (place, (module, stated)) in rows.iter().enumerate() {
        let used = used(root, module);
        let below: BTreeSet<_> = order[place + 1..].iter().map(|m| (*m).to_owned()).collect();
        let above: Vec<_> = used.difference(&below).collect();
        if !above.is_empty() {
            wrong += &format!("{module} uses {above:?}, which do not stand below it\n");
        }
        if used != *stated {
            let used: Vec<_> = used.iter().map(|module| format!("`{module}`")).collect();
            wrong += &format!("the row of {module} must name {}\n", used.join(", "));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn only_one_file_names_the_http_libraries() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for module in modules(root) {
        for file in files(root, &module) {
            let code = code(&file);
            let names = ["reqwest::", "postgrest::"].map(|library| code.contains(library));
            let may = file.ends_with("transport/http.rs");
            assert!(may || names == [false; 2], "{}", file.display());
        }
    }
}

/// The module of a row of the table, and those that it says the module uses.
fn row(line: &str) -> Option<(String, BTreeSet<String>)> {
    let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [module, _, uses] = cells[..] else {
        return None;
    };
    let module = module.strip_prefix("`src/")?.strip_suffix(".rs`")?;
    let names = uses.split(", ").filter(|name| *name != "–");
    let names = names.map(|name| name.trim_matches('`').to_owned());
    Some((module.to_owned(), names.collect()))
}

/// The modules at the root of the crate.
fn modules(root: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(root.join("src")).unwrap();
    files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|module| module != "lib")
        .collect()
}

/// The modules that a module uses, itself left out.
fn used(root: &Path, module: &str) -> BTreeSet<String> {
    let mut used: BTreeSet<_> = files(root, module)
        .iter()
        .flat_map(|file| imports(&code(file)))
        .collect();
    used.remove(module);
    used
}

/// The files of a module, without its tests.
fn files(root: &Path, module: &str) -> Vec<PathBuf> {
    let mut files = vec![root.join(format!("src/{module}.rs"))];
    let mut folders = vec![root.join("src").join(module)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let is_code = path.extension().is_some_and(|extension| extension == "rs");
            let is_test = path.ends_with("tests.rs") || path.ends_with("fake.rs");
            if path.is_dir() {
                folders.push(path);
            } else if is_code && !is_test {
                files.push(path);
            }
        }
    }
    files
}

/// A file without comments, and without what is compiled for tests only, which stands at its end.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\nimpl "];
    let end = tests.iter().filter_map(|start| text.find(start)).min();
    let lines = text[..end.unwrap_or(text.len())].lines();
    lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// What follows each `crate::`, which is a name or a list of paths in braces.
fn imports(code: &str) -> BTreeSet<String> {
    let mut imports = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + start.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            imports.extend(first_names(list));
        } else {
            imports.insert(name(rest));
        }
    }
    imports
}

/// The first name of each path in a list, up to the brace that closes it.
fn first_names(list: &str) -> Vec<String> {
    let mut names = vec![name(list)];
    let mut depth = 1;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(name(&list[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn name(path: &str) -> String {
    let path = path.trim_start();
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
    path[..end.unwrap_or(path.len())].to_owned()
}

#[test]
fn imports_are_read_in_every_form() {
    let code = "use crate::{\n    a::{B, c::D},\n    e,\n};\nuse crate::f::G;\nfn h() { crate::i::j(); }\nmycrate::k;";
    let wanted = ["a", "e", "f", "i"].map(str::to_owned);
    assert_eq!(imports(code), BTreeSet::from(wanted));
}
