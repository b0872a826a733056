//! A holder of a private key who reads captured content with OpenSSL and zstd alone: nothing here is of the sidecar, so
//! what it can read, anybody can who has the key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use openssl::encrypt::Decrypter;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::symm::{Cipher, decrypt_aead};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// The type of a part.
const PART: &str = "dev.tokenweir.content.v1";
/// The type of the totals.
const CONTROL: &str = "dev.tokenweir.content_control.v1";
/// The database of the spool.
const SPOOL: &str = "capture.sqlite3";

/// Somebody who may read.
pub(crate) struct Auditor {
    key: PKey<Private>,
    /// The public half, for `--capture-key-file`.
    pub(crate) public_file: PathBuf,
    /// The private half, for `tokenweir open --key`.
    pub(crate) private_file: PathBuf,
}

impl Auditor {
    /// A new key, with its halves as files in a folder.
    pub(crate) fn new(dir: &Path, name: &str) -> Auditor {
        let key = PKey::from_rsa(Rsa::generate(3072).unwrap()).unwrap();
        let file = |end: &str| dir.join(format!("{name}.{end}"));
        let (public_file, private_file) = (file("public.pem"), file("private.pem"));
        std::fs::write(&public_file, key.public_key_to_pem().unwrap()).unwrap();
        std::fs::write(&private_file, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        Auditor { key, public_file, private_file }
    }

    /// The bytes of a part, and what its seal says of it.
    pub(crate) fn open(&self, part: &Value) -> Result<(Vec<u8>, Value), String> {
        let jwe = &part["data"]["jwe"];
        let protected = jwe["protected"].as_str().ok_or("no JWE")?;
        let header: Value = serde_json::from_slice(&decoded(protected)).map_err(|error| error.to_string())?;
        if header["alg"] != "RSA-OAEP-256"
            || header["enc"] != "A256GCM"
            || header["cty"] != "application/zstd"
        {
            return Err(format!("not of the agreed kind: {header}"));
        }
        let one = jwe["encrypted_key"].as_str();
        let several = jwe["recipients"].as_array().into_iter().flatten();
        let several = several.filter_map(|recipient| recipient["encrypted_key"].as_str());
        let key = one.into_iter().chain(several).find_map(|wrapped| self.unwrap(&decoded(wrapped)));
        let key = key.ok_or("sealed for others")?;
        let member = |name: &str| decoded(jwe[name].as_str().unwrap());
        let (iv, sealed, tag) = (member("iv"), member("ciphertext"), member("tag"));
        let packed =
            decrypt_aead(Cipher::aes_256_gcm(), &key, Some(&iv), protected.as_bytes(), &sealed, &tag)
                .map_err(|error| format!("not as it was sealed: {error}"))?;
        let bytes = zstd::stream::decode_all(&packed[..]).map_err(|error| error.to_string())?;
        Ok((bytes, header))
    }

    fn unwrap(&self, wrapped: &[u8]) -> Option<Vec<u8>> {
        let mut decrypter = Decrypter::new(&self.key).unwrap();
        decrypter.set_rsa_padding(Padding::PKCS1_OAEP).unwrap();
        decrypter.set_rsa_oaep_md(MessageDigest::sha256()).unwrap();
        decrypter.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
        let mut key = vec![0; decrypter.decrypt_len(wrapped).ok()?];
        let bytes = decrypter.decrypt(wrapped, &mut key).ok()?;
        key.truncate(bytes);
        (bytes == 32).then_some(key)
    }
}

fn decoded(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// One side of a call, as far as its parts are there.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenedSide {
    pub(crate) bytes: Vec<u8>,
    pub(crate) parts: u64,
    /// The last part is there, ..
    pub(crate) is_ended: bool,
    /// .. and says that more has passed.
    pub(crate) is_truncated: bool,
    /// A part is missing between others, which must never be.
    pub(crate) has_hole: bool,
}

/// The captured content, opened.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    sides: BTreeMap<(String, String), OpenedSide>,
    pub(crate) controls: Vec<Value>,
    pub(crate) parts: u64,
}

impl Contents {
    /// Opens all parts among these events. Panics at one that cannot be opened, or that says something else than its
    /// seal.
    pub(crate) fn open(auditors: &[&Auditor], events: impl IntoIterator<Item = Value>) -> Contents {
        let mut contents = Contents::default();
        let mut parts: BTreeMap<(String, String, u64), Value> = BTreeMap::new();
        for event in events {
            if event["type"] == CONTROL {
                contents.controls.push(event);
                continue;
            }
            assert_eq!(event["type"], PART, "{event}");
            let data = &event["data"];
            let text = |name: &str| data[name].as_str().unwrap().to_owned();
            let place = (text("call"), text("side"), data["part"].as_u64().unwrap());
            assert_eq!(event["id"], format!("{}.{}.{}", place.0, place.1, place.2));
            assert_eq!(event["partitionkey"], data["call"]);
            if let Some(other) = parts.insert(place, event.clone()) {
                assert_eq!(other, event, "a repeat has the same bytes");
            }
        }
        for ((call, side, part), event) in parts {
            let opened = auditors.iter().map(|auditor| auditor.open(&event));
            let (bytes, header) =
                opened.reduce(Result::or).unwrap().unwrap_or_else(|why| panic!("{}: {why}", event["id"]));
            let data = &event["data"];
            for (name, said) in data.as_object().unwrap() {
                let is_of_event = matches!(name.as_str(), "schema_version" | "reporter" | "jwe");
                assert!(is_of_event || header[name] == *said, "{}: {name} differs in the seal", event["id"]);
            }
            assert_eq!((&header["id"], &data["bytes_raw"]), (&event["id"], &Value::from(bytes.len())));
            let opened = contents.sides.entry((call, side)).or_default();
            opened.has_hole |= opened.parts != part || opened.is_ended;
            opened.parts += 1;
            opened.bytes.extend(bytes);
            opened.is_ended |= data["last"] == true;
            opened.is_truncated |= data["truncated"] == true;
            contents.parts += 1;
        }
        contents
    }

    /// One side of a call; nothing, if it has no part.
    pub(crate) fn side(&self, call: &str, side: &str) -> OpenedSide {
        self.sides.get(&(call.to_owned(), side.to_owned())).cloned().unwrap_or_default()
    }

    /// All sides, by call and name.
    pub(crate) fn sides(&self) -> impl Iterator<Item = (&(String, String), &OpenedSide)> {
        self.sides.iter()
    }

    /// The losses that the last control event of each boot tells, added up.
    pub(crate) fn lost_parts(&self) -> u64 {
        let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
        for control in &self.controls {
            last.insert(control["data"]["instance"].as_str().unwrap(), &control["data"]);
        }
        last.values().map(|control| control["lost_parts"].as_u64().unwrap()).sum()
    }
}

/// The events that lie in a spool, in order.
pub(crate) fn spooled(dir: &Path) -> Vec<Value> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(dir.join(SPOOL), flags).unwrap();
    let mut query = db.prepare("SELECT body FROM part ORDER BY position").unwrap();
    let rows = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|row| serde_json::from_str(&row.unwrap()).unwrap()).collect()
}
