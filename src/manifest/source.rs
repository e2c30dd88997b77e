use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use super::{
    MANIFEST, MAX_MIGRATION_BYTES,
    error::{ManifestError, ManifestErrorKind, Place},
};
use crate::sql::{line_ends, normalise};

/// Where the files of a manifest are read from.
pub(super) trait Source {
    /// Reads one file, checked and normalised.
    fn read(&self, place: &Place, file: &str) -> Result<String, ManifestError>;

    /// How a person would name the file.
    fn origin(&self, file: &str) -> String;
}

/// Pairs of name and text.
pub(super) struct Embedded<'a>(pub(super) &'a [(&'a str, &'a str)]);

impl Source for Embedded<'_> {
    fn read(&self, place: &Place, file: &str) -> Result<String, ManifestError> {
        let found = self.0.iter().find(|(name, _)| *name == file);
        let (_, text) = found.ok_or_else(|| place.clone().error(missing(file)))?;
        check(place, text.as_bytes().to_vec())
    }

    fn origin(&self, file: &str) -> String {
        file.to_owned()
    }
}

/// A folder on disk. Of the files that [`is_inside`] lets pass, nothing outside is ever read.
pub(super) struct Folder {
    /// As the caller names it.
    named: PathBuf,
    /// Without symlinks.
    real: PathBuf,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, ManifestError> {
        let named = path.to_owned();
        match path.canonicalize() {
            Ok(real) => Ok(Self { named, real }),
            Err(error) => {
                let manifest = named.join(MANIFEST).display().to_string();
                Err(Place::manifest(manifest).error(unreadable(error, MANIFEST)))
            }
        }
    }
}

impl Source for Folder {
    fn read(&self, place: &Place, file: &str) -> Result<String, ManifestError> {
        let fail = |problem| place.clone().error(problem);
        let unreadable = |error| fail(unreadable(error, file));
        // Part by part, for where the separator is not the slash of the manifest.
        let mut path = self.real.clone();
        path.extend(Path::new(file).components());
        let real = path.canonicalize().map_err(unreadable)?;
        if real != path {
            // A symlink, or on some systems a name in other letters: not the file that was named.
            return Err(fail(ManifestErrorKind::NotTheFile { real }));
        }
        if !fs::metadata(&real).map_err(unreadable)?.is_file() {
            return Err(fail(ManifestErrorKind::NotAFile));
        }
        let mut bytes = Vec::new();
        let limit = MAX_MIGRATION_BYTES as u64 + 1;
        File::open(&real)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        check(place, bytes)
    }

    fn origin(&self, file: &str) -> String {
        self.named.join(file).display().to_string()
    }
}

/// Whether a file of a manifest is in its folder, or in one below, by its name.
pub(super) fn is_inside(file: &str) -> bool {
    // A colon or a backslash would mean something else on Windows than here.
    !file.is_empty()
        && !file.contains(['\\', ':'])
        && Path::new(file)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

fn unreadable(error: io::Error, file: &str) -> ManifestErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => missing(file),
        _ => ManifestErrorKind::Unreadable { source: error },
    }
}

fn missing(file: &str) -> ManifestErrorKind {
    if file == MANIFEST {
        ManifestErrorKind::NoManifest
    } else {
        ManifestErrorKind::NoFile
    }
}

fn check(place: &Place, bytes: Vec<u8>) -> Result<String, ManifestError> {
    if bytes.len() > MAX_MIGRATION_BYTES {
        return Err(place.clone().error(ManifestErrorKind::TooLarge));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = line_ends(valid) + 1;
        place.clone().error(ManifestErrorKind::NotUtf8 { line })
    })?;
    Ok(normalise(&text))
}
