//! The certificates that clients have shown on connections that are open, so that those end which new roots do not
//! cover. Else a hop whose authority was taken away would go on naming payers for as long as it keeps its connection.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;

use metering::reload::Fingerprint;

/// How many chains are kept at least before those of connections that have ended are swept out. A gateway shows one
/// or a few.
const SWEEP_CHAINS_MIN: usize = 64;

/// A client's certificate and the certificates that it was issued by, verified when its connection was opened. Connections that have
/// shown the same share it.
pub(crate) struct ClientChain {
    certificates: Vec<CertificateDer<'static>>,
    gone: AtomicBool,
}

impl ClientChain {
    /// The roots in force do not cover it any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Holds it against roots. True if they do not cover it.
    pub(super) fn hold_against(&self, roots: &dyn ClientCertVerifier) -> bool {
        let covered = self
            .certificates
            .split_first()
            .is_some_and(|(own, issuers)| roots.verify_client_cert(own, issuers, UnixTime::now()).is_ok());
        self.gone.fetch_or(!covered, Ordering::Relaxed);
        !covered
    }
}

/// The chains of all open connections.
#[derive(Default)]
pub(super) struct ClientChains(Mutex<KnownChains>);

#[derive(Default)]
struct KnownChains {
    chains: HashMap<Fingerprint, Weak<ClientChain>>,
    sweep_at: usize,
}

impl ClientChains {
    /// The chain of a connection that has just been opened.
    pub(super) fn of(&self, certificates: &[CertificateDer<'_>]) -> Arc<ClientChain> {
        let print = Fingerprint::of(certificates.iter().map(AsRef::as_ref));
        let mut known = self.lock();
        if let Some(chain) = known.chains.get(&print).and_then(Weak::upgrade) {
            return chain;
        }
        if known.chains.len() >= known.sweep_at.max(SWEEP_CHAINS_MIN) {
            known.chains.retain(|_, chain| chain.strong_count() > 0);
            known.sweep_at = 2 * known.chains.len();
        }
        let certificates = certificates.iter().map(|der| der.clone().into_owned()).collect();
        let chain = Arc::new(ClientChain { certificates, gone: AtomicBool::new(false) });
        known.chains.insert(print, Arc::downgrade(&chain));
        chain
    }

    /// Holds all of them against new roots. Returns how many connections have one that they do not cover.
    pub(super) fn hold_against(&self, roots: &dyn ClientCertVerifier) -> usize {
        // Without the lock: connections are opened meanwhile.
        let open: Vec<_> = self.lock().chains.values().filter_map(Weak::upgrade).collect();
        let gone = open.iter().filter(|chain| chain.hold_against(roots));
        gone.map(|chain| Arc::strong_count(chain) - 1).sum()
    }

    fn lock(&self) -> MutexGuard<'_, KnownChains> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ClientChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientChain").field("gone", &self.is_gone()).finish_non_exhaustive()
    }
}
