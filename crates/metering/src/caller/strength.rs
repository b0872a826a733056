//! Whether a shared secret can be guessed.
//!
//! Whoever knows the secret of the hop names any payer, and nothing limits how often it is tried: a call with a wrong
//! one is an ordinary call. NIST SP 800-63B (5.1.2.2) lets a verifier do without a limit from 64 bits of entropy on.
//! How a secret was made cannot be seen, so this is an upper bound: what is refused here is surely too weak, and what
//! passes had better be random. `openssl rand -hex 32` gives 256 bits.

/// Bits of entropy from which on guesses need no limit.
const BITS_MIN: f64 = 64.0;

/// So many characters that stood together before are a repetition. In 64 random hexadecimal digits hardly any do.
const REPEATED_CHARS: usize = 4;

/// A kind of characters, and how many there are of it.
type Kind = (fn(&u8) -> bool, u32);

const KINDS: [Kind; 4] = [
    (u8::is_ascii_digit, 10),
    (u8::is_ascii_lowercase, 26),
    (u8::is_ascii_uppercase, 26),
    (|byte| !byte.is_ascii_alphanumeric(), 33),
];

/// Words that people choose, and those that stand for a secret in examples. Each counts as one character.
const WORDS: [&str; 42] = [
    "1q2w3e4r",
    "access",
    "admin",
    "apikey",
    "asdfghjkl",
    "azure",
    "change",
    "default",
    "dummy",
    "example",
    "gateway",
    "here",
    "hunter",
    "insert",
    "letmein",
    "login",
    "master",
    "now",
    "openai",
    "openssl",
    "p@ssw0rd",
    "p@ssword",
    "passphrase",
    "passw0rd",
    "password",
    "passwort",
    "placeholder",
    "please",
    "qwerty",
    "qwertyuiop",
    "replace",
    "sample",
    "secret",
    "sesame",
    "shared",
    "test",
    "todo",
    "token",
    "tokenweir",
    "welcome",
    "your",
    "zxcvbnm",
];

/// It has less than [`BITS_MIN`], however it was made.
pub(super) fn is_weak(secret: &str) -> bool {
    let telling = u32::try_from(telling(secret.as_bytes())).unwrap_or(u32::MAX);
    let bits_each = f64::from(alphabet(secret.as_bytes()).max(1)).log2();
    f64::from(telling) * bits_each < BITS_MIN
}

/// The characters that its author has chosen from, as the kinds of them say.
fn alphabet(secret: &[u8]) -> u32 {
    let hexadecimal = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte.to_ascii_lowercase());
    let digits = secret.iter().all(u8::is_ascii_digit);
    let one_case = !secret.iter().any(u8::is_ascii_lowercase) || !secret.iter().any(u8::is_ascii_uppercase);
    if !digits && one_case && secret.iter().all(hexadecimal) {
        return 16;
    }
    KINDS.iter().filter(|(kind, _)| secret.iter().any(kind)).map(|(_, count)| count).sum()
}

/// Characters that cannot be foreseen: words count as one, and those that repeat what went before, words too, or go on
/// with a run such as `aaaa` or `4321`, as none.
fn telling(secret: &[u8]) -> usize {
    let lower = secret.to_ascii_lowercase();
    let (mut at, mut count) = (0, 0);
    while at < lower.len() {
        let rest = &lower[at..];
        let word = WORDS.iter().filter(|word| rest.starts_with(word.as_bytes())).map(|word| word.len()).max();
        let foreseen = match word {
            Some(len) => lower[..at].windows(len).any(|before| *before == rest[..len]),
            None => goes_on(&lower[..=at]) || is_repeated(&lower[..=at]),
        };
        count += usize::from(!foreseen);
        at += word.unwrap_or(1);
    }
    count
}

/// The last character is as far from the one before it as that is from its own, and no further than one.
fn goes_on(read: &[u8]) -> bool {
    let [.., first, second, third] = read else { return false };
    let steps = [(first, second), (second, third)].map(|(one, next)| i16::from(*next) - i16::from(*one));
    steps[0] == steps[1] && steps[0].abs() <= 1
}

/// The last characters stood together before.
fn is_repeated(read: &[u8]) -> bool {
    let Some(start) = read.len().checked_sub(REPEATED_CHARS) else { return false };
    let before = &read[..read.len() - 1];
    before.windows(REPEATED_CHARS).any(|window| window == &read[start..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_choose_is_weak() {
        for weak in [
            "",
            "s",
            "hunter2",
            "sesame",
            "secret",
            "Secret123!",
            "changeme",
            "change-me-now-please",
            "password",
            "P@ssw0rd123!",
            "passwordpasswordpassword",
            "YOUR-SHARED-SECRET-HERE",
            "tokenweir-gateway-secret",
            "REPLACE_WITH_SECRET",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abababababababababababababababab",
            "12345678901234567890123456789012",
            "98765432109876543210",
            "abcdefghijklmnopqrstuvwxyz",
            "qwertyuiopasdfghjklzxcvbnm",
            "deadbeefdeadbeefdeadbeef",
            "0000000000000000000000000000000000000000000000000000000000000001",
            "019283746",
            "3f9a1c07b2e4",
            "correcthorse",
        ] {
            assert!(is_weak(weak), "{weak}");
        }
    }

    #[test]
    fn what_a_machine_makes_is_strong() {
        for strong in [
            "3f9a1c07b2e45d6893f0a1c27be4d586",
            "3F9A1C07B2E45D68",
            "q8Zt3Vw1Lr6B",
            "019ab3c2-7f41-7c10-9a52-4f0f6c1f2b11",
            "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA==",
            "83019274650182736459",
        ] {
            assert!(!is_weak(strong), "{strong}");
        }
    }

    proptest! {
        /// `openssl rand -hex 32`, `-hex 16` and `-base64 24`, whatever comes out.
        #[test]
        fn a_random_secret_is_strong(bytes in any::<[u8; 32]>()) {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            prop_assert!(!is_weak(&hex(&bytes)));
            prop_assert!(!is_weak(&hex(&bytes[..24])));
            use base64::Engine;
            prop_assert!(!is_weak(&base64::engine::general_purpose::STANDARD.encode(&bytes[..24])));
        }

        /// Repeating a secret makes no other of it.
        #[test]
        fn a_weak_secret_stays_weak_however_often_it_is_repeated(weak in "[a-z0-9]{1,8}", times in 2usize..20) {
            prop_assert!(is_weak(&weak.repeat(times)));
        }
    }
}
