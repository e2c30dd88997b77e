use super::{
    checksum::Checksum,
    error::{ManifestError, ManifestErrorKind, Place},
    script::Script,
    source::Source,
};

/// A file of SQL: its name, its text cut into statements, and the checksum of the text.
#[derive(Clone, Debug)]
pub(crate) struct SqlFile {
    name: String,
    script: Script,
    checksum: Checksum,
}

impl SqlFile {
    /// Reads and checks it; a checksum that the manifest states must be its own.
    pub(super) fn read(
        source: &dyn Source,
        name: String,
        version: i64,
        stated: Option<Checksum>,
    ) -> Result<Self, ManifestError> {
        let place = Place::of(&name, version);
        let text = source.read(&place, &name)?;
        let checksum = Checksum::of(&text);
        if let Some(stated) = stated.filter(|stated| *stated != checksum) {
            let actual = checksum;
            return Err(place.error(ManifestErrorKind::Checksum { stated, actual }));
        }
        match Script::parse(text) {
            Ok(script) => Ok(Self {
                name,
                script,
                checksum,
            }),
            Err(error) => Err(place.error(error.into())),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        self.script.text()
    }

    pub(crate) fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// The text, cut after each statement.
    pub(crate) fn statements(&self) -> impl Iterator<Item = &str> {
        self.script.statements()
    }

    /// The line on which a statement (from 1) begins.
    pub(crate) fn line_of(&self, statement: usize) -> Option<usize> {
        self.script.line_of(statement)
    }
}
