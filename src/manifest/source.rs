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

/// Where the files of a manifest come from.
pub(super) trait Source {
    /// Reads one file, checked and normalised.
    fn read(&self, place: &Place, file: &str) -> Result<String, ManifestError>;

    /// The file's name for an error message.
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

/// A folder on disk. For file names that [`is_inside`] accepts, nothing outside it is read.
pub(super) struct Folder {
    /// As the caller named it.
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
        // Part by part, because not every system separates folders with a slash.
        let mut path = self.real.clone();
        path.extend(Path::new(file).components());
        let real = path.canonicalize().map_err(unreadable)?;
        if real != path {
            // A symlink, or a name in other case on a case-insensitive file system.
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

/// Whether a file name of a manifest stays in the manifest's folder or below.
pub(super) fn is_inside(file: &str) -> bool {
    // Colon and backslash have a meaning on Windows.
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
