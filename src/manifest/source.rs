use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use super::{
    MANIFEST, MAX_MIGRATION_BYTES,
    error::{ManifestError, ManifestProblem, Place},
    script::normalise,
};

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

/// A folder on disk. Nothing outside of it is ever read.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, ManifestError> {
        match path.canonicalize() {
            Ok(folder) => Ok(Self(folder)),
            Err(source) => {
                let problem = match source.kind() {
                    io::ErrorKind::NotFound => ManifestProblem::NoManifest,
                    _ => ManifestProblem::Unreadable { source },
                };
                Err(Place::manifest(path.join(MANIFEST).display().to_string()).error(problem))
            }
        }
    }
}

impl Source for Folder {
    fn read(&self, place: &Place, file: &str) -> Result<String, ManifestError> {
        let fail = |problem| place.clone().error(problem);
        // A colon or a backslash would mean something else on Windows than here.
        let inside = !file.is_empty()
            && !file.contains(['\\', ':'])
            && Path::new(file)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return Err(fail(ManifestProblem::OutsideFolder));
        }
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => fail(missing(file)),
            _ => fail(ManifestProblem::Unreadable { source }),
        };
        let path = self.0.join(file);
        let real = path.canonicalize().map_err(unreadable)?;
        if real != path {
            // A symlink, or on some systems a name in other letters: not the file that was named.
            return Err(fail(ManifestProblem::NotTheFile { real }));
        }
        if !fs::metadata(&real).map_err(unreadable)?.is_file() {
            return Err(fail(ManifestProblem::NotAFile));
        }
        let mut bytes = Vec::new();
        let limit = MAX_MIGRATION_BYTES as u64 + 1;
        File::open(&real)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        check(place, bytes)
    }

    fn origin(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }
}

fn missing(file: &str) -> ManifestProblem {
    if file == MANIFEST {
        ManifestProblem::NoManifest
    } else {
        ManifestProblem::NoFile
    }
}

fn check(place: &Place, bytes: Vec<u8>) -> Result<String, ManifestError> {
    if bytes.len() > MAX_MIGRATION_BYTES {
        return Err(place.clone().error(ManifestProblem::TooLarge));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        place.clone().error(ManifestProblem::NotUtf8 { line })
    })?;
    Ok(normalise(&text))
}
