//! Who may name a caller, and how callers are told apart: from the configuration to a resolver, and
//! what of it is read again while the process runs.

use std::sync::Arc;

use super::reload::Reloadable;
use crate::ledger::Ledger;
use metering::caller::{
    self, CallerMap, CallerSource, CallerTag, FromFile, HashKey, HopTest, Resolver, ResolverConfig, UserIds,
};

/// File in the ledger's directory that holds the key of the hashes, if none is configured.
const HASH_KEY_FILE: &str = "caller-hash-key";

/// How callers are told apart.
#[derive(Clone, Debug)]
pub struct CallerConfig {
    /// Asked in order.
    pub sources: Vec<CallerSource>,
    /// Second keys that stand beside the id.
    pub tags: Vec<CallerTag>,
    /// How the hop that names the caller proves itself.
    pub trust: HopTest,
    /// Applications that are the gateway itself.
    pub gateway_app_ids: Vec<String>,
    /// How ids of people stand in events.
    pub user_ids: UserIds,
    /// Key of the hashes. `None`: a random one, kept in the ledger's directory.
    pub hash_key: Option<HashKey>,
    /// Cost centres and departments.
    pub map: Option<Arc<caller::Reload<CallerMap>>>,
}

impl CallerConfig {
    /// Warnings to give at the start.
    pub(super) fn warnings(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        if matches!(self.trust, HopTest::None) {
            found.push(
                "caller identity is not verified (--caller-trust none): anyone who reaches this port can name a payer",
            );
        }
        let hashes = self.sources.contains(&CallerSource::ApiKey) || self.user_ids == UserIds::Hash;
        if self.hash_key.is_none() && hashes {
            found.push(
                "no --caller-hash-key-file: ids of API keys and of people differ between instances, and one caller has as \
                 many ids; give every instance the same key, in a file (openssl rand -hex 32 > FILE) or in \
                 TOKENWEIR_CALLER_HASH_KEY",
            );
        }
        if self.hash_key.is_none() && self.tags.iter().any(|tag| !tag.plain) {
            found.push(
                "no --caller-hash-key-file: hashed tags (--caller-tags) differ between instances, and one end user has as \
                 many; give every instance the same key",
            );
        }
        if self.map.as_ref().is_some_and(|map| map.current().callers() == 0) {
            found.push("the caller map (--caller-map-file) names no caller: nobody has a department");
        }
        found
    }

    pub(super) fn resolver(&self, ledger: &Ledger) -> anyhow::Result<Resolver> {
        let hash_key = match &self.hash_key {
            Some(key) => key.clone(),
            None => HashKey::load_or_create(&ledger.dir().join(HASH_KEY_FILE))?,
        };
        Ok(Resolver::new(ResolverConfig {
            sources: self.sources.clone(),
            tags: self.tags.clone(),
            trust: self.trust.clone(),
            gateway_app_ids: self.gateway_app_ids.clone(),
            user_ids: self.user_ids,
            hash_key,
            map: self.map.clone(),
        }))
    }

    /// The values that are read from files, and read again.
    pub(super) fn reloads(&self) -> Vec<Reloadable> {
        let map = self.map.as_ref().map(again_map);
        let secrets = match &self.trust {
            HopTest::SharedSecret(secrets) => Some(again("caller-shared-secret-file", secrets)),
            _ => None,
        };
        map.into_iter().chain(secrets).collect()
    }
}

/// The map says how many callers it names, now and before.
fn again_map(map: &Arc<caller::Reload<CallerMap>>) -> Reloadable {
    let map = Arc::clone(map);
    let read = move || {
        let before = map.current().callers();
        let changed = map.read_again().map_err(anyhow::Error::msg)?;
        let callers = map.current().callers();
        if changed && callers < before {
            // It may have been caught half-way through being written.
            tracing::warn!(
                callers,
                callers_before = before,
                "read again: the caller map names fewer callers than before"
            );
        } else if changed {
            tracing::info!(callers, callers_before = before, "the caller map has changed");
        }
        Ok(changed)
    };
    Reloadable::file("caller-map-file", read)
}

fn again<T: FromFile + Send + Sync + 'static>(
    what: &'static str,
    value: &Arc<caller::Reload<T>>,
) -> Reloadable {
    let value = Arc::clone(value);
    Reloadable::file(what, move || value.read_again().map_err(anyhow::Error::msg))
}
