//! Whose certificates are accepted.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

/// The client's side of TLS for each file of authorities.
///
/// Clones share it. Reading the authorities of the operating system takes longer than a request, so a fleet
/// reads them once and not for each project.
#[derive(Clone, Default)]
pub(crate) struct Trust(Arc<Mutex<HashMap<Option<Vec<u8>>, ClientConfig>>>);

impl Trust {
    /// For the authorities of the operating system and those of a PEM file.
    pub(crate) fn tls(
        &self,
        ca_pem: Option<&[u8]>,
    ) -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let file = ca_pem.map(<[u8]>::to_vec);
        if let Some(tls) = known.get(&file) {
            return Ok(tls.clone());
        }
        let tls = tls(ca_pem.unwrap_or_default())?;
        known.insert(file, tls.clone());
        Ok(tls)
    }
}

/// As reqwest makes it for a client by itself.
fn tls(ca_pem: &[u8]) -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
    let authorities: Vec<_> = CertificateDer::pem_slice_iter(ca_pem).collect::<Result<_, _>>()?;
    let provider = CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
    let verifier = Verifier::new_with_extra_roots(authorities, Arc::clone(&provider))?;
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    #[test]
    fn a_file_of_authorities_is_read_once_for_all_clones() {
        let pem = || {
            let mut authority = CertificateParams::default();
            authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let certificate = authority.self_signed(&KeyPair::generate().unwrap());
            certificate.unwrap().pem().into_bytes()
        };
        let (trust, one, other) = (Trust::default(), pem(), pem());
        for pem in [&one, &other, &one] {
            trust.clone().tls(Some(pem)).unwrap();
        }
        assert_eq!(trust.0.lock().unwrap().len(), 2);
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(trust.tls(Some(broken)).is_err());
    }
}
