use super::{
    checksum::Checksum,
    error::{ManifestError, ManifestErrorKind, Place},
    source::Source,
};
use crate::sql::{Outside, SqlError, Statements};

/// A file of SQL: its name, its text cut into statements, and the checksum of the text.
#[derive(Clone, Debug)]
pub(crate) struct SqlFile {
    name: String,
    statements: Statements,
    checksum: Checksum,
}

impl SqlFile {
    /// Reads and checks a file. If the manifest states a checksum, the file must have it. `cut` makes
    /// statements of its text.
    pub(super) fn read(
        source: &dyn Source,
        name: String,
        version: i64,
        stated: Option<Checksum>,
        cut: fn(String) -> Result<Statements, SqlError>,
    ) -> Result<Self, ManifestError> {
        let place = Place::of(&name, version);
        let text = source.read(&place, &name)?;
        let checksum = Checksum::of(&text);
        if let Some(stated) = stated.filter(|stated| *stated != checksum) {
            let actual = checksum;
            return Err(place.error(ManifestErrorKind::Checksum { stated, actual }));
        }
        match cut(text) {
            Ok(statements) => Ok(Self {
                name,
                statements,
                checksum,
            }),
            Err(error) => Err(place.error(error.into())),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        self.statements.text()
    }

    pub(crate) fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// The statements in order; joined they are the text.
    pub(crate) fn statements(&self) -> impl Iterator<Item = &str> {
        self.statements.iter()
    }

    /// The one statement, if it runs outside a transaction.
    pub(crate) fn outside(&self) -> Option<&Outside> {
        self.statements.outside()
    }

    /// The line on which a statement (from 1) begins.
    pub(crate) fn line_of(&self, statement: usize) -> Option<usize> {
        self.statements.line_of(statement)
    }

    /// The line on which it ends.
    pub(crate) fn last_line_of(&self, statement: usize) -> Option<usize> {
        self.statements.last_line_of(statement)
    }
}
