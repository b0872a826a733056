//! Keys for the tests, each made once.

use std::sync::{Arc, OnceLock};

use metering::caller::{FromFile, Reload};
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;

use crate::capture::seal::{PrivateKeys, Recipients, SealMode, Sealer};

/// Keys that are made.
const KEYS: usize = 3;

/// A private key; the public half of another one is of no use.
pub(in crate::capture::seal) fn private_key(number: usize) -> &'static PKey<Private> {
    static MADE: [OnceLock<PKey<Private>>; KEYS] = [const { OnceLock::new() }; KEYS];
    MADE[number].get_or_init(|| PKey::from_rsa(Rsa::generate(3072).unwrap()).unwrap())
}

/// The public halves of the first keys as PEM.
pub(in crate::capture::seal) fn public_pem(numbers: impl IntoIterator<Item = usize>) -> String {
    let one = |number| String::from_utf8(private_key(number).public_key_to_pem().unwrap()).unwrap();
    numbers.into_iter().map(one).collect()
}

pub(in crate::capture::seal) fn recipients(count: usize) -> Recipients {
    Recipients::parse(&public_pem(0..count)).unwrap()
}

/// A sealer to the owners of the keys in this text.
pub(in crate::capture::seal) fn sealer_to(text: &str) -> Sealer {
    Sealer::new(SealMode::To(Arc::new(Reload::fixed(text).unwrap())))
}

/// The owner of one key.
pub(in crate::capture::seal) fn owner(number: usize) -> PrivateKeys {
    let pem = private_key(number).private_key_to_pem_pkcs8().unwrap();
    let mut keys = PrivateKeys::default();
    keys.add(std::str::from_utf8(&pem).unwrap()).unwrap();
    keys
}
