//! Reads the manifest of the hosted service.

use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::{
    config::{Config, ConfigError, Hosted},
    hosted::HostedFacts,
    manifest::Listing,
    transport::{Document, Fetched},
};

/// The manifest of the hosted service, as it was when it could last be used.
pub(crate) struct HostedManifest {
    document: Document,
    hosted: Hosted,
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    listing: Listing,
    etag: Option<String>,
}

impl HostedManifest {
    pub(crate) fn new(hosted: &Hosted, config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            document: Document::new(&hosted.url, config)?,
            hosted: hosted.clone(),
            known: Mutex::default(),
        })
    }

    /// Reads it again. If that fails, what was known before counts. One request, to another server than
    /// the project's and without its key.
    pub(crate) async fn look(&self) -> HostedFacts {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let read = self.read(known.as_ref()).await;
        let (known, problem) = match read {
            Ok(read) => {
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(read.clone());
                (Some(read), None)
            }
            // What comes from a server must not steer a terminal.
            Err(problem) => (known, Some(problem.replace(char::is_control, "\u{fffd}"))),
        };
        if let Some(problem) = &problem {
            tracing::info!(problem, "the manifest of the hosted service cannot be used");
        }
        HostedFacts {
            policy: self.hosted.policy,
            listing: known.map(|known| known.listing),
            problem,
        }
    }

    async fn read(&self, known: Option<&Known>) -> Result<Known, String> {
        let etag = known.and_then(|known| known.etag.as_deref());
        let (body, etag) = match (self.document.fetch(etag).await?, known) {
            (Fetched::New { body, etag }, _) => (body, etag),
            (Fetched::Unchanged, Some(known)) => return Ok(known.clone()),
            (Fetched::Unchanged, None) => {
                return Err("status 304 to a request without ETag".to_owned());
            }
        };
        if let Some(pinned) = &self.hosted.sha256 {
            let found: String = Sha256::digest(&body)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            if found != *pinned {
                return Err(format!(
                    "its checksum is {found}, and the configuration has {pinned}"
                ));
            }
        }
        let text = String::from_utf8(body).map_err(|_| "it is not UTF-8".to_owned())?;
        let listing = Listing::parse(&text).map_err(|error| error.to_string())?;
        Ok(Known { listing, etag })
    }
}
