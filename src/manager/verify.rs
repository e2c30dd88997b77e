//! The question whether the schema has drifted.

use super::{SchemaVersionManager, returned};
use crate::{
    drift::{Findings, Verification},
    error::Error,
    transport::Request,
};

impl SchemaVersionManager {
    /// Whether the objects of ctx0 are still as the last change left them, and which differ
    /// if not. One request.
    ///
    /// A dump that was restored and a minor release of PostgreSQL change nothing; after a major
    /// release, or where versions were recorded by hand, it says that it cannot say.
    ///
    /// # Errors
    /// [`Error`], when the database could not be asked.
    pub async fn verify(&self) -> Result<Verification, Error> {
        let call = Request::Function {
            name: "ctx0_verify_schema",
            arguments: "{}".to_owned(),
        };
        Ok(returned::<Findings>(self.read(&call).await?)?.into())
    }
}
