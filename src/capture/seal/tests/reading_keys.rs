//! Files of keys: every form that people have, and an error that helps for everything else.

use metering::caller::{FromFile, Reload};
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::X509Builder;
use serde_json::{Value, json};

use super::keys::{private_key, public_pem, recipients};
use crate::capture::seal::thumbprint::thumbprint;
use crate::capture::seal::{PrivateKeys, Recipients};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

fn kids(text: &str) -> Vec<String> {
    Recipients::parse(text).unwrap().kids().map(ToString::to_string).collect()
}

fn jwk(number: usize) -> Value {
    let rsa = private_key(number).rsa().unwrap();
    let text = |bytes: Vec<u8>| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    json!({"kty": "RSA", "n": text(rsa.n().to_vec()), "e": text(rsa.e().to_vec())})
}

fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}

fn certificate(number: usize) -> String {
    let key = private_key(number);
    let mut builder = X509Builder::new().unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    String::from_utf8(builder.build().to_pem().unwrap()).unwrap()
}

#[test]
fn a_key_has_the_same_name_in_every_form() {
    let by_pem = kids(&public_pem([0, 1]));
    let pkcs1 = |number| {
        let pem = private_key(number).rsa().unwrap().public_key_to_pem_pkcs1().unwrap();
        String::from_utf8(pem).unwrap()
    };
    assert_eq!(kids(&format!("a remark\n{}and one more\n{}", pkcs1(0), pkcs1(1))), by_pem);
    assert_eq!(kids(&format!("{}{}", certificate(0), public_pem([1]))), by_pem);
    assert_eq!(kids(&json!({"keys": [jwk(0), jwk(1)]}).to_string()), by_pem);
    assert_eq!(kids(&jwk(0).to_string()), by_pem[..1]);
    // As `az keyvault key show` prints it.
    let vault = "https://v.vault.azure.net/keys/audit/7";
    let n = BASE64_STANDARD.encode(private_key(0).rsa().unwrap().n().to_vec());
    let bundle = with(with(jwk(0), "kty", "RSA-HSM".into()), "n", n.into());
    let bundle = with(bundle, "kid", vault.into());
    assert_eq!(kids(&json!({"attributes": {"enabled": true}, "key": bundle}).to_string()), [vault]);
}

/// The example of RFC 7638, section 3.1.
#[test]
fn the_thumbprint_is_that_of_the_rfc() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs\
             tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5ha\
             jrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let number =
        |text: &str| openssl::bn::BigNum::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    let rsa = Rsa::from_public_components(number(n), number("AQAB")).unwrap();
    assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn a_file_that_cannot_be_used_says_which_key_and_why() {
    let ec = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    let ec = String::from_utf8(PKey::from_ec_key(ec).unwrap().public_key_to_pem().unwrap()).unwrap();
    let small = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap().public_key_to_pem().unwrap();
    let private = String::from_utf8(private_key(0).private_key_to_pem_pkcs8().unwrap()).unwrap();
    let (good, good_jwk) = (public_pem([0]), jwk(0));
    let cases = [
        (String::new(), "holds no public key; allowed: RSA public keys of 3072 bits"),
        ("garbage of a hush".to_owned(), "holds no public key"),
        (format!("{good}{ec}"), "key 2 (PUBLIC KEY) is no RSA key"),
        (String::from_utf8(small).unwrap(), "key 1 (PUBLIC KEY) has 2048 bits; allowed: 3072"),
        (private, "key 1 (PRIVATE KEY) must not be here"),
        (format!("{good}{good}"), "key 2 is key 1 again"),
        (format!("{}{}", good, certificate(0)), "key 2 is key 1 again"),
        (good.replace("MII", "AAA"), "key 1 (PUBLIC KEY) cannot be read"),
        (good.replace("-----END", "--END"), "block 1 of PEM has no end"),
        ("-----BEGIN X-----\n-----END X-----".to_owned(), "key 1 (X) is no public key; allowed"),
        ("{".to_owned(), "is no JSON Web Key: line 1"),
        ("{}".to_owned(), "key 1 is no RSA key"),
        (json!({"keys": []}).to_string(), "holds no public key"),
        (with(good_jwk.clone(), "d", "hush".into()).to_string(), "key 1 is a private key"),
        (with(good_jwk.clone(), "use", "sig".into()).to_string(), "is not for encryption"),
        (with(good_jwk.clone(), "alg", "RSA1_5".into()).to_string(), "allowed: RSA-OAEP-256"),
        (with(good_jwk.clone(), "kty", "EC".into()).to_string(), "key 1 is no RSA key"),
        (with(good_jwk.clone(), "n", "!".into()).to_string(), "has a member n that is not base64url"),
        (with(good_jwk.clone(), "e", "AQ".into()).to_string(), "has an exponent"),
        (with(good_jwk.clone(), "e", "Ag".into()).to_string(), "has an exponent"),
        (with(good_jwk.clone(), "kid", "".into()).to_string(), "has a kid that is no name"),
        (
            json!({"keys": [with(jwk(0), "kid", "a".into()), with(jwk(1), "kid", "a".into())]}).to_string(),
            "key 2 is key 1 again, or has its kid",
        ),
    ];
    for (text, needle) in cases {
        let error = Recipients::parse(&text).unwrap_err();
        assert!(error.contains(needle) && !error.contains("hush"), "{needle}: {error}");
    }
}

#[test]
fn a_file_that_goes_bad_leaves_the_keys_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auditors.pem");
    std::fs::write(&path, public_pem([0])).unwrap();
    let keys = Reload::<Recipients>::file(&path).unwrap();
    std::fs::write(&path, "gone").unwrap();
    assert!(keys.read_again().unwrap_err().contains("auditors.pem holds no public key"));
    assert_eq!(keys.current().kids().count(), 1);
    std::fs::write(&path, public_pem([0, 1])).unwrap();
    assert_eq!(keys.read_again(), Ok(true));
    assert!(keys.current().kids().eq(recipients(2).kids()));
}

#[test]
fn a_file_of_private_keys_that_cannot_be_used_says_why() {
    let key = private_key(0);
    let text = |pem: Vec<u8>| String::from_utf8(pem).unwrap();
    let cipher = Cipher::aes_256_cbc();
    let pkcs8 = text(key.private_key_to_pem_pkcs8_passphrase(cipher, b"hush").unwrap());
    let pkcs1 = text(key.rsa().unwrap().private_key_to_pem_passphrase(cipher, b"hush").unwrap());
    let whole = text(key.private_key_to_pem_pkcs8().unwrap());
    let cases = [
        (String::new(), "holds no private key"),
        ("{}".to_owned(), "is JSON; allowed"),
        (pkcs8, "key 1 (ENCRYPTED PRIVATE KEY) is encrypted, which is not supported"),
        (pkcs1, "key 1 (RSA PRIVATE KEY) is encrypted"),
        (public_pem([0]), "key 1 (PUBLIC KEY) opens nothing: it is public"),
        (whole.replace("MII", "AAA"), "key 1 (PRIVATE KEY) cannot be read"),
    ];
    for (text, needle) in cases {
        let error = PrivateKeys::default().add(&text).unwrap_err();
        assert!(error.contains(needle), "{needle}: {error}");
    }
    let mut keys = PrivateKeys::default();
    keys.add(&(whole + &text(key.rsa().unwrap().private_key_to_pem().unwrap()))).unwrap();
}
